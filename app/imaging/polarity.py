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


@dataclass(frozen=True)
class PolarityEvidence:
    """Measurements that decide an image's polarity.

    Attributes:
        threshold: Otsu's threshold, grey levels.
        explained: Share of the variance that Otsu's two classes explain, 0..1.
        light_border: Share of the border above the threshold, 0..1.
        skewness: Skewness of the image minus its local mean. Thin dark strokes make it negative,
            thin light strokes positive.
    """

    threshold: float
    explained: float
    light_border: float
    skewness: float

    @property
    def polarity(self) -> DetectedPolarity:
        """Decide the polarity.

        The border of an image is mostly background: if at least 80 % of it lies in one of Otsu's
        classes, the other class is ink. If the border is mixed (a digit that fills the frame, a
        shadow across the paper), or the image has more than two levels and a clear skewness, the
        sign of the skewness decides.
        """
        clear_border = abs(self.light_border - 0.5) >= CLEAR_BORDER - 0.5
        if clear_border and (self.explained >= BIMODAL or abs(self.skewness) < CLEAR_SKEWNESS):
            return "dark-on-light" if self.light_border > 0.5 else "light-on-dark"
        return "light-on-dark" if self.skewness > 0 else "dark-on-light"

    @property
    def doubt(self) -> Doubt:
        """Return how the other polarity should be tried.

        There is doubt if the skewness is low and the border does not clearly confirm its sign:
        `strong` if the border contradicts it, else `weak`.
        """
        confirmation = (self.light_border - 0.5) * -np.sign(self.skewness)
        if confirmation >= CLEAR_BORDER - 0.5 or abs(self.skewness) >= CLEAR_SKEWNESS:
            return "none"
        return "weak" if confirmation > 0 else "strong"

    def rounded(self) -> dict[str, float]:
        """Return the measurements rounded to three decimals, for the stage report."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def measure_polarity(grey: Grey) -> PolarityEvidence:
    """Measure the evidence for the polarity of an image.

    Args:
        grey: float32 `[H, W]`, 0..255.
    """
    grey = downscale(grey, EVIDENCE_SIDE)
    threshold, explained = otsu(grey)
    rim = max(1, round(BORDER_WIDTH * min(grey.shape)))
    border = np.concatenate(
        [grey[:rim].ravel(), grey[-rim:].ravel(), grey[:, :rim].ravel(), grey[:, -rim:].ravel()]
    )
    window = PAGE_WINDOW if is_page(grey) else CROP_WINDOW
    blur = ImageFilter.BoxBlur(max(1, round(window * min(grey.shape) / 2)))
    detail = grey - np.asarray(Image.fromarray(grey.astype(np.uint8)).filter(blur), np.float32)
    deviation = float(detail.std())
    cubes = detail * detail * detail  # takes a tenth of the time of detail**3
    skewness = float(cubes.mean()) / deviation**3 if deviation > 0 else 0.0
    return PolarityEvidence(threshold, explained, float((border > threshold).mean()), skewness)
