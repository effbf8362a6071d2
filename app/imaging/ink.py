"""Measure the ink on an image: convert to grey, subtract the background, tell ink from noise.

Works on the whole image, before anything is cropped or scaled.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import BlankImageError
from app.imaging.background import background_level, background_surface, denoise, is_uneven
from app.imaging.decode import Upload
from app.imaging.filters import Grey, downscale, grow, otsu, quantile, sample, sample_step
from app.imaging.page_size import is_page
from app.imaging.polarity import DetectedPolarity
from app.imaging.ruled_lines import subtract_lines

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # weights of R, G and B, ITU-R BT.601
# Difference between a pixel's channels, in grey levels, that 1 pixel in 100 must reach for the
# image to count as coloured.
MIN_CHANNEL_RANGE = 24.0
# The colour axis must have this many times the variance of the luminance to be used instead of it.
MIN_VARIANCE_GAIN = 1.5
# Variance along the second axis of colours, as a share of that along the first, above which the
# page has several inks.
MAX_OTHER_VARIANCE = 0.15
SAMPLED_ROWS = 100  # rows, about, that are enough to estimate noise and colour
MIN_CONTRAST = 12.0  # grey levels between background and ink; an image with less is blank
# Smallest ratio of ink to the standard deviation of the noise; an image with less is blank.
MIN_SIGNAL_TO_NOISE = 5.0
MAD_TO_SIGMA = 1.4826  # standard deviation of normal noise / its median absolute deviation
MAX_SHADING = 40.0  # grey levels; stronger ink is never taken for shading
EDGE_SIDE = 160  # longer side, in pixels, of the reduced image in which edges are compared
EDGE_WIDTH = 5  # pixels there, of which half are on either side of an edge
MIN_STEP = 0.5  # of the peak, by which ink rises at its edge
HOLLOW_SIDE = 128  # longer side, in pixels, of the reduced image for hollow strokes
RIM_WIDTH = 0.1  # of a thick stroke, as a share of the image's shorter side
MIN_CORE = 0.02  # of the area of strokes that must be more than a rim away from the background
# Share of that core that the subtraction removes from hollow strokes, and largest share of the rim
# that it removes, in shares of the core. Photos with shadows have ratios from 0.3.
MIN_HOLLOW, MAX_RIM_LOSS = 0.4, 0.3
MIN_BACKGROUND = 32  # grey levels; bounds the gain in deep shadow


@dataclass(frozen=True)
class Ink:
    """How much ink there is at each pixel.

    Attributes:
        amount: float32 `[H, W]`, grey levels above the background, at least 0.
        noise: Standard deviation of the background, grey levels.
        strong: Amount from which a pixel is certainly ink (Otsu's threshold), grey levels.
        faint: Amount from which a pixel is ink if it touches strong ink, grey levels.
        peak: Amount at the core of a full stroke, grey levels.
    """

    amount: Grey
    noise: float
    strong: float
    faint: float
    peak: float

    @property
    def box_threshold(self) -> float:
        """Return the amount above which a pixel counts for a bounding box, grey levels."""
        return min(self.faint, 3.5 * self.noise + 2.0)


def to_grey(upload: Upload) -> tuple[Grey, dict[str, object]]:
    """Convert an upload to grey and fill transparent pixels with a background.

    The fill is white under dark ink and black under light ink, so that a drawing without a
    background stays visible. A coloured image is projected onto the principal axis of its colours,
    so that yellow on white keeps its contrast; other images use luminance.

    Returns:
        float32 `[H, W]`, 0..255, and the parameters that were used.
    """
    pixels = upload.pixels.astype(np.float32)
    parameters: dict[str, object] = {"method": "as it is"}
    if upload.alpha is not None:
        pixels, fill = _fill_transparent(pixels, upload.alpha)
        parameters["ground_under_transparency"] = fill
    if pixels.ndim == 2:
        return pixels, parameters
    grey = np.asarray(pixels @ LUMINANCE, np.float32)
    rows = pixels[:: max(1, len(pixels) // SAMPLED_ROWS)]
    channel_range = _largest_channel(rows) + _largest_channel(-rows)
    if float(np.percentile(sample(channel_range), 99)) < MIN_CHANNEL_RANGE:
        return grey, {**parameters, "method": "luminance"}
    return _project_on_colour_axis(pixels, grey, parameters)


def _fill_transparent(
    pixels: NDArray[np.float32], alpha: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], int]:
    """Blend pixels over black or white, whichever is opposite to the mean of the opaque pixels."""
    coloured = pixels.ndim == 3
    cover = alpha[..., None].astype(np.float32) / 255 if coloured else alpha / 255.0
    luminance = pixels @ LUMINANCE if coloured else pixels
    weight = alpha.astype(np.float64)
    ink = float((luminance * weight).sum() / max(1.0, weight.sum()))
    fill = 0.0 if ink > 127 else 255.0
    return np.asarray(pixels * cover + fill * (1 - cover), np.float32), int(fill)


def _project_on_colour_axis(
    pixels: NDArray[np.float32], grey: Grey, parameters: dict[str, object]
) -> tuple[Grey, dict[str, object]]:
    """Project colours onto their first principal component (PCA) if that gains contrast.

    The axis points towards lighter colours. The result is stretched to its own range, at most 255
    grey levels. Several inks have no common axis: then the largest difference from the paper in any
    channel counts.

    Args:
        pixels: float32 `[H, W, 3]`, 0..255.
        grey: float32 `[H, W]`, the luminance, returned if the projection gains too little.
        parameters: The parameters so far.
    """
    colours = pixels.reshape(-1, 3)[:: sample_step(grey)]
    centre = np.median(colours, axis=0)
    offsets = colours - centre
    variances, axes = np.linalg.eigh(offsets.T @ offsets / len(offsets))
    axis = axes[:, -1] * (1 if axes[:, -1] @ LUMINANCE >= 0 else -1)
    luminance_variance = float(((offsets @ LUMINANCE) ** 2).mean())
    if float(variances[-1]) < MIN_VARIANCE_GAIN * luminance_variance:
        return grey, {**parameters, "method": "luminance"}
    if float(variances[-2]) > MAX_OTHER_VARIANCE * float(variances[-1]):
        difference = _largest_channel(np.abs(_subtract_colour(pixels, centre)))
        is_light = float(centre @ LUMINANCE) > 127
        return 255 - difference if is_light else difference, {**parameters, "method": "any colour"}
    projected = _subtract_colour(pixels, centre) @ axis.astype(np.float32)
    low, high = np.percentile(sample(projected), [0.1, 99.9])
    stretched = np.clip((projected - low) / max(1e-3, high - low), 0, 1) * min(255.0, high - low)
    return np.asarray(stretched, np.float32), {
        **parameters,
        "method": "main colour axis",
        "axis": [round(float(part), 3) for part in axis],
    }


def _largest_channel(pixels: NDArray[np.float32]) -> Grey:
    """Return the maximum over the channels of `[H, W, 3]`; `max(axis=2)` takes 50 times as long."""
    return np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def _subtract_colour(
    pixels: NDArray[np.float32], colour: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return `pixels - colour` for `[H, W, 3]` and `[3]`, in a third of the time."""
    height, width, _ = pixels.shape
    return (pixels.reshape(height, -1) - np.tile(colour, width)).reshape(pixels.shape)


def extract_ink(
    grey: Grey, polarity: DetectedPolarity, *, flatten: bool = True, reject_shading: bool = True
) -> tuple[Ink, dict[str, object]]:
    """Subtract the background and keep the ink.

    Args:
        grey: float32 `[H, W]`, 0..255.
        polarity: Whether the ink is dark or light.
        flatten: Estimate an uneven background (shadow, vignette, fog). If False, one level is used
            for the whole image.
        reject_shading: Take faint ink without edges for shading of the paper.

    Returns:
        The ink, and the measurements for the stage report.

    Raises:
        BlankImageError: The contrast is too low, or no stronger than the noise, or there is only
            shading.
    """
    image = denoise(grey if polarity == "light-on-dark" else 255 - grey)  # ink is bright from here
    uneven = flatten and is_uneven(image)
    background: Grey | np.float32 = background_surface(image) if uneven else background_level(image)
    above = image - background
    if polarity == "dark-on-light" and uneven:
        # Dark ink absorbs a share of the light, so its contrast is lower in shadow: compensate.
        above *= 255 / np.maximum(255 - background, MIN_BACKGROUND)
    ink = measure_ink(above)
    if not _has_writing(ink):
        raise BlankImageError(
            "No ink was found: the strongest strokes differ from the background by"
            f" {ink.peak:.0f} of 255 grey levels, and the noise is {ink.noise:.0f}. The image is"
            " blank or its contrast is too low."
        )
    if reject_shading and is_page(grey) and ink.peak < MAX_SHADING and _is_shading(ink):
        raise BlankImageError(
            "No ink was found: the paper is shaded, but nothing on it has an edge. The image is"
            " blank or out of focus."
        )
    return ink, {
        "ground": "uneven" if uneven else "even",
        "ground_level": round(float(np.mean(background)), 1),
        "noise": round(ink.noise, 2),
        "strong": round(ink.strong, 1),
        "faint": round(ink.faint, 1),
        "peak": round(ink.peak, 1),
    }


def is_hollow(ink: Ink, even: Ink) -> bool:
    """Return whether a subtracted background has left only the outlines of thick strokes.

    A stroke at the edge of a crop is as wide as the estimated background. The subtraction then
    removes its core and keeps its rim. It removes a shadow with its rim.

    Args:
        ink: The ink above the estimated background.
        even: The ink of the same image above one level.
    """
    broad = downscale((even.amount > even.strong).astype(np.float32), HOLLOW_SIDE) > 0.5
    lost = downscale((ink.amount <= ink.faint).astype(np.float32), HOLLOW_SIDE) > 0.5
    size = 2 * max(1, round(RIM_WIDTH * min(broad.shape))) + 1
    core = ~grow(~broad, size)
    rim = broad & ~core
    if core.sum() < MIN_CORE * broad.sum() or not rim.any():
        return False
    share = float(lost[core].mean())
    return share >= MIN_HOLLOW and float(lost[rim].mean()) <= MAX_RIM_LOSS * share


def remove_ruled_lines(ink: Ink) -> tuple[Ink, int]:
    """Subtract ruled and grid lines and measure the remaining ink.

    If nothing else is on the page, the lines stay: a single one may be a 1 from edge to edge.

    Returns:
        The ink, and the number of lines that were removed.
    """
    amount, lines = subtract_lines(ink.amount, ink.noise)
    if lines:
        rest = measure_ink(amount)
        if _has_writing(rest):
            return rest, lines
    return ink, 0


def _has_writing(ink: Ink) -> bool:
    return ink.peak >= MIN_CONTRAST and ink.peak >= MIN_SIGNAL_TO_NOISE * ink.noise


def _is_shading(ink: Ink) -> bool:
    """Return whether the ink rises slowly at its edges, as the light on paper does.

    Compares the amount of ink on both sides of its edges. The step is 0.7 to 0.9 of the peak for
    faint pencil, also if it is out of focus, and 0.15 to 0.3 for shaded paper.
    """
    amount = downscale(ink.amount, EDGE_SIDE)
    inked = amount > ink.strong
    inside = inked & grow(~inked, EDGE_WIDTH)
    outside = grow(inked, EDGE_WIDTH) & ~inked
    if not inside.any():
        return False
    step = float(amount[inside].mean() - amount[outside].mean())
    return step < MIN_STEP * ink.peak


def measure_ink(above: Grey) -> Ink:
    """Estimate the noise of the background and the thresholds of the ink.

    The noise is the median absolute deviation of the background class. Otsu's threshold is taken
    among the pixels well above the noise: on a large page little is ink, and a threshold over all
    pixels would split noise from noise.

    Args:
        above: float32 `[H, W]`, grey levels above the background, negative ones included.
    """
    pixels = sample(above)
    background = pixels[pixels <= otsu(pixels)[0]]
    centre = float(np.median(background)) if background.size else 0.0
    noise = 0.0
    if background.size:
        noise = float(MAD_TO_SIGMA * np.median(np.abs(background - centre)))
    # A slow gradient is not noise: noise also shows in the difference of neighbouring pixels. The
    # factor 4 allows for noise that blur and compression have smoothed.
    rows = above[:: max(1, len(above) // SAMPLED_ROWS)]
    if rows.shape[1] > 1:
        noise = min(noise, 4 * float(np.median(np.abs(sample(np.diff(rows, axis=1))))))
    amount = np.maximum(above - max(0.0, min(centre, 3 * noise)), 0)
    marked = amount[amount > 4 * noise]
    strong = otsu(marked)[0] if marked.size else 0.0
    if marked.size and strong >= marked.max():  # all ink has the same strength
        strong = 4 * noise
    written = amount[amount > strong]
    peak = quantile(written, 0.75) if written.size else 0.0
    faint = max(0.08 * peak, 3.5 * noise, 2.0)
    return Ink(amount, noise, max(min(strong, 0.5 * peak), faint), faint, peak)
