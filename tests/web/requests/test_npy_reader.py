"""`.npy` files: versions, orders, long headers, and headers that are cached."""

import io

import numpy as np
import pytest

from app.errors import UndecodableError
from app.web.requests.npy_reader import MAX_CACHED_HEADER_BYTES, read_npy
from tests.forms import npy

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def _read(content: bytes) -> np.ndarray:
    return read_npy(content, "[2, 3, 4]", lambda shape: shape == (2, 3, 4))


@pytest.mark.parametrize("values", [VALUES, np.asfortranarray(VALUES)], ids=["C", "Fortran"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_versions_and_orders_give_the_same_array(
    values: np.ndarray, version: tuple[int, int]
) -> None:
    """Versions 1.0 and 2.0 in either order give the same C-contiguous array, also when cached."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, values, version)
    for _ in range(2):
        read = _read(stream.getvalue())
        np.testing.assert_array_equal(read, VALUES)
        assert read.flags.c_contiguous


def test_cached_header_does_not_hide_missing_values() -> None:
    """A file whose header is cached is refused when its values are incomplete."""
    whole = npy(VALUES)
    _read(whole)
    with pytest.raises(UndecodableError, match="has 23 values, but its header gives 24"):
        _read(whole[:-1])
    with pytest.raises(UndecodableError):
        _read(whole[:100])  # the header is incomplete


def test_header_longer_than_the_cache_allows_is_read() -> None:
    """A header that is too long for the cache is read all the same."""
    fields = repr({"descr": "|u1", "fortran_order": False, "shape": VALUES.shape})
    head = fields.ljust(MAX_CACHED_HEADER_BYTES + 53).encode() + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + VALUES.tobytes()
    np.testing.assert_array_equal(_read(content), VALUES)
