"""A layer's weights as a picture in diverging colours, symmetric about 0."""

import numpy as np
from numpy.typing import NDArray

from app.network.functions import Array
from app.render import diverging, enlarge, sheet, sheet_columns

SMALL, ENLARGED = 64, 8  # tiles up to this many pixels a side are drawn this much larger
LINE = 128  # grey between kernels: not white, which means 0


def draw_weights(values: Array) -> NDArray[np.uint8]:
    """Draw a weight.

    A kernel of a convolution `[kh, kw, C_in, C_out]` has a row for each output channel with a tile
    for each input channel, or, with one input channel, the tiles in about a square. A matrix
    `[D_in, D_out]` is drawn as it is, a pixel for each number; a vector row by row in about a
    square.

    Returns:
        uint8 `[H, W, 3]`.
    """
    limit = float(np.abs(values).max())
    if values.ndim == 4:
        return _kernels(values, limit)
    if values.ndim == 1:
        width = sheet_columns(values.size)
        rows = -(-values.size // width)
        values = np.pad(values, (0, rows * width - values.size)).reshape(rows, width)
    colours = diverging(values.reshape(-1, values.shape[-1]), limit)
    return enlarge(colours, ENLARGED) if max(colours.shape) <= SMALL else colours


def _kernels(values: Array, limit: float) -> NDArray[np.uint8]:
    kh, kw, depth, count = values.shape
    flat = values.transpose(3, 2, 0, 1).reshape(-1, kw)  # kernels below each other
    tiles = diverging(flat, limit).reshape(count, depth, kh, kw, 3)
    if depth == 1:
        return enlarge(sheet(tiles[:, 0], fill=LINE), ENLARGED)
    rows = np.full((count, depth, kh + 1, kw + 1, 3), LINE, np.uint8)
    rows[:, :, :kh, :kw] = tiles
    joined = rows.transpose(0, 2, 1, 3, 4).reshape(count * (kh + 1), depth * (kw + 1), 3)
    return enlarge(joined[:-1, :-1], 2)
