"""Which units of the layers before it one unit depends on, as boxes in arrays of any shape.

Knows shapes and footprints (`app.network.geometry`); knows nothing of weights or values.
"""

from math import ceil, floor
from typing import assert_never

import numpy as np

from app.boxes import Box
from app.network.geometry import Everything, Footprint, Patch, Reordered, Shape, Unit, positions

Region = tuple[range, ...]  # of units: along each axis from the first to behind the last


def unit_region(unit: Unit) -> Region:
    """Return the region of one unit."""
    return tuple(range(at, at + 1) for at in unit)


def whole_region(shape: Shape) -> Region:
    """Return the region of a whole array."""
    return tuple(map(range, shape))


def joined(region: Region, other: Region) -> Region:
    """Return the smallest region that contains both."""
    return tuple(
        range(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(region, other, strict=True)
    )


def box_of(region: Region) -> Box[int] | None:
    """Return rows and columns of a region; None for an array without positions."""
    if positions(tuple(map(len, region))) is None:
        return None
    rows, columns = region[0], region[1] if len(region) == 3 else range(1)
    return Box(columns.start, rows.start, len(columns), len(rows))


def region_read(region: Region, footprint: Footprint, shape: Shape, output: Shape) -> Region | None:
    """Return the part of an input that a region of a layer's output depends on.

    Args:
        region: Part of the output.
        footprint: What the layer reads.
        shape: Shape of the input.
        output: Shape of the output.

    Returns:
        The smallest region that contains it; None if the output depends on padding only.
    """
    match footprint:
        case Everything():
            return whole_region(shape)
        case Reordered(axes):
            return _reordered(region, axes, shape, output)
        case Patch():
            places = _rows_and_columns(region, footprint, shape)
            parts = (*places, _channels(region, footprint, shape))
            return parts if all(parts) else None
    assert_never(footprint)


def _reordered(region: Region, axes: tuple[int, ...] | None, shape: Shape, output: Shape) -> Region:
    if region == whole_region(output):
        return whole_region(shape)
    if axes is not None:
        return tuple(region[axes.index(axis)] for axis in range(len(shape)))
    flat = np.ravel_multi_index(np.ix_(*region), output)
    places = np.unravel_index(flat, shape)
    return tuple(range(int(at.min()), int(at.max()) + 1) for at in places)


def _channels(region: Region, patch: Patch, shape: Shape) -> range:
    if patch.channel_shift is None or not shape:
        return range(shape[-1])
    start, stop = (at + patch.channel_shift for at in (region[-1].start, region[-1].stop))
    return range(max(start, 0), min(stop, shape[-1]))


def _rows_and_columns(region: Region, patch: Patch, shape: Shape) -> Region:
    places, sizes = region[:-1], shape[:-1]
    if len(places) != len(sizes) or len(sizes) > 2:
        same = len(places) == len(sizes) and (patch.size, patch.step) == ((1, 1), (1, 1))
        return places if same else whole_region(sizes)
    read = []
    for axis, (at, size) in enumerate(zip(places, sizes, strict=True)):
        first = patch.start[axis] + patch.step[axis] * at.start
        last = patch.start[axis] + patch.step[axis] * (at.stop - 1) + patch.size[axis] - 1
        read.append(range(max(ceil(first), 0), min(floor(last) + 1, size)))
    return tuple(read)
