"""Walks the segments of a JPEG before its pixels, and tells what its decoder will hold.

Every walk stops at a limit. Damage that a decoder reports by itself is not reported here.
"""

import re
import struct
from collections.abc import Iterator

from app.errors import UndecodableError

MAX_SEGMENTS = 1_000  # before the pixels; an ICC profile or Photoshop data take about 30
MAX_FILL_BYTES = 10_000  # 0xFF bytes between segments, which Pillow reads one by one
MAX_PHOTOSHOP_RESOURCES = 5_000  # in APP13 segments; Photoshop writes about 30
MAX_SCANS = 64  # writers make up to 12; each costs 90 ms at 50 million pixels

_FILL_BYTES = re.compile(rb"\xff+")
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_START_OF_SCAN, _END = 0xDA, 0xD9
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # segments with the size
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_BYTES_PER_COEFFICIENT = 2


def check_jpeg(data: bytes) -> None:
    """Refuse a file with more parts than a decoder should walk through.

    Raises:
        UndecodableError: Too many scans, segments, fill bytes or Photoshop resources.
    """
    scans = data.count(b"\xff\xda")
    if scans > MAX_SCANS:
        raise UndecodableError(
            f"The JPEG has {scans} scans; at most {MAX_SCANS} are decoded. Save it again."
        )
    if data.count(b"8BIM") > MAX_PHOTOSHOP_RESOURCES:
        raise _refuse("Photoshop resources", MAX_PHOTOSHOP_RESOURCES)
    for _ in _segments(data):
        pass


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height; None if the file has no frame.

    Raises:
        struct.error: The file ends inside of the frame's header.
    """
    for marker, at in _segments(data):
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
    return None


def jpeg_coefficient_bytes(data: bytes) -> int:
    """Return the bytes of the coefficients that a decoder holds for the whole image.

    It needs all of them if each scan brings a part of every block (progressive), or only some of
    the components; else it holds one row of blocks, and the result is 0.

    Raises:
        struct.error: The file ends inside of a header.
    """
    components, samples, progressive = 0, 0, False
    for marker, at in _segments(data):
        if marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, at + 3)
            samples = _samples(data[at + 8 : at + 8 + 3 * components], width * height)
            progressive = marker in _PROGRESSIVE
        elif marker == _START_OF_SCAN and (progressive or data[at + 2] < components):
            return _BYTES_PER_COEFFICIENT * samples
    return 0


def _samples(table: bytes, pixels: int) -> int:
    """Return the number of samples in all components, from the frame's table of components."""
    shares = [(factors >> 4) * (factors & 15) for factors in table[1::3]]
    return pixels * sum(shares) // max(1, *shares, 1)


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker and the position of each segment up to the first scan, within the limits."""
    at, segments, fill = 2, 0, 0
    while run := _FILL_BYTES.match(data, at):
        fill += run.end() - at - 1
        at = run.end() + 1
        if fill > MAX_FILL_BYTES:
            raise _refuse("fill bytes between its segments", MAX_FILL_BYTES)
        if at > len(data) or data[at - 1] == _END:
            return
        segments += 1
        if segments > MAX_SEGMENTS:
            raise _refuse("segments before its pixels", MAX_SEGMENTS)
        yield data[at - 1], at
        if data[at - 1] == _START_OF_SCAN:
            return
        if data[at - 1] not in _WITHOUT_LENGTH:
            at += int.from_bytes(data[at : at + 2])


def _refuse(parts: str, limit: int) -> UndecodableError:
    return UndecodableError(
        f"The JPEG file has more than {limit:,} {parts}; write it again with fewer."
    )
