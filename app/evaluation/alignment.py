"""Aligns the text that was read on a page with the text that stands there.

Knows texts; knows nothing of pages or models.
"""

from typing import NamedTuple

import numpy as np

MAX_LENGTH = 4000  # characters of a text; more than a page of digits, and 16 MB for the table
GAP = ""


class Pair(NamedTuple):
    """A character of the right text and the one that was read in its place; `GAP` if there is none.

    Attributes:
        expected: What stands there.
        read: What was read.
    """

    expected: str
    read: str


def align(expected: str, read: str) -> list[Pair]:
    """Return pairs with as few differences as possible, in the order of the texts.

    A wrong, a missing and an extra character count the same. Source: Wagner and Fischer, 1974, "The
    string-to-string correction problem".

    Args:
        expected: The right text, of at most `MAX_LENGTH` characters.
        read: The text that was read; the same.
    """
    costs = _costs(expected, read)
    pairs, row, column = list[Pair](), len(expected), len(read)
    while row or column:
        here = costs[row, column]
        differ = bool(row and column and expected[row - 1] != read[column - 1])
        if row and column and costs[row - 1, column - 1] + differ == here:
            row, column = row - 1, column - 1
            pairs.append(Pair(expected[row], read[column]))
        elif row and costs[row - 1, column] + 1 == here:
            row -= 1
            pairs.append(Pair(expected[row], GAP))
        else:
            column -= 1
            pairs.append(Pair(GAP, read[column]))
    return pairs[::-1]


def _costs(expected: str, read: str) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    """Return the fewest differences between the starts of both texts, `[E + 1, R + 1]`."""
    letters = np.array([ord(char) for char in read], np.int32)
    steps = np.arange(len(read) + 1, dtype=np.int16)
    costs = np.empty((len(expected) + 1, len(read) + 1), np.int16)
    costs[0] = steps
    for row, char in enumerate(expected, start=1):
        above = costs[row - 1]
        best = above + np.int16(1)
        best[1:] = np.minimum(best[1:], above[:-1] + (letters != ord(char)))
        # The cheapest way along the row: the least of the costs before, plus the steps since then.
        costs[row] = np.minimum.accumulate(best - steps) + steps
    return costs
