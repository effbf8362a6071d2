"""Tell whether an upload is MNIST-shaped, so that it can go to the network unchanged.

MNIST-shaped means 28x28, grey, with light ink on a black background and a nearly black border.
"""

import numpy as np
from numpy.typing import NDArray

from app.imaging.decode import Upload
from app.imaging.filters import Grey

SIDE = 28  # pixels
MAX_BLACK = 16  # grey level up to which a pixel counts as black
MIN_INK = 128  # grey level that at least one pixel must reach to count as ink
# Black pixels that the border must have. One MNIST digit in 75 has ink on the border.
MIN_BLACK_BORDER = 0.85 * (4 * SIDE - 4)
MIN_BLACK = SIDE * SIDE // 2  # the image must have more black pixels than this
_BLACK, _INK = b"b", b"i"
# Translation table from a grey level to `_BLACK`, `_INK` or 0 (neither).
_CLASSES = bytes(
    _BLACK[0] if level <= MAX_BLACK else _INK[0] if level >= MIN_INK else 0 for level in range(256)
)
# Indices of the border's pixels in a flattened image.
_BORDER = np.flatnonzero(np.pad(np.zeros((SIDE - 2, SIDE - 2), bool), 1, constant_values=True))


def is_grey_28x28(upload: Upload) -> bool:
    """Return whether an upload is 28x28 and grey, without transparent pixels."""
    return upload.pixels.shape == (SIDE, SIDE) and upload.alpha is None


def is_mnist_shaped(upload: Upload) -> bool:
    """Return whether an upload has the shape, the polarity and the black border of MNIST."""
    if not is_grey_28x28(upload):
        return False
    # Operations on bytes, because five calls of NumPy take longer than decoding the image.
    classes = upload.pixels.tobytes().translate(_CLASSES)
    sides = (
        classes[:SIDE],
        classes[-SIDE:],
        classes[SIDE:-SIDE:SIDE],
        classes[2 * SIDE - 1 : -SIDE : SIDE],
    )
    border = sum(side.count(_BLACK) for side in sides)
    return border >= MIN_BLACK_BORDER and classes.count(_BLACK) > MIN_BLACK and _INK in classes


def are_mnist_shaped(images: NDArray[np.uint8] | Grey) -> NDArray[np.bool_]:
    """Return the result of `is_mnist_shaped` for each of many images.

    Args:
        images: uint8 or float32 `[N, 28, 28]`, 0..255.

    Returns:
        bool `[N]`.
    """
    flat = images.reshape(len(images), SIDE * SIDE)
    black = (flat <= MAX_BLACK).view(np.uint8)
    border = black[:, _BORDER].sum(axis=1, dtype=np.uint16)
    count = black.sum(axis=1, dtype=np.uint16)
    shaped: NDArray[np.bool_] = (
        (border >= MIN_BLACK_BORDER) & (count > MIN_BLACK) & (flat.max(axis=1) >= MIN_INK)
    )
    return shaped
