"""Walks the boxes of a HEIF file (ISO/IEC 23008-12), the container of HEIC, before it is decoded.

Finds the size of the primary image and counts items, tiles and properties. Every walk stops at a
limit. A file that is cut off, or whose items point outside of it, is refused here, because the
decoder would show grey tiles in place of what is missing. Knows boxes; knows nothing of pixels.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from app.errors import UndecodableError

# Phones write about 150 items: 48 tiles of 512x512 for 12 million pixels, thumbnails, depth maps.
# libheif reads at most 1,000 by default.
MAX_ITEMS = 1_000
MAX_BOXES = 2_000  # inside one other box, or at the top; an image has about ten properties
MAX_EXTENTS = 10_000  # pieces of the file that hold the items
MAX_BRANDS = 64  # of which a file names about five
# Brands of files whose images are coded as HEVC: still images, then sequences.
_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"},
)
_SEQUENCE = b"moov"  # the box of a sequence of images, as in a video


class _Box(NamedTuple):
    """A box without its header: its content is `data[start:stop]`."""

    kind: bytes
    start: int
    stop: int


def is_heif(data: bytes) -> bool:
    """Return whether a file says that it holds HEVC images."""
    if data[4:8] != b"ftyp":
        return False
    stop = min(int.from_bytes(data[:4]), 8 + 4 * MAX_BRANDS)
    brands = (data[at : at + 4] for at in range(8, stop, 4) if at != 12)  # 12: minor version
    return not _BRANDS.isdisjoint(brands)


def heif_size(data: bytes) -> tuple[int, int]:
    """Return width and height of the primary image as the file declares them, before rotation.

    Raises:
        UndecodableError: The file is damaged, has too many parts, or holds no still image.
    """
    try:
        size, _ = _walk(data)
    except (struct.error, IndexError) as error:
        raise _damaged("a box ends too early") from error
    return size


def check_heif(data: bytes) -> list[tuple[int, int]]:
    """Check the structure of a file.

    Returns:
        Width and height of the primary image, then of all other images and tiles.

    Raises:
        UndecodableError: As in `heif_size`, or an item lies outside of the file.
    """
    try:
        size, meta = _walk(data)
        _check_extents(data, meta.get(b"iloc"))
        _check_references(data, meta.get(b"iref"))
        sizes = [read for _, read in _properties(data, meta)]
    except (struct.error, IndexError) as error:
        raise _damaged("a box ends too early") from error
    return [size, *sizes]


def _walk(data: bytes) -> tuple[tuple[int, int], dict[bytes, _Box]]:
    """Return the size of the primary image, and the boxes in the file's `meta` box."""
    top = {box.kind: box for box in _boxes(data, 0, len(data))}
    if b"meta" not in top:
        if _SEQUENCE in top:
            raise UndecodableError(
                "The HEIC file holds a sequence without a still image; send a photo or one frame."
            )
        raise _damaged("it has no meta box")
    meta = {box.kind: box for box in _boxes(data, top[b"meta"].start + 4, top[b"meta"].stop)}
    for kind in (b"pitm", b"iinf", b"iprp"):
        if kind not in meta:
            raise _damaged(f"it has no {kind.decode()} box")
    _check_count(_count(data, meta[b"iinf"]), "items")
    primary = _integer(data, meta[b"pitm"])
    indices = _associations(data, meta, primary)
    size = next((size for index, size in _properties(data, meta) if index in indices), None)
    if size is None:
        raise _damaged("its primary image has no size")
    return size, meta


def _boxes(data: bytes, start: int, stop: int) -> Iterator[_Box]:
    """Yield the boxes between two positions.

    Raises:
        UndecodableError: A box reaches beyond the end, or there are too many.
    """
    at, count = start, 0
    while at < stop:
        size, kind = struct.unpack_from(">I4s", data, at)
        begin = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, begin)
            begin += 8
        end = stop if size == 0 else at + size
        count += 1
        if count > MAX_BOXES:
            raise _refuse("boxes in a row", MAX_BOXES)
        if end > stop or end < begin:
            raise _damaged("its end is missing, or a box has a wrong length")
        yield _Box(kind, begin, end)
        at = end


