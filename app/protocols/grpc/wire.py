"""Counts the fields of an encoded message before it is parsed.

An empty field takes two bytes on the wire and up to a hundred in memory once it is parsed. Knows
the encoding of protocol buffers; knows nothing of what the messages mean.
"""

from collections.abc import Mapping
from typing import TypeAlias

# Numbers of the fields that hold messages, each with those inside it.
Nested: TypeAlias = Mapping[int, "Nested"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_MAX_VARINT_BYTES = 10


class _Malformed(Exception):
    """The bytes are no message; the parser says so better."""


def has_more_fields(content: bytes, most: int, nested: Nested) -> bool:
    """Return whether a message has more than `most` fields, those of messages inside it included.

    Args:
        content: The encoded message.
        most: The number of fields after which to stop.
        nested: The fields whose content is counted, too.
    """
    left = most
    parts = [(0, len(content), nested)]
    try:
        while parts:
            place, stop, inside = parts.pop()
            while place < stop:
                if not left:
                    return True
                left -= 1
                tag, place = _varint(content, place)
                start, place = _skip(content, place, tag & 7)
                if tag & 7 == _BYTES and tag >> 3 in inside:
                    parts.append((start, min(place, stop), inside[tag >> 3]))
    except _Malformed:
        pass
    return False


def _skip(content: bytes, place: int, wire_type: int) -> tuple[int, int]:
    """Return where the value of a field begins and ends."""
    if wire_type == _VARINT:
        return place, _varint(content, place)[1]
    if wire_type == _BYTES:
        length, place = _varint(content, place)
        return place, place + length
    if wire_type in (_FIXED32, _FIXED64):
        return place, place + (4 if wire_type == _FIXED32 else 8)
    raise _Malformed


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """Return a number and where it ends."""
    value = 0
    for shift in range(_MAX_VARINT_BYTES):
        if place >= len(content):
            break
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place
    raise _Malformed
