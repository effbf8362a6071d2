"""Tell a page from a crop of a single digit by its size."""

import numpy as np
from numpy.typing import NDArray

# Shorter side, in pixels, of the smallest image that is treated as a page. A page can show ruled
# lines, shadows and the edge of the paper, and its strokes are thin compared with its sides. A
# smaller image is taken to be a crop of one digit.
MIN_PAGE_SIDE = 64


def is_page(image: NDArray[np.generic]) -> bool:
    """Return whether an image `[H, W]` is large enough to be a page."""
    return bool(min(image.shape) >= MIN_PAGE_SIDE)