def _integer(data: bytes, box: _Box) -> int:
    """Return the integer behind version and flags: 16 bits in version 0, else 32 bits."""
    code = ">I" if data[box.start] else ">H"
    return int(struct.unpack_from(code, data, box.start + 4)[0])


_count = _integer  # of the entries of `iinf`


def _properties(data: bytes, meta: dict[bytes, _Box]) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the index, from 1, and the width and height of each size (`ispe`)."""
    iprp = {box.kind: box for box in _boxes(data, meta[b"iprp"].start, meta[b"iprp"].stop)}
    if b"ipco" not in iprp:
        raise _damaged("it has no ipco box")
    for index, box in enumerate(_boxes(data, iprp[b"ipco"].start, iprp[b"ipco"].stop), start=1):
        if box.kind == b"ispe":
            width, height = struct.unpack_from(">II", data, box.start + 4)
            yield index, (width, height)


def _associations(data: bytes, meta: dict[bytes, _Box], item: int) -> frozenset[int]:
    """Return the indices of the properties of an item."""
    for box in _boxes(data, meta[b"iprp"].start, meta[b"iprp"].stop):
        if box.kind != b"ipma":
            continue
        wide_items, wide_indices = data[box.start] > 0, data[box.start + 3] & 1
        (entries,) = struct.unpack_from(">I", data, box.start + 4)
        _check_count(entries, "items with properties")
        head = struct.Struct(">IB" if wide_items else ">HB")
        at = box.start + 8
        for _ in range(entries):
            number, count = head.unpack_from(data, at)
            at += head.size
            if number == item:
                codes = struct.unpack_from(f">{count}{'H' if wide_indices else 'B'}", data, at)
                # The highest bit tells that a reader must know the property.
                return frozenset(code & (0x7FFF if wide_indices else 0x7F) for code in codes)
            at += count * (2 if wide_indices else 1)
    return frozenset()


def _check_extents(data: bytes, box: _Box | None) -> None:
    """Refuse a file whose items lie outside of it."""
    if box is None:
        raise _damaged("it has no iloc box")
    version, sizes, bases = data[box.start], data[box.start + 4], data[box.start + 5]
    offset_bytes, length_bytes, base_bytes = sizes >> 4, sizes & 15, bases >> 4
    index_bytes = bases & 15 if version else 0
    number = struct.Struct(">I" if version == 2 else ">H")
    (items,) = number.unpack_from(data, box.start + 6)
    _check_count(items, "items")
    at, extents = box.start + 6 + number.size, 0
    for _ in range(items):
        at += number.size
        method = data[at + 1] & 15 if version else 0  # 0: the offset counts from the file's start
        at += (2 if version else 0) + 2  # the file that holds the item: always this one
        base = int.from_bytes(data[at : at + base_bytes])
        (count,) = struct.unpack_from(">H", data, at + base_bytes)
        at += base_bytes + 2
        extents += count
        if extents > MAX_EXTENTS:
            raise _refuse("pieces", MAX_EXTENTS)
        for _ in range(count):
            at += index_bytes
            offset = int.from_bytes(data[at : at + offset_bytes])
            at += offset_bytes
            length = int.from_bytes(data[at : at + length_bytes])
            at += length_bytes
            if method == 0 and base + offset + length > len(data):
                raise _damaged("an item lies outside of the file")
        if at > box.stop:
            raise _damaged("a box ends too early")


def _check_references(data: bytes, box: _Box | None) -> None:
    """Refuse an image that is made of too many tiles."""
    if box is None:
        return
    item_bytes = 4 if data[box.start] else 2
    for reference in _boxes(data, box.start + 4, box.stop):
        (count,) = struct.unpack_from(">H", data, reference.start + item_bytes)
        _check_count(count, "tiles")


def _check_count(count: int, parts: str) -> None:
    if count > MAX_ITEMS:
        raise _refuse(parts, MAX_ITEMS)


def _refuse(parts: str, limit: int) -> UndecodableError:
    return UndecodableError(
        f"The HEIC file has more than {limit:,} {parts}; write it again with fewer."
    )


def _damaged(reason: str) -> UndecodableError:
    return UndecodableError(f"The image is damaged: it starts like a HEIC file, but {reason}.")
