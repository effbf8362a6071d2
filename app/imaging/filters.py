"""Filters that NumPy lacks: running extremes, box means, thresholds, connected components."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.float32]


def running_max(values: Grey, size: int) -> Grey:
    """Return the maximum over a centred window of `size` (odd) pixels (grey dilation).

    Windows are doubled rather than slid, so the cost grows with the logarithm of the size.
    """
    for axis in (0, 1):
        half, length = size // 2, values.shape[axis]
        padding = [(half, half) if a == axis else (0, 0) for a in (0, 1)]
        padded, width = np.pad(values, padding, mode="edge"), 1
        while width < size:
            step = min(width, size - width)
            count = padded.shape[axis] - step
            ahead = padded[step:] if axis == 0 else padded[:, step:]
            here = padded[:count] if axis == 0 else padded[:, :count]
            padded, width = np.maximum(here, ahead), width + step
        values = padded[:length] if axis == 0 else padded[:, :length]
    return values


def box_mean(values: Grey, size: int) -> Grey:
    """Return the mean over a centred window of `size` (odd) pixels, edges repeated."""
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
    """Return the mean of each pixel and its two neighbours along an axis, edges repeated."""
    ahead = np.moveaxis(values, axis, 0)
    sums = np.moveaxis(values.copy(), axis, 0)
    sums[1:] += ahead[:-1]
    sums[:-1] += ahead[1:]
    sums[0] += ahead[0]
    sums[-1] += ahead[-1]
    sums *= np.float32(1 / 3)
    return np.moveaxis(sums, 0, axis)


def shrink(values: Grey, longer: int) -> Grey:
    """Average whole blocks of pixels until the longer side is below twice `longer`."""
    factor = max(values.shape) // longer
    return np.asarray(Image.fromarray(values).reduce(factor)) if factor > 1 else values


def otsu(values: Grey) -> tuple[float, float]:
    """Split values into two classes with the largest variance between them (Otsu, 1979).

    Args:
        values: Any shape, 0..255.

    Returns:
        The threshold (values above it are the upper class), and the share of the variance that the
        split explains, 0..1; 0 for a constant image.
    """
    levels = np.clip(values, 0, 255).astype(np.uint8).reshape(1, -1)
    counts = np.array(Image.fromarray(levels).histogram(), float)  # ten times as fast as bincount
    level = np.arange(256)
    below, total = np.cumsum(counts), counts.sum()
    sum_below = np.cumsum(counts * level)
    mean = sum_below[-1] / total
    variance = (counts * (level - mean) ** 2).sum() / total
    inner = (below > 0) & (below < total)
    if variance == 0 or not inner.any():
        return float(mean), 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean * below - sum_below) ** 2 / (below * (total - below))
    between[~inner] = 0
    # A gap between the classes makes a plateau: its middle is the least arbitrary threshold.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    threshold = float((best[0] + best[-1]) / 2)
    return threshold, float(between.max() / variance)


def label(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Number the connected components of a mask, diagonal neighbours joined.

    Works on the runs of each row: runs of neighbouring rows that touch are joined by propagating
    the smallest number until nothing changes, each round halving the chains.

    Args:
        mask: bool `[H, W]`.

    Returns:
        int32 `[H, W]`, 0 outside and 1..K in the components, in the order of their first pixel row
        by row; and K.
    """
    height, width = mask.shape
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, start = np.nonzero(edges == 1)
    _, stop = np.nonzero(edges == -1)
    count = len(row)
    if count == 0:
        return np.zeros(mask.shape, np.int32), 0
    # In this order of keys a run of the row above touches run i if it ends at or after its start -
    # 1 and starts at or before its stop.
    key = row.astype(np.int64) * (width + 2)
    first = np.searchsorted(key + stop, key - (width + 2) + start, side="left")
    last = np.searchsorted(key + start, key - (width + 2) + stop, side="right")
    first = np.maximum(first, np.searchsorted(row, row - 1, side="left"))
    last = np.minimum(last, np.searchsorted(row, row, side="left"))
    pairs = np.maximum(last - first, 0)
    ours = np.repeat(np.arange(count), pairs)
    theirs = (
        np.arange(pairs.sum())
        - np.repeat(np.cumsum(pairs) - pairs, pairs)
        + np.repeat(first, pairs)
    )
    root = _join(count, ours, theirs)
    names = np.unique(root, return_inverse=True)[1].astype(np.int32) + 1
    labels = np.zeros(height * width, np.int32)
    length = stop - start
    place = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    labels[np.repeat(row * width + start, length) + place] = np.repeat(names, length)
    return labels.reshape(height, width), int(names.max())


def _join(count: int, ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each of `count` items the smallest item that any chain of links leads to."""
    root = np.arange(count)
    while True:
        low = np.minimum(root[ours], root[theirs])
        before = root.copy()
        np.minimum.at(root, root[ours], low)
        np.minimum.at(root, root[theirs], low)
        root = root[root]
        if np.array_equal(root, before):
            return root
