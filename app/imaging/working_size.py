"""Choose the size at which an image of one digit is prepared.

The network reads a digit from 20 pixels, so a large image is first prepared at a reduced size. Only
a digit that is small there is prepared again with more of its pixels. Knows sizes; knows nothing of
ink.
"""

from dataclasses import replace

from PIL import Image

from app.imaging.decode import Upload, split_alpha
from app.imaging.mnist_form import BOX
from app.imaging.stages import Placement

# Longer side, in pixels, at least, of the image that is prepared first; it is less than twice this.
FIRST_SIDE = 400
# Longer side of a digit, in pixels of the reduced image, from which more pixels change nothing:
# four times the network's.
MIN_DIGIT_SIDE = 80


def first_size(upload: Upload) -> Upload:
    """Return the image as it is prepared first; one below twice `FIRST_SIDE` is returned itself."""
    return _reduce(upload, max(upload.pixels.shape[:2]) // FIRST_SIDE)


def next_size(upload: Upload, reduced: Upload, placement: Placement) -> Upload | None:
    """Return a larger image of a digit that is small at a reduced size; None if it is not.

    Args:
        upload: The whole image.
        reduced: The image as it was prepared.
        placement: Where the digit was found.
    """
    if reduced is upload:
        return None
    side = BOX * max(placement.scale_y, placement.scale_x) / reduced.factor
    if side >= MIN_DIGIT_SIDE:
        return None
    return _reduce(upload, int(reduced.factor // upload.factor * side / MIN_DIGIT_SIDE))


def _reduce(upload: Upload, factor: int) -> Upload:
    """Average blocks of `factor` x `factor` pixels, weighted by their opacity."""
    if factor <= 1:
        return upload
    image = Image.fromarray(upload.pixels)
    if upload.alpha is not None:
        image.putalpha(Image.fromarray(upload.alpha))
    pixels, alpha = split_alpha(image.reduce(factor))
    return replace(upload, pixels=pixels, alpha=alpha, factor=upload.factor * factor)
