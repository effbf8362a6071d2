"""Tells by the extremes of some numbers whether they are pixels of 0..255 or of 0..1."""

# Pixels of 0..1 are often computed as x/255, so that their maximum may be above 1 by rounding.
MAX_SCALED = 1.001
# A picture of 0..255 has brighter ink than this. Pixels with a smaller maximum were scaled in
# another way, such as to mean 0 and variance 1.
MIN_WHITE = 32


def scale_factor(low: float, high: float) -> int | None:
    """Return the factor that brings pixels to 0..255: 1 or 255.

    Args:
        low: The smallest of the numbers; NaN if one of them is.
        high: The largest of them.

    Returns:
        The factor; the result may be above 255 by rounding. None if the numbers have neither range.
    """
    if low >= 0 and high <= MAX_SCALED:
        return 255
    if low >= 0 and MIN_WHITE < high <= 255:
        return 1
    return None
