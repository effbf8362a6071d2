"""Which of the two is ink: the darker or the lighter part of a grey image."""

from typing import Literal

import numpy as np

from app.imaging.filters import Grey, box_mean, otsu, shrink

Found = Literal["dark-on-light", "light-on-dark"]
Polarity = Literal["auto", "dark-on-light", "light-on-dark"]

LOOK_SIDE = 160  # longer side, pixels, at which an image is looked at: strokes are still seen
CLEAR_BORDER = 0.8  # share of the border that must lie in one class for the border to decide


def find_polarity(grey: Grey) -> tuple[Found, dict[str, float]]:
    """Find out whether ink is darker or lighter than its ground.

    The border of an image is mostly ground: if nearly all of it lies in one of the two classes that
    Otsu's threshold makes, the other class is ink. Where the border is of both (a digit that fills
    the frame, a shadow across the paper), strokes are taken to be what deviates from its
    surroundings: the skewness of the image less its local mean says to which side the thin parts
    go.

    Args:
        grey: float32 `[H, W]`, 0..255.

    Returns:
        The polarity and what it was decided by.
    """
    grey = shrink(grey, LOOK_SIDE)
    threshold, explained = otsu(grey)
    rim = max(1, round(0.04 * min(grey.shape)))
    border = np.concatenate(
        [grey[:rim].ravel(), grey[-rim:].ravel(), grey[:, :rim].ravel(), grey[:, -rim:].ravel()]
    )
    light_border = float((border > threshold).mean())
    window = max(3, round(0.5 * min(grey.shape))) | 1
    local = grey - box_mean(grey, window)
    spread = float(local.std())
    skewness = float(((local / spread) ** 3).mean()) if spread > 0 else 0.0
    measured = {
        "threshold": round(threshold, 1),
        "explained": round(explained, 3),
        "light_border": round(light_border, 3),
        "skewness": round(skewness, 2),
    }
    if light_border >= CLEAR_BORDER:
        return "dark-on-light", measured
    if light_border <= 1 - CLEAR_BORDER:
        return "light-on-dark", measured
    return ("light-on-dark" if skewness > 0 else "dark-on-light"), measured
