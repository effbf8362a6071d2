"""One small drawing in every format and colour mode that is read."""

import io
import struct
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

WIDTH, HEIGHT = 60, 40

_GREY = np.full((HEIGHT, WIDTH), 255, np.uint8)
_GREY[5:35, 20:27] = 0


def drawing(mode: str = "L") -> Image.Image:
    """A dark upright stroke on white, 60 x 40, in a Pillow mode."""
    if mode == "I;16":
        return Image.fromarray(_GREY.astype(np.uint16) * 257)
    if mode in ("I", "F"):
        return Image.fromarray(_GREY.astype(np.int32 if mode == "I" else np.float32))
    if mode in ("P", "PA"):
        return Image.fromarray(np.stack([_GREY] * 3, axis=2)).convert(mode)
    return Image.fromarray(_GREY).convert("RGB").convert(mode)


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """Return the bytes of an image file."""
    stream = io.BytesIO()
    if file_format == "HEIC":
        pillow_heif.from_pillow(image).save(stream, **options)
    else:
        image.save(stream, file_format, **options)
    return stream.getvalue()


def tiff_with_damaged_tags(count: int) -> bytes:
    """Return a TIFF that can be read, with tags of which Pillow warns: they end behind the file."""
    data = bytearray(saved(drawing(), "TIFF"))
    (start,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, start)
    whole = bytes(data[start + 2 : start + 2 + 12 * tags])
    damaged = (struct.pack("<HHII", 40000 + index, 2, 9, 1 << 30) for index in range(count))
    struct.pack_into("<I", data, 4, len(data))
    return bytes(data) + struct.pack("<H", tags + count) + whole + b"".join(damaged) + bytes(4)


MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("L", "P"),
    "HEIC": ("L", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
}
CASES = [(file_format, mode) for file_format, modes in MODES.items() for mode in modes]
