"""Check an image's header against the limits before its pixels are decoded.

A small file can unpack to gigabytes or take minutes to decode (a decompression bomb). Each check
here reads only the header.
"""

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from app.errors import TooLargeError, UndecodableError

MAX_TILE_PIXELS = 1 << 22  # pixels of one tile of a TIFF; a tile is decoded as a whole
# Scans of a progressive JPEG. Encoders write up to 12; each costs 35 ms at 20 million pixels.
MAX_SCANS = 64
_TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH = 322, 323  # TIFF tags
_JPEG_START_OF_SCAN = b"\xff\xda"


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Check the number of pixels.

    Raises:
        TooLargeError: There are more than `max_pixels`.
        UndecodableError: There are none.
    """
    if width * height > max_pixels:
        raise TooLargeError(
            f"The image has {width} x {height} = {width * height} pixels; the limit is"
            f" {max_pixels}. Send a smaller image."
        )
    if width < 1 or height < 1:
        raise UndecodableError(f"The image is {width} x {height} pixels, so it has no content.")


def check_tiff_tiles(image: Image.Image) -> None:
    """Refuse a TIFF with huge tiles, however small the image that is cut out of them.

    Raises:
        UndecodableError: A tile has more than `MAX_TILE_PIXELS`.
    """
    if isinstance(image, TiffImageFile):
        width = image.tag_v2.get(_TIFF_TILE_WIDTH, 0)
        length = image.tag_v2.get(_TIFF_TILE_LENGTH, 0)
        if width * length > MAX_TILE_PIXELS:
            raise UndecodableError(
                f"The TIFF's tiles have {width} x {length} pixels; at most {MAX_TILE_PIXELS} are"
                " decoded. Save it without tiles."
            )


def check_jpeg_scans(image: Image.Image, data: bytes) -> None:
    """Refuse a progressive JPEG with many scans: each is a pass over the whole image.

    Raises:
        UndecodableError: The file has more than `MAX_SCANS`.
    """
    if image.format in ("JPEG", "MPO") and (scans := data.count(_JPEG_START_OF_SCAN)) > MAX_SCANS:
        raise UndecodableError(
            f"The JPEG has {scans} scans; at most {MAX_SCANS} are decoded. Save it again."
        )


def check_webp_size(data: bytes, max_pixels: int) -> None:
    """Check the size in a WebP's header: Pillow allocates the canvas when it opens the file.

    Other files pass.

    Raises:
        TooLargeError: There are more than `max_pixels`.
        UndecodableError: There are none.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return
    chunk = data[12:16]
    if chunk == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif chunk == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    elif chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        return
    check_size(width, height, max_pixels)
