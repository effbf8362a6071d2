"""Grey values of more than 8 bits, and TIFFs whose tiles are larger than the image."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from app.errors import UndecodableError
from app.imaging.decode import decode
from app.imaging.file_structure import MAX_TIFF_TILE_PIXELS
from tests.imaging.files import saved

LIMIT = 1_000_000


def _tiled(width: int, length: int) -> bytes:
    """Return a TIFF of 100 x 100 pixels whose only LZW tile has another size."""
    data = b"\x80\x00\x00" * 20
    tags = [
        (256, 4, 1, 100),
        (257, 4, 1, 100),
        (258, 3, 1, 8),
        (259, 3, 1, 5),
        (262, 3, 1, 1),
        (277, 3, 1, 1),
        (322, 4, 1, width),
        (323, 4, 1, length),
        (324, 4, 1, 0),
        (325, 4, 1, len(data)),
    ]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = [struct.pack("<HHII", *tag[:3], start if tag[0] == 324 else tag[3]) for tag in tags]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + b"".join(entries) + b"\0" * 4 + data


@pytest.mark.parametrize("side", [30_000, 60_000])
def test_huge_tiles_are_refused(side: int) -> None:
    """A TIFF with huge tiles is refused, because a tile is decoded as a whole."""
    with pytest.raises(UndecodableError, match=f"at most {MAX_TIFF_TILE_PIXELS}"):
        decode(_tiled(side, side), max_pixels=LIMIT)


@pytest.mark.parametrize("white", [255, 1023, 4095, 65535])
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_every_bit_depth_gives_the_same_pixels(white: int, file_format: str) -> None:
    """The same picture, without black, gives the same bytes at 8, 10, 12 and 16 bits."""
    grey = np.linspace(40, 255, 50 * 50).astype(np.uint8).reshape(50, 50)
    deep = np.round(grey.astype(float) * white / 255).astype(np.uint16)
    upload = decode(saved(Image.fromarray(deep), file_format), max_pixels=LIMIT)
    np.testing.assert_array_equal(upload.pixels, grey)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-5.0, 5.0), (0.0, 1e9)])
def test_floats_are_scaled(low: float, high: float) -> None:
    """Floats of any range are scaled to 0..255; NaN and infinity are accepted."""
    values = np.linspace(low, high, 400).reshape(20, 20).astype(np.float32)
    upload = decode(saved(Image.fromarray(values), "TIFF"), max_pixels=LIMIT)
    assert (upload.pixels.min(), upload.pixels.max()) == (0, 255)
    values[3, 3], values[4, 4] = np.nan, np.inf
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF")
    assert decode(stream.getvalue(), max_pixels=LIMIT).pixels.shape == (20, 20)
