"""Tell whether an upload is MNIST-shaped, so that it can go to the network unchanged.

MNIST-shaped means 28x28 and grey, with a light digit on black that has MNIST's size and place. All
60,000 training digits of MNIST are MNIST-shaped: their longer side is 19 or 20 pixels, and their
centre of mass is within 1 pixel of (14, 14).
"""

import numpy as np
from numpy.typing import NDArray

from app.imaging.decode import Upload
from app.imaging.filters import Grey

SIDE = 28  # pixels
MAX_BLACK = 16  # grey level up to which a pixel counts as black
MIN_INK = 128  # grey level that at least one pixel must reach
MIN_LONGER_SIDE, MAX_LONGER_SIDE = 18, 21  # of the box around all pixels that are not black, pixels
CENTRE = 14.0  # row and column of MNIST's centre of mass
MAX_OFFSET = 1.5  # distance of the centre of mass from `CENTRE` along each axis, pixels

# Translation table from a grey level to 0 (black), 1 or 3 (ink).
_BLACK, _INK = b"\0", b"\3"
_CLASSES = bytes(3 if v >= MIN_INK else v > MAX_BLACK for v in range(256))
_ROW_BITS = 8 * SIDE
_ONE_ROW = (1 << _ROW_BITS) - 1
# Weights of the pixels, float32 [3, 784], that give the mass and its moments about `CENTRE`.
_FROM_CENTRE = np.arange(SIDE, dtype=np.float32) - np.float32(CENTRE)
_MOMENTS = np.stack(
    [np.ones(SIDE * SIDE, np.float32), np.repeat(_FROM_CENTRE, SIDE), np.tile(_FROM_CENTRE, SIDE)]
)


def is_grey_28x28(upload: Upload) -> bool:
    """Return whether an upload is 28x28 and grey, without transparent pixels."""
    return upload.pixels.shape == (SIDE, SIDE) and upload.alpha is None


def is_mnist_shaped(upload: Upload) -> bool:
    """Return whether an upload shows a light digit with MNIST's size and place on black."""
    return is_grey_28x28(upload) and _is_shaped(upload.pixels)


def _is_shaped(pixels: NDArray[np.uint8]) -> bool:
    """Return the result of `is_mnist_shaped` for one image `[28, 28]`."""
    # Operations on bytes, because ten calls of NumPy take longer than decoding the image.
    classes = pixels.tobytes().translate(_CLASSES)
    if _INK not in classes:
        return False
    height = 1 + (len(classes.rstrip(_BLACK)) - 1) // SIDE - _leading_black(classes) // SIDE
    columns = _any_in_column(classes)
    width = len(columns.rstrip(_BLACK)) - _leading_black(columns)
    if not MIN_LONGER_SIDE <= max(height, width) <= MAX_LONGER_SIDE:
        return False
    mass: float
    row: float
    column: float
    mass, row, column = _MOMENTS.dot(pixels.reshape(-1).astype(np.float32)).tolist()
    limit = MAX_OFFSET * mass
    return abs(row) <= limit and abs(column) <= limit


def are_mnist_shaped(images: NDArray[np.uint8] | Grey) -> NDArray[np.bool_]:
    """Return the result of `is_mnist_shaped` for each of many images.

    Args:
        images: uint8 or float32 `[N, 28, 28]`, 0..255.

    Returns:
        bool `[N]`.
    """
    if len(images) == 1 and images.dtype == np.uint8:
        return np.array([_is_shaped(images[0])])
    flat = images.reshape(len(images), SIDE * SIDE)
    side = longer_side(images)
    shaped: NDArray[np.bool_] = (
        (flat.max(axis=1, initial=0) >= MIN_INK)
        & (side >= MIN_LONGER_SIDE)
        & (side <= MAX_LONGER_SIDE)
        & is_centred(images)
    )
    return shaped


def longer_side(images: NDArray[np.uint8] | Grey) -> NDArray[np.intp]:
    """Return the longer side of the box around the pixels that are not black, in pixels.

    Args:
        images: uint8 or float32 `[N, 28, 28]`, 0..255, ink high.

    Returns:
        int `[N]`, 0 for a black image.
    """
    light = np.ascontiguousarray(images > MAX_BLACK)
    # Four pixels of a row at once.
    rows = np.bitwise_or.reduce(light.view(np.uint32), axis=2) != 0
    columns = np.bitwise_or.reduce(light.view(np.uint8), axis=1) != 0
    return np.maximum(_extent(rows), _extent(columns))


def _extent(any_ink: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the distance from the first to the last True of each row, both included."""
    first, from_end = any_ink.argmax(axis=1), any_ink[:, ::-1].argmax(axis=1)
    return np.where(any_ink.any(axis=1), any_ink.shape[1] - from_end - first, 0)


def is_centred(images: NDArray[np.uint8] | Grey) -> NDArray[np.bool_]:
    """Return whether the centre of mass of each of `[N, 28, 28]` images is where MNIST has it."""
    moments = images.reshape(len(images), SIDE * SIDE).astype(np.float32) @ _MOMENTS.T
    centred: NDArray[np.bool_] = (np.abs(moments[:, 1:]) <= MAX_OFFSET * moments[:, :1]).all(axis=1)
    return centred


def _leading_black(classes: bytes) -> int:
    return len(classes) - len(classes.lstrip(_BLACK))


def _any_in_column(classes: bytes) -> bytes:
    """Return 28 bytes: for each column, 0 if all of its pixels are black."""
    # As one large integer, halves of the image are combined until one row is left.
    rows = int.from_bytes(classes, "little")
    for count in (14, 7, 4, 2, 1):
        rows |= rows >> count * _ROW_BITS
    return (rows & _ONE_ROW).to_bytes(SIDE, "little")
