"""From pixels to ink: colours to grey, the ground taken away, noise measured.

Everything here works at the upload's own resolution, before anything is cropped.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import BlankImageError
from app.imaging.background import even_level, is_uneven, smoothed, surface
from app.imaging.decode import Upload
from app.imaging.filters import Grey, otsu
from app.imaging.polarity import DetectedPolarity
from app.imaging.ruled_lines import without_lines

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
# Spread of the channels, in 1 pixel of 100, over which an image is taken to be written in colour.
COLOURFUL = 24.0
LOOK_ROWS = 100  # rows that are looked at to tell whether an image is in colour
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


def extract(
    grey: Grey, polarity: DetectedPolarity, *, flatten: bool = True
) -> tuple[Ink, dict[str, object]]:
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
    raised = smoothed(grey if polarity == "light-on-dark" else 255 - grey)  # ink is high from here
    uneven = flatten and is_uneven(raised)
    ground: Grey | np.float32 = surface(raised) if uneven else even_level(raised)
    above = raised - ground
    if polarity == "dark-on-light" and uneven:
        above *= 255 / np.maximum(255 - ground, 32)  # ink takes a share of the light that is there
    ink = _measure(above)
    if not _is_written(ink):
        raise BlankImageError(
            f"No ink was found: the strongest marks differ from their ground by {ink.peak:.0f} of"
            f" 255 grey levels, and the ground's noise is {ink.noise:.0f}. The image is blank or"
            " has too little contrast."
        )
    return ink, {
        "ground": "uneven" if uneven else "even",
        "ground_level": round(float(np.mean(ground)), 1),
        "noise": round(ink.noise, 2),
        "strong": round(ink.strong, 1),
        "faint": round(ink.faint, 1),
        "peak": round(ink.peak, 1),
    }


def without_rules(ink: Ink) -> tuple[Ink, int]:
    """Take ruled and grid lines off, and measure anew what is left; return how many there were.

    On a page with nothing but lines they stay: one may be what was meant, a 1 from edge to edge.
    """
    unlined, lines = without_lines(ink.amount, ink.noise)
    if lines:
        rest = _measure(unlined)
        if _is_written(rest):
            return rest, lines
    return ink, 0


def _is_written(ink: Ink) -> bool:
    return ink.peak >= MIN_CONTRAST and ink.peak >= MIN_SIGNAL * ink.noise


def _measure(above: Grey) -> Ink:
    """Tell ink from noise by how far it lies above the ground.

    Otsu's threshold is taken among what is well above the noise: on a large page little is ink, and
    the threshold of all would part noise from noise.
    """
    calm = above[above <= otsu(np.maximum(above, 0))[0]]
    middle = float(np.median(calm)) if calm.size else 0.0
    noise = float(1.4826 * np.median(np.abs(calm - middle))) if calm.size else 0.0
    # Shades that vary slowly are no noise: its neighbours differ, though blurred and compressed.
    rows = above[:: max(1, len(above) // LOOK_ROWS)]
    if rows.shape[1] > 1:
        noise = min(noise, 4 * float(np.median(np.abs(np.diff(rows, axis=1)))))
    amount = np.maximum(above - max(0.0, min(middle, 3 * noise)), 0)
    marked = amount[amount > 4 * noise]
    strong = otsu(marked)[0] if marked.size else 0.0
    if marked.size and strong >= marked.max():  # all ink is of one strength
        strong = 4 * noise
    written = amount[amount > strong]
    peak = float(np.percentile(written, 75)) if written.size else 0.0
    faint = max(0.08 * peak, 3.5 * noise, 2.0)
    return Ink(amount, noise, max(min(strong, 0.5 * peak), faint), faint, peak)
