"""Detect the polarity of an image: dark ink on a light background, or light ink on a dark one."""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from app.imaging.filters import Grey, downscale, otsu
from app.imaging.page_size import is_page

DetectedPolarity = Literal["dark-on-light", "light-on-dark"]
Polarity = Literal["auto", "dark-on-light", "light-on-dark"]
# Whether the other polarity is not tried, is the fallback, or competes.
Doubt = Literal["none", "weak", "strong"]

EVIDENCE_SIDE = 160  # longer side, in pixels, of the reduced image; strokes are still visible
BORDER_WIDTH = 0.04  # width of the border, as a share of the shorter side
# Side of the window of the local mean, as a share of the shorter side. It must be wider than a
# stroke, and strokes are wider in a crop of a single digit.
PAGE_WINDOW, CROP_WINDOW = 0.3, 0.5
CLEAR_BORDER = 0.8  # share of the border that must lie in one class for the border to decide
BIMODAL = 0.85  # explained variance from which an image has two levels, ink and background
CLEAR_SKEWNESS = 1.0  # absolute skewness from which the skewness alone can decide
CORNER_SIDE = 0.08  # side of a corner, as a share of the shorter side
# Corners of an image of two levels that must lie in one class for the corners to decide. Of 1,000
# digits cropped to their ink, also with thick strokes, one has ink in three corners; 5 % in two.
CLEAR_CORNERS = 3


@dataclass(frozen=True)
class PolarityEvidence:
    """Measurements that decide an image's polarity.

    Attributes:
        threshold: Otsu's threshold, grey levels.
        explained: Share of the variance that Otsu's two classes explain, 0..1.
        light_border: Share of the border above the threshold, 0..1.
        light_corners: Number of corners of which most is above the threshold, 0..4.
        skewness: Skewness of the image minus its local mean. Thin dark strokes make it negative,
            thin light strokes positive.
    """

    threshold: float
    explained: float
    light_border: float
    light_corners: int
    skewness: float

    @property
    def _clear_corners(self) -> bool:
        """Return whether the background is the level that most corners have."""
        most = max(self.light_corners, 4 - self.light_corners)
        return (
            self.explained >= BIMODAL
            and abs(self.skewness) < CLEAR_SKEWNESS
            and most >= CLEAR_CORNERS
        )

    @property
    def polarity(self) -> DetectedPolarity:
        """Decide the polarity.

        The border of an image is mostly background: if at least 80 % of it lies in one of Otsu's
        classes, the other class is ink. If the border is mixed (a digit that fills the frame, a
        shadow across the paper), or the image has more than two levels and a clear skewness, the
        sign of the skewness decides, unless that is low and three of the corners agree: a digit
        that fills the frame leaves them free.
        """
        clear_border = abs(self.light_border - 0.5) >= CLEAR_BORDER - 0.5
        if clear_border and (self.explained >= BIMODAL or abs(self.skewness) < CLEAR_SKEWNESS):
            return "dark-on-light" if self.light_border > 0.5 else "light-on-dark"
        if self._clear_corners:
            return "dark-on-light" if self.light_corners > 2 else "light-on-dark"
        return "light-on-dark" if self.skewness > 0 else "dark-on-light"

    @property
    def doubt(self) -> Doubt:
        """Return how the other polarity should be tried.

        There is doubt if the skewness is low, the border does not clearly confirm its sign, and the
        corners differ: `strong` if the border contradicts it, else `weak`.
        """
        if self._clear_corners:
            return "none"
        confirmation = (self.light_border - 0.5) * -np.sign(self.skewness)
        if confirmation >= CLEAR_BORDER - 0.5 or abs(self.skewness) >= CLEAR_SKEWNESS:
            return "none"
        return "weak" if confirmation > 0 else "strong"

    def rounded(self) -> dict[str, float]:
        """Return the measurements rounded to three decimals, for the stage report."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def measure_polarity(grey: Grey, *, corners: bool = True) -> PolarityEvidence:
    """Measure the evidence for the polarity of an image.

    Args:
        grey: float32 `[H, W]`, 0..255.
        corners: Look at the corners. If False, they count as two light and two dark ones.
    """
    grey = downscale(grey, EVIDENCE_SIDE)
    threshold, explained = otsu(grey)
    rim = max(1, round(BORDER_WIDTH * min(grey.shape)))
    border = np.concatenate(
        [grey[:rim].ravel(), grey[-rim:].ravel(), grey[:, :rim].ravel(), grey[:, -rim:].ravel()]
    )
    side = max(1, round(CORNER_SIDE * min(grey.shape)))
    light = grey > threshold
    light_corners = sum(bool(light[y, x].mean() > 0.5) for y in _ends(side) for x in _ends(side))
    window = PAGE_WINDOW if is_page(grey) else CROP_WINDOW
    blur = ImageFilter.BoxBlur(max(1, round(window * min(grey.shape) / 2)))
    detail = grey - np.asarray(Image.fromarray(grey.astype(np.uint8)).filter(blur), np.float32)
    deviation = float(detail.std())
    cubes = detail * detail * detail  # takes a tenth of the time of detail**3
    skewness = float(cubes.mean()) / deviation**3 if deviation > 0 else 0.0
    light_border = float((border > threshold).mean())
    return PolarityEvidence(
        threshold, explained, light_border, light_corners if corners else 2, skewness
    )


def _ends(side: int) -> tuple[slice, slice]:
    """Return the first and the last `side` rows or columns."""
    return slice(side), slice(-side, None)
