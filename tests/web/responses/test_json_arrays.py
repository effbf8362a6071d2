"""Arrays in JSON: rounding, and the number of values that one response may hold."""

import numpy as np
import pytest

from app.errors import InvalidInputError
from app.web.responses.json_arrays import MAX_NUMBERS, check_numbers, rounded_list


def test_numbers_are_rounded_relative_to_the_largest() -> None:
    """Seven digits of the largest magnitude stay; zeros and empty arrays are lists, too."""
    assert rounded_list(np.array([[1234.56789, 0.0001]])) == [[1234.568, 0.0]]
    assert rounded_list(np.zeros((2, 1))) == [[0.0], [0.0]]
    assert rounded_list(np.zeros(0)) == []


def test_very_large_arrays_come_as_files_only() -> None:
    """The error says how many numbers there are, and which format holds them."""
    check_numbers(MAX_NUMBERS, "The layer 'dense'", "npz")
    with pytest.raises(InvalidInputError, match=r"The layer 'dense' has .* Use the format npz"):
        check_numbers(MAX_NUMBERS + 1, "The layer 'dense'", "npz")
