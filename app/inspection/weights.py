"""Draw a layer's weights, or gradients, in diverging colours, symmetric about 0."""

import numpy as np
from numpy.typing import NDArray

from app.network.functions import Array
from app.render import diverging, enlarge, sheet, sheet_columns

MAX_ENLARGED_SIDE = 64  # pixels; larger pictures of matrices are easy enough to see
ENLARGEMENT = 8  # pixels for each number of a small picture
KERNEL_ENLARGEMENT = 2  # pixels for each number, where kernels have several input channels
GAP_GREY = 128  # grey level between kernels; white would mean 0


def draw_weights(values: Array) -> NDArray[np.uint8]:
    """Draw an array of weights.

    Args:
        values: One of:
            `[kh, kw, C_in, C_out]`, a convolution's kernel: one row for each output channel, one
            tile for each input channel; with a single input channel, the tiles form about a square.
            `[D_in, D_out]`, a matrix: one pixel for each number.
            `[D]`, a vector: row by row in about a square.

    Returns:
        uint8 `[H, W, 3]`.
    """
    limit = float(np.abs(values).max())
    if values.ndim == 4:
        return _draw_kernels(values, limit)
    if values.ndim == 1:
        width = sheet_columns(values.size)
        rows = -(-values.size // width)
        values = np.pad(values, (0, rows * width - values.size)).reshape(rows, width)
    colours = diverging(values.reshape(-1, values.shape[-1]), limit)
    return enlarge(colours, ENLARGEMENT) if max(colours.shape) <= MAX_ENLARGED_SIDE else colours


def _draw_kernels(values: Array, limit: float) -> NDArray[np.uint8]:
    kh, kw, inputs, outputs = values.shape
    stacked = values.transpose(3, 2, 0, 1).reshape(-1, kw)
    tiles = diverging(stacked, limit).reshape(outputs, inputs, kh, kw, 3)
    if inputs == 1:
        return enlarge(sheet(tiles[:, 0], fill=GAP_GREY), ENLARGEMENT)
    grid = np.full((outputs, inputs, kh + 1, kw + 1, 3), GAP_GREY, np.uint8)
    grid[:, :, :kh, :kw] = tiles
    joined = grid.transpose(0, 2, 1, 3, 4).reshape(outputs * (kh + 1), inputs * (kw + 1), 3)
    return enlarge(joined[:-1, :-1], KERNEL_ENLARGEMENT)


def draw_gradient(values: Array) -> NDArray[np.uint8]:
    """Draw the gradient of a layer's output.

    Args:
        values: `[H, W, C]`, drawn as one tile for each channel in about a square, or any other
            shape, drawn as weights of that shape are.

    Returns:
        uint8 `[H, W, 3]`.
    """
    if values.ndim != 3:
        return draw_weights(values)
    limit = float(np.abs(values).max())
    tiles = diverging(values.transpose(2, 0, 1).reshape(-1, values.shape[1]), limit)
    return sheet(tiles.reshape(values.shape[2], *values.shape[:2], 3), fill=GAP_GREY)
