"""Turn arrays into JSON lists of readable length."""

from typing import Any

import numpy as np

SIGNIFICANT_DIGITS = 7  # of the array's largest number; float32 holds about seven


def rounded_list(values: Any) -> Any:
    """Return an array as nested lists, rounded to `SIGNIFICANT_DIGITS` of its largest magnitude.

    Args:
        values: A finite array of any shape, or anything that NumPy converts to one.
    """
    wide = np.asarray(values, np.float64)
    largest = float(np.abs(wide).max()) if wide.size else 0.0
    if not largest:
        return wide.tolist()
    decimals = SIGNIFICANT_DIGITS - 1 - int(np.floor(np.log10(largest)))
    return np.round(wide, max(0, decimals)).tolist()
