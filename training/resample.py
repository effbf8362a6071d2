"""Resampling and grey morphology for batches of 28x28 images, in NumPy."""

import numpy as np
from numpy.typing import NDArray

Batch = NDArray[np.float32]  # (N, 28, 28), 0..255, ink high

SIDE = 28
AXIS = np.arange(SIDE, dtype=np.float32)


def uniform(rng: np.random.Generator, low: float, high: float, n: int) -> Batch:
    """Draw one number for each image, float32 `[n, 1, 1]`."""
    return rng.uniform(low, high, size=(n, 1, 1)).astype(np.float32)


def elastic_field(n: int, sigma: float, rng: np.random.Generator) -> tuple[Batch, Batch]:
    """Draw smooth random displacement fields of root-mean-square 1 pixel (Simard et al., 2003)."""
    smooth = gaussian_matrix(sigma)
    noise = rng.uniform(-1, 1, size=(2, n, SIDE, SIDE)).astype(np.float32)
    field = np.asarray(smooth @ noise @ smooth.T, np.float32)
    field /= np.sqrt(np.mean(field**2, axis=(2, 3), keepdims=True)) + 1e-6
    return field[0], field[1]


def sample(batch: Batch, y: Batch, x: Batch) -> Batch:
    """Sample every image at fractional positions by bilinear interpolation; black outside.

    Args:
        batch: float32 `[N, 28, 28]`.
        y: Row of each output pixel, `[N, 28, 28]`.
        x: Column of each output pixel, `[N, 28, 28]`.

    Returns:
        float32 `[N, 28, 28]`.
    """
    n, wide = len(batch), SIDE + 2
    padded = np.zeros((n, wide, wide), np.float32)
    padded[:, 1:-1, 1:-1] = batch
    y = np.clip(y + 1, 0, wide - 1.001).astype(np.float32)
    x = np.clip(x + 1, 0, wide - 1.001).astype(np.float32)
    top, left = y.astype(np.int32), x.astype(np.int32)
    y -= top
    x -= left
    flat = padded.ravel()
    corner = np.arange(n, dtype=np.int32)[:, None, None] * (wide * wide) + top * wide + left
    upper = flat[corner] * (1 - x) + flat[corner + 1] * x
    lower = flat[corner + wide] * (1 - x) + flat[corner + wide + 1] * x
    return np.asarray(upper * (1 - y) + lower * y)


def gaussian_matrix(sigma: float) -> NDArray[np.float32]:
    """Return the `[28, 28]` matrix that blurs a column with a Gaussian, rows summing to 1."""
    weights = np.exp(-((AXIS[:, None] - AXIS[None, :]) ** 2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def dilate(batch: Batch) -> Batch:
    """Grey dilation by the 4-neighbour cross: the maximum of a pixel and its neighbours."""
    padded = np.pad(batch, ((0, 0), (1, 1), (1, 1)))
    rows = np.maximum(padded[:, :-2, 1:-1], padded[:, 2:, 1:-1])
    columns = np.maximum(padded[:, 1:-1, :-2], padded[:, 1:-1, 2:])
    return np.maximum(np.maximum(rows, columns), batch)


def erode(batch: Batch) -> Batch:
    """Grey erosion by the 4-neighbour cross."""
    return 255 - dilate(255 - batch)
