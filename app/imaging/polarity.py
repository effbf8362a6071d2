"""Which of the two is ink: the darker or the lighter part of a grey image."""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from app.imaging.filters import Grey, otsu, shrink

DetectedPolarity = Literal["dark-on-light", "light-on-dark"]
Polarity = Literal["auto", "dark-on-light", "light-on-dark"]

LOOK_SIDE = 160  # longer side, pixels, at which an image is looked at: strokes are still seen
MIN_PAGE_SIDE = 64  # pixels a side under which an image is a cut-out of one digit
CLEAR_BORDER = 0.8  # share of the border that must lie in one class for the border to decide
TWO_LEVELS = 0.85  # explained variance from which on an image is of two levels, ink and ground
CLEAR_SKEWNESS = 1.0  # skewness from which on it decides alone


@dataclass(frozen=True)
class PolarityEvidence:
    """What an image's polarity was decided by.

    Attributes:
        threshold: Otsu's, grey levels.
        explained: Share of the variance that the threshold explains, 0..1.
        light_border: Share of the border above it, 0..1.
        skewness: Of the image less its local mean: below 0 where thin parts are dark.
    """

    threshold: float
    explained: float
    light_border: float
    skewness: float

    @property
    def polarity(self) -> DetectedPolarity:
        """Decide.

        The border of an image is mostly ground: if nearly all of it lies in one of the two classes
        that Otsu's threshold makes, the other class is ink. Where the border is of both (a digit
        that fills the frame, a shadow across the paper), or the image has more than two levels,
        strokes are taken to be what deviates from its surroundings.
        """
        clear = abs(self.light_border - 0.5) >= CLEAR_BORDER - 0.5
        if clear and (self.explained >= TWO_LEVELS or abs(self.skewness) < CLEAR_SKEWNESS):
            return "dark-on-light" if self.light_border > 0.5 else "light-on-dark"
        return "light-on-dark" if self.skewness > 0 else "dark-on-light"

    @property
    def doubtful(self) -> bool:
        """Tell whether the border and the strokes do not both say the same, clearly."""
        by_border = (self.light_border - 0.5) * -np.sign(self.skewness) >= CLEAR_BORDER - 0.5
        return not by_border and abs(self.skewness) < CLEAR_SKEWNESS

    def rounded(self) -> dict[str, float]:
        """Return the numbers, rounded to be read."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def measure_polarity(grey: Grey) -> PolarityEvidence:
    """Measure by what ink and ground can be told apart.

    Args:
        grey: float32 `[H, W]`, 0..255.
    """
    grey = shrink(grey, LOOK_SIDE)
    threshold, explained = otsu(grey)
    rim = max(1, round(0.04 * min(grey.shape)))
    border = np.concatenate(
        [grey[:rim].ravel(), grey[-rim:].ravel(), grey[:, :rim].ravel(), grey[:, -rim:].ravel()]
    )
    share = 0.5 if min(grey.shape) < MIN_PAGE_SIDE else 0.3
    blur = ImageFilter.BoxBlur(max(1, round(share * min(grey.shape) / 2)))
    local = grey - np.asarray(Image.fromarray(grey.astype(np.uint8)).filter(blur), np.float32)
    spread = float(local.std())
    cubes = local * local * local  # ten times as fast as a power
    skewness = float(cubes.mean()) / spread**3 if spread > 0 else 0.0
    return PolarityEvidence(threshold, explained, float((border > threshold).mean()), skewness)
