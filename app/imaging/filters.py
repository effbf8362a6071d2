"""Image filters that NumPy lacks: dilation, box mean, Otsu's threshold, connected components."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Pixels of the largest image whose medians are exact (256x256), and pixels, at least, from which
# those of a larger one are estimated: to about 1 % of the spread.
MAX_EXACT_SIZE, SAMPLE_SIZE = 1 << 16, 1 << 14

Grey = NDArray[np.float32]
Mask = NDArray[np.bool_]
_LEVELS = np.arange(256, dtype=np.float64)


def dilate(values: Grey, size: int) -> Grey:
    """Return the grey dilation: the maximum over a centred square of `size` (odd) pixels.

    Each step doubles the window, so the cost grows with the logarithm of `size`. Border pixels are
    repeated outwards.
    """
    for axis in (0, 1):
        half, length = size // 2, values.shape[axis]
        padding = [(half, half) if a == axis else (0, 0) for a in (0, 1)]
        padded, width = np.pad(values, padding, mode="edge"), 1
        while width < size:
            step = min(width, size - width)
            count = padded.shape[axis] - step
            shifted = padded[step:] if axis == 0 else padded[:, step:]
            current = padded[:count] if axis == 0 else padded[:, :count]
            padded, width = np.maximum(current, shifted), width + step
        values = padded[:length] if axis == 0 else padded[:, :length]
    return values


def opening(values: Grey, size: int) -> Grey:
    """Return the grey opening: an erosion, then a dilation, with a square of `size` (odd) pixels.

    An opening removes bright details that are narrower than the square.
    """
    return dilate(-dilate(-values, size), size)


def grow(mask: Mask, size: int = 3) -> Mask:
    """Return a mask dilated by a square of `size` (odd) pixels."""
    for axis in (0, 1):
        source, grown = np.moveaxis(mask, axis, 0), np.moveaxis(mask.copy(), axis, 0)
        for distance in range(1, size // 2 + 1):
            grown[distance:] |= source[:-distance]
            grown[:-distance] |= source[distance:]
        mask = np.moveaxis(grown, 0, axis)
    return mask


def box_mean(values: Grey, size: int) -> Grey:
    """Return the mean over a centred square of `size` (odd) pixels, border pixels repeated."""
    if size == 3:
        return _mean_of_three(_mean_of_three(values, 0), 1)
    half = size // 2
    for axis in (0, 1):
        padding = [(half + 1, half) if a == axis else (0, 0) for a in (0, 1)]
        sums = np.cumsum(np.pad(values, padding, mode="edge"), axis=axis, dtype=np.float64)
        upper, lower = (
            (sums[size:], sums[:-size]) if axis == 0 else (sums[:, size:], sums[:, :-size])
        )
        values = ((upper - lower) / size).astype(np.float32)
    return values


def _mean_of_three(values: Grey, axis: int) -> Grey:
    """Return the mean of each pixel and its two neighbours along an axis, border repeated."""
    source = np.moveaxis(values, axis, 0)
    sums = np.moveaxis(values.copy(), axis, 0)
    sums[1:] += source[:-1]
    sums[:-1] += source[1:]
    sums[0] += source[0]
    sums[-1] += source[-1]
    sums *= np.float32(1 / 3)
    return np.moveaxis(sums, 0, axis)


def sample(values: Grey) -> Grey:
    """Return evenly spread pixels of a large image, `[N]`; all if it has at most 256x256.

    A median of a million pixels takes 50 times as long.
    """
    return values.ravel()[:: sample_step(values)]


def sample_step(values: Grey) -> int:
    """Return the distance between two sampled pixels of a flattened image."""
    step = values.size // SAMPLE_SIZE if values.size > MAX_EXACT_SIZE else 1
    while math.gcd(step, values.shape[-1]) > 1:
        step -= 1  # a common factor with the width would choose whole columns
    return step


def quantile(values: Grey, share: float) -> float:
    """Return the quantile of `[N]` values as `np.quantile` does, in a tenth of its time.

    Args:
        values: At least one value.
        share: Share of the values below it, 0..1.
    """
    position = (values.size - 1) * share
    low = int(position)
    high, part = min(low + 1, values.size - 1), position - low
    ordered = np.partition(values, (low, high))
    step = ordered[high] - ordered[low]
    # From the nearer value, so that every bit is that of `np.quantile`.
    return float(ordered[high] - step * (1 - part) if part >= 0.5 else ordered[low] + step * part)


def downscale(values: Grey, longer_side: int) -> Grey:
    """Average blocks of pixels so that the longer side is below twice `longer_side`.

    The factor is a whole number. An image that is small enough is returned itself, not a copy.
    """
    factor = max(values.shape) // longer_side
    return np.asarray(Image.fromarray(values).reduce(factor)) if factor > 1 else values


def otsu(values: Grey) -> tuple[float, float]:
    """Find the threshold that maximises the variance between two classes (Otsu, 1979).

    Args:
        values: Array of any shape, 0..255.

    Returns:
        The threshold (values above it form the upper class), and the share of the total variance
        that the two classes explain, 0..1. A constant image gives its level and 0.
    """
    levels = np.clip(values, 0, 255).astype(np.uint8).reshape(1, -1)
    # Pillow's histogram takes a tenth of the time of np.bincount.
    return otsu_of_counts(np.array(Image.fromarray(levels).histogram(), float))


def otsu_of_counts(counts: NDArray[np.float64]) -> tuple[float, float]:
    """Return what `otsu` returns for values with these counts, float64 `[256]`, one for a level."""
    level = _LEVELS
    below, total = np.cumsum(counts), counts.sum()
    sum_below = np.cumsum(counts * level)
    mean = sum_below[-1] / total
    variance = (counts * (level - mean) ** 2).sum() / total
    splits = (below > 0) & (below < total)
    if variance == 0 or not splits.any():
        return float(mean), 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean * below - sum_below) ** 2 / (below * (total - below))
    between[~splits] = 0
    # Every threshold in a gap between the classes is equally good: take the middle of the gap.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    threshold = float((best[0] + best[-1]) / 2)
    return threshold, float(between.max() / variance)


def label(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Label the 8-connected components of a mask.

    The unit of work is a run: a maximal stretch of True pixels in one row. Runs of adjacent rows
    that touch, diagonally too, are merged with a union-find over arrays (`_find_roots`).

    Args:
        mask: bool `[H, W]`.

    Returns:
        int32 `[H, W]` and the number of components K. The background is 0; components are 1..K in
        the raster order of their first pixel.
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), bool)
    padded[:, 1:-1] = mask
    pixels = padded.ravel()
    # Keys order runs by row, then column. Each row ends with False, so starts and stops alternate.
    changes = np.flatnonzero(pixels[1:] != pixels[:-1])
    start_key, stop_key = changes[::2], changes[1::2]
    count = len(start_key)
    if count == 0:
        return np.zeros(mask.shape, np.int32), 0
    row, start = np.divmod(start_key, width + 2)
    root = _find_roots(count, *_touching_runs(row, start_key, stop_key, width + 2))
    run_labels = np.unique(root, return_inverse=True)[1].astype(np.int32) + 1
    labels = np.zeros(height * width, np.int32)
    length = stop_key - start_key
    offset = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    labels[np.repeat(row * width + start, length) + offset] = np.repeat(run_labels, length)
    return labels.reshape(height, width), int(run_labels.max())


def is_connected(mask: Mask) -> bool:
    """Return whether the True pixels of a small mask are one 8-connected component.

    A flood fill in which one integer is the whole mask: on 28x28 it takes a sixth of the time of
    `label`, but more on large masks.
    """
    height, width = mask.shape
    row = width + 1  # a column that is always False, so that rows do not touch at their ends
    padded = np.zeros((height, row), bool)
    padded[:, :width] = mask
    inked = int.from_bytes(np.packbits(padded, bitorder="little").tobytes(), "little")
    filled, grown = 0, inked & -inked
    while grown != filled:
        filled = grown
        wide = filled | filled << 1 | filled >> 1
        grown = (wide | wide << row | wide >> row) & inked
    return bool(inked) and filled == inked


def _touching_runs(
    row: NDArray[np.int64], start_key: NDArray[np.int64], stop_key: NDArray[np.int64], stride: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of runs that touch: the index of a run, and of a run in the row above.

    Args:
        row: Row of each run, ascending.
        start_key: `row * stride` plus the first column of each run.
        stop_key: `row * stride` plus the column after the last of each run.
        stride: Difference of the keys of a column in two rows.
    """
    # A run of the row above touches run i if its stop is at least the start of i and its start is
    # at most the stop of i (8-connectivity).
    first = np.searchsorted(stop_key, start_key - stride, side="left")
    last = np.searchsorted(start_key, stop_key - stride, side="right")
    first = np.maximum(first, np.searchsorted(row, row - 1, side="left"))
    last = np.minimum(last, np.searchsorted(row, row, side="left"))
    pairs = np.maximum(last - first, 0)
    lower = np.repeat(np.arange(len(row)), pairs)
    upper = (
        np.arange(pairs.sum())
        - np.repeat(np.cumsum(pairs) - pairs, pairs)
        + np.repeat(first, pairs)
    )
    return lower, upper


def _find_roots(
    count: int, lower: NDArray[np.int64], upper: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return for each of `count` runs the smallest index in its component.

    A union-find over whole arrays: each round links the roots of touching runs to the smaller root
    and halves the paths, until nothing changes.
    """
    root = np.arange(count)
    while True:
        smaller = np.minimum(root[lower], root[upper])
        before = root.copy()
        np.minimum.at(root, root[lower], smaller)
        np.minimum.at(root, root[upper], smaller)
        root = root[root]
        if np.array_equal(root, before):
            return root
