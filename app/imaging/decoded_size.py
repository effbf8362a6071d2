"""How much memory an image file takes while it is decoded, and how far a JPEG is reduced meanwhile.

Knows Pillow's modes and what its decoders allocate; decodes nothing.
"""

from PIL import Image

from app.errors import TooLargeError

# Longer side of a decoded image, in pixels; larger images are reduced. At 1600 pixels the digits of
# a full page still have the 20 pixels that a network sees, and every later stage takes a fraction
# of a second.
MAX_WORKING_SIDE = 1600
# Bytes of pixels and coefficients of one file. A decoder process may take 192 MiB by default:
# these, a file of 20 MiB, and 15 MiB for the reduced image.
MAX_DECODED_BYTES = 160_000_000
# Bytes that Pillow holds for each pixel, conversion to 8 bits and reduction included; measured.
_BYTES_PER_PIXEL = {"1": 2, "L": 1, "I;16": 4, "P": 5, "RGB": 4}
_OTHER_BYTES_PER_PIXEL = 10  # CMYK, floats, transparency
JPEG_BYTES_PER_PIXEL = 4  # of the reduced image: Pillow holds RGB in 4 bytes
WEBP_BYTES_PER_PIXEL = 16  # two canvases of its decoder, a copy, and Pillow's image
HEIC_BYTES_PER_PIXEL = 6  # planes of 12 bits, and RGB
_JPEG_SCALES = (8, 4, 2, 1)


def check_decoded_size(image: Image.Image, name: str) -> None:
    """Refuse an opened image that is decoded whole and takes too much memory.

    Args:
        image: The image, not yet decoded.
        name: Its format.

    Raises:
        TooLargeError: It takes more than `MAX_DECODED_BYTES`.
    """
    per_pixel = _BYTES_PER_PIXEL.get(image.mode, _OTHER_BYTES_PER_PIXEL)
    if "transparency" in image.info:
        per_pixel = _OTHER_BYTES_PER_PIXEL
    check_pixels(image.width, image.height, per_pixel, f"{name} in this colour mode")


def check_pixels(width: int, height: int, bytes_per_pixel: int, kind: str) -> None:
    """Refuse an image of a kind that takes so many bytes for each pixel.

    Raises:
        TooLargeError: It takes more than `MAX_DECODED_BYTES`.
    """
    limit = MAX_DECODED_BYTES // bytes_per_pixel
    if width * height > limit:
        raise TooLargeError(
            f"The image has {width} x {height} = {width * height} pixels; of a {kind}, at most"
            f" {limit} can be decoded. Send a JPEG, which is reduced while it is decoded, or a"
            " smaller image."
        )


def jpeg_scale(width: int, height: int, channels: int, coefficients: int) -> int:
    """Return the scale at which a JPEG is decoded: 1, 2, 4 or 8 pixels of the file become one.

    Args:
        width: Width of the image, in pixels.
        height: Height of the image, in pixels.
        channels: Number of its channels.
        coefficients: Bytes that the decoder holds besides the pixels
            (`jpeg_structure.jpeg_coefficient_bytes`).

    Returns:
        The largest scale, which is the fastest, that leaves at least `MAX_WORKING_SIDE` pixels; a
        larger one if the image does not fit into `MAX_DECODED_BYTES`.

    Raises:
        TooLargeError: None fits.
    """
    per_pixel = 1 if channels == 1 else JPEG_BYTES_PER_PIXEL
    room = MAX_DECODED_BYTES - coefficients
    fitting = [
        scale for scale in _JPEG_SCALES if per_pixel * width * height <= room * scale * scale
    ]
    if not fitting:
        raise TooLargeError(
            f"The progressive JPEG has {width} x {height} pixels, which take"
            f" {coefficients // 1_000_000} MB to decode; at most"
            f" {MAX_DECODED_BYTES // 1_000_000} MB are allowed. Save it without the option"
            " 'progressive'."
        )
    reduction = -(-max(width, height) // MAX_WORKING_SIDE)
    return max((scale for scale in fitting if scale <= reduction), default=min(fitting))
