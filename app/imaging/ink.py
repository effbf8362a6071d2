"""From pixels to ink: colours to grey, the ground taken away, noise measured.

Everything here works at the upload's own resolution, before anything is cropped.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import BlankImageError
from app.imaging.decode import Upload
from app.imaging.filters import Grey, box_mean, otsu, running_max, shrink
from app.imaging.polarity import Found

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
# Spread of the channels, in 1 pixel of 100, over which an image is taken to be written in colour.
COLOURFUL = 24.0
LOOK_ROWS = 100  # rows that are looked at to tell whether an image is in colour
EVEN = 8.0  # grey levels that the ground may vary by and still be taken as even
GROUND_SIDE = 128  # longer side, pixels, at which an uneven ground is estimated
MIN_CONTRAST = 12.0  # grey levels between ground and ink; less is a blank image
MIN_SIGNAL = 5.0  # ink over the standard deviation of the ground's noise; less is a blank image


@dataclass(frozen=True)
class Ink:
    """How much ink lies on each pixel.

    Attributes:
        amount: float32 `[H, W]`, grey levels above the ground, at least 0.
        noise: Standard deviation of the ground, grey levels.
        strong: Amount that is surely ink (Otsu's threshold).
        faint: Amount that is ink where it touches what is surely ink.
        peak: Amount of a full stroke.
    """

    amount: Grey
    noise: float
    strong: float
    faint: float
    peak: float


def to_grey(upload: Upload) -> tuple[Grey, dict[str, object]]:
    """Turn colours into grey, transparent parts into ground.

    Transparent pixels are laid over the opposite of the ink's brightness, so that what was drawn on
    nothing is seen. An image written in colour is projected on the direction in which its colours
    vary most, so that yellow on white keeps its contrast; others by luminance.

    Returns:
        float32 `[H, W]`, 0..255, and what was done.
    """
    pixels = upload.pixels.astype(np.float32)
    done: dict[str, object] = {"method": "as it is"}
    if upload.alpha is not None:
        cover = (
            upload.alpha[..., None].astype(np.float32) / 255
            if pixels.ndim == 3
            else upload.alpha / 255.0
        )
        light = pixels @ LUMINANCE if pixels.ndim == 3 else pixels
        weight = upload.alpha.astype(np.float64)
        ink = float((light * weight).sum() / max(1.0, weight.sum()))
        ground = 0.0 if ink > 127 else 255.0
        pixels = np.asarray(pixels * cover + ground * (1 - cover), np.float32)
        done["ground_under_transparency"] = int(ground)
    if pixels.ndim == 2:
        return pixels, done
    grey = np.asarray(pixels @ LUMINANCE, np.float32)
    sample = pixels[:: max(1, len(pixels) // LOOK_ROWS)]
    spread = np.ptp(sample, axis=2)
    if float(np.percentile(spread, 99)) < COLOURFUL:
        return grey, {**done, "method": "luminance"}
    return _along_main_colour(pixels, grey, done)


def _along_main_colour(
    pixels: NDArray[np.float32], grey: Grey, done: dict[str, object]
) -> tuple[Grey, dict[str, object]]:
    """Project colours on their first principal axis, lighter colours up, if that gains contrast."""
    flat = pixels.reshape(-1, 3)[:: max(1, pixels.size // 300_000)]
    middle = np.median(flat, axis=0)
    away = flat - middle
    values, axes = np.linalg.eigh(away.T @ away / len(away))
    axis = axes[:, -1] * (1 if axes[:, -1] @ LUMINANCE >= 0 else -1)
    if float(values[-1]) < 1.5 * float(((away @ LUMINANCE) ** 2).mean()):
        return grey, {**done, "method": "luminance"}
    projected = (pixels - middle) @ axis.astype(np.float32)
    low, high = np.percentile(projected, [0.1, 99.9])
    stretched = np.clip((projected - low) / max(1e-3, high - low), 0, 1) * min(255.0, high - low)
    return np.asarray(stretched, np.float32), {
        **done,
        "method": "main colour axis",
        "axis": [round(float(part), 3) for part in axis],
    }


def extract(grey: Grey, polarity: Found, *, flatten: bool = True) -> tuple[Ink, dict[str, object]]:
    """Take the ground away and keep the ink.

    Args:
        grey: float32 `[H, W]`, 0..255.
        polarity: Which side is ink.
        flatten: Estimate an uneven ground (shadow, vignette, fog); False takes one level for all.

    Returns:
        The ink, and what was measured.

    Raises:
        BlankImageError: There is too little contrast, or no more than noise.
    """
    raised = grey if polarity == "light-on-dark" else 255 - grey  # ink is high from here on
    level, kind = np.float32(_ground_level(raised)), "even"
    ground: Grey | np.float32 = level
    if flatten and _is_uneven(shrink(raised, GROUND_SIDE)):
        ground, kind = _ground(raised), "uneven"
    above = raised - ground
    if polarity == "dark-on-light" and kind == "uneven":
        above *= 255 / np.maximum(255 - ground, 32)  # ink takes a share of the light that is there
    amount = np.maximum(above, 0)
    strong = otsu(amount)[0]
    calm = above[amount <= strong]
    noise = float(1.4826 * np.median(np.abs(calm - np.median(calm)))) if calm.size else 0.0
    written = amount[amount > strong]
    peak = float(np.percentile(written, 75)) if written.size else 0.0
    if peak < MIN_CONTRAST or peak < MIN_SIGNAL * noise:
        raise BlankImageError(
            f"No ink was found: the strongest marks differ from their ground by {peak:.0f} of 255"
            f" grey levels, and the ground's noise is {noise:.0f}. The image is blank or has too"
            " little contrast."
        )
    faint = max(0.08 * peak, 3.5 * noise, 2.0)
    ink = Ink(amount, noise, max(min(strong, 0.5 * peak), faint), faint, peak)
    return ink, {
        "ground": kind,
        "ground_level": round(float(np.mean(ground)), 1),
        "noise": round(noise, 2),
        "strong": round(ink.strong, 1),
        "faint": round(faint, 1),
        "peak": round(peak, 1),
    }


def _ground_level(raised: Grey) -> float:
    """Return the most common level of the lower class: paper without marks."""
    threshold, _ = otsu(raised)
    lower = raised[raised <= threshold]
    return float(np.median(lower if lower.size else raised))


def _is_uneven(raised: Grey) -> bool:
    """Tell whether the lower class varies slowly by more than noise would."""
    threshold, _ = otsu(raised)
    size = max(3, min(raised.shape) // 8) | 1
    lower = raised <= threshold
    share = box_mean(lower.astype(np.float32), size)
    mean = box_mean(np.where(lower, raised, 0), size) / np.maximum(share, 1e-3)
    means = mean[share > 0.3]
    return means.size > 0 and float(np.ptp(np.percentile(means, [2, 98]))) > EVEN


def _ground(raised: Grey) -> Grey:
    """Estimate an uneven ground: an opening wider than any stroke (light ink on dark).

    The window is a third of the shorter side: a digit's strokes are thinner than that, shadows and
    fog are wider. An opening keeps the edge of a shadow where it is, so little is smoothed after
    it.
    """
    height, width = raised.shape
    small = shrink(raised, GROUND_SIDE)
    if small is raised:
        window = max(3, round(min(height, width) / 3)) | 1
        opened = running_max(-running_max(-raised, window), window)
        return np.minimum(box_mean(opened, max(3, window // 2) | 1), raised)
    small = box_mean(small, 3)
    window = max(3, round(min(small.shape) / 3)) | 1
    opened = box_mean(running_max(-running_max(-small, window), window), 3)
    wide = Image.fromarray(opened).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(wide, np.float32)
