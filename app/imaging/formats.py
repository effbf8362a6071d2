"""The image file formats that the service decodes.

This table is the only list of formats. Media types, file suffixes, messages and the OpenAPI
document are derived from it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageFormat:
    """One image file format.

    Attributes:
        name: Name in messages and documents, such as `WebP`.
        media_type: Registered media type, such as `image/webp`.
        suffixes: File suffixes in lower case, with the dot.
        aliases: Other media types for the same files.
        is_pillows: Whether Pillow itself decodes it.
    """

    name: str
    media_type: str
    suffixes: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    is_pillows: bool = True

    @property
    def pillow_name(self) -> str:
        """Return Pillow's name of the format."""
        return self.name.upper()


FORMATS = (
    ImageFormat("PNG", "image/png", (".png",)),
    ImageFormat("JPEG", "image/jpeg", (".jpg", ".jpeg"), aliases=("image/jpg",)),
    ImageFormat("WebP", "image/webp", (".webp",)),
    ImageFormat("BMP", "image/bmp", (".bmp",)),
    ImageFormat("GIF", "image/gif", (".gif",)),
    ImageFormat("TIFF", "image/tiff", (".tif", ".tiff")),
    ImageFormat(
        "HEIC",
        "image/heic",
        (".heic", ".heif", ".hif"),
        aliases=("image/heif", "image/heic-sequence", "image/heif-sequence"),
        is_pillows=False,
    ),
)
PILLOW_NAMES = tuple(entry.pillow_name for entry in FORMATS if entry.is_pillows)
MEDIA_TYPES = tuple(entry.media_type for entry in FORMATS)
MEDIA_TYPE_ALIASES = {alias: entry.media_type for entry in FORMATS for alias in entry.aliases}
SUFFIXES = tuple(suffix for entry in FORMATS for suffix in entry.suffixes)


def _join(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


FORMAT_NAMES = _join([entry.name for entry in FORMATS])  # "PNG, JPEG, ... or HEIC", for messages
