"""`.npy` files: what NumPy writes is read, in every version and order."""

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
def test_versions_and_orders(values: np.ndarray, version: tuple[int, int]) -> None:
    """Versions 1.0 and 2.0 in either order give the same array, in C's order, again and again."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, values, version)
    for _ in range(2):
        read = _read(stream.getvalue())
        np.testing.assert_array_equal(read, VALUES)
        assert read.flags.c_contiguous


def test_a_header_that_was_seen_vouches_for_no_body() -> None:
    """A file with a header that is known is refused all the same when its values are cut off."""
    whole = npy(VALUES)
    _read(whole)
    with pytest.raises(UndecodableError, match="promises 24 values and holds 23"):
        _read(whole[:-1])
    with pytest.raises(UndecodableError):
        _read(whole[:100])  # cut off within the header


def test_long_headers() -> None:
    """A header that is longer than those that are remembered is read."""
    said = repr({"descr": "|u1", "fortran_order": False, "shape": VALUES.shape})
    head = said.ljust(MAX_CACHED_HEADER_BYTES + 53).encode() + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + VALUES.tobytes()
    np.testing.assert_array_equal(_read(content), VALUES)
