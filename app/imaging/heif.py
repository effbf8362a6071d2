"""Decodes the primary image of a HEIC file with libheif, through pillow-heif.

The library is imported with the first file: decoder processes and the command line need it, the
service does not. Knows libheif; knows nothing of limits on time.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pillow_heif import HeifFile, HeifImage

_STRIP_ROWS = 512  # about; rows that are reduced at a time
_NO_MEMORY = "Memory allocation error"  # begins libheif's message


class DecodedHeif(NamedTuple):
    """The primary image of a file.

    Attributes:
        image: Its pixels, upright, reduced by `factor`; mode L, LA, RGB, RGBA or RGBa.
        size: Width and height before the reduction, in pixels.
        factor: Each of the pixels is the mean of `factor` x `factor` pixels.
        images: Number of images in the file, without thumbnails, depth maps and the like.
    """

    image: Image.Image
    size: tuple[int, int]
    factor: int
    images: int


def decode_heif(data: bytes, max_side: int) -> DecodedHeif:
    """Decode the primary image; its rotation, mirroring and crop are applied.

    The file's EXIF orientation only repeats the rotation and is ignored, as the standard demands.

    Args:
        data: The file, whose structure has been checked (`app.imaging.heif_structure`).
        max_side: Longer side of the result, in pixels; a larger image is reduced.

    Raises:
        ValueError, RuntimeError, OSError, EOFError, SyntaxError: The file is damaged.
        MemoryError: There is not enough memory.
    """
    try:
        file = _open(data)
        primary = file[file.primary_index]
        primary.load()
    except RuntimeError as error:
        if str(error).startswith(_NO_MEMORY):
            raise MemoryError(str(error)) from error
        raise
    factor = max(1, -(-max(primary.size) // max_side))
    return DecodedHeif(_reduce(primary, factor), primary.size, factor, len(file))


def _open(data: bytes) -> "HeifFile":
    try:
        import pillow_heif
    except ModuleNotFoundError:
        raise
    except ImportError as error:  # its libraries cannot be mapped
        raise MemoryError(str(error)) from error
    options = pillow_heif.options
    options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
    options.DECODE_THREADS = 0  # in this thread: CPU time is limited, and threads take memory
    return pillow_heif.open_heif(data, convert_hdr_to_8bit=True)


def _reduce(heif: "HeifImage", factor: int) -> Image.Image:
    """Return an image reduced by a factor, strip by strip: Pillow needs a copy to reduce it."""
    pixels = np.asarray(heif)  # [H, W] or [H, W, channels], without a copy
    height, width = pixels.shape[:2]
    whole = Image.new(heif.mode, (-(-width // factor), -(-height // factor)))
    rows = factor * -(-_STRIP_ROWS // factor)
    for top in range(0, height, rows):
        strip = pixels[top : top + rows]
        part = Image.frombuffer(heif.mode, (width, len(strip)), strip, "raw", heif.mode, 0, 1)
        whole.paste(part.reduce(factor) if factor > 1 else part, (0, top // factor))
    return whole
