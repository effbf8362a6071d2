"""Turn arrays into JSON lists of readable length."""

from typing import Any

import numpy as np

from app.errors import InvalidInputError

SIGNIFICANT_DIGITS = 7  # of the array's largest number; float32 holds about seven
MAX_NUMBERS = 1 << 21  # of an array in one JSON or PNG; as Python's lists they take 64 MB


def check_numbers(count: int, what: str, exact: str) -> None:
    """Refuse to write very many numbers as JSON or PNG.

    Args:
        count: How many numbers.
        what: What they are, as the subject of a sentence.
        exact: The format that holds any number of them.

    Raises:
        InvalidInputError: There are more than `MAX_NUMBERS`.
    """
    if count > MAX_NUMBERS:
        raise InvalidInputError(
            f"{what} has {count} numbers; JSON and PNG hold at most {MAX_NUMBERS}. Use the format"
            f" {exact}."
        )


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
