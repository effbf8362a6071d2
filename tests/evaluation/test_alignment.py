"""Tests of the alignment of a text that was read with the right one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation.alignment import MAX_LENGTH, align

TEXTS = st.text("012", max_size=12)


@pytest.mark.parametrize(
    ("expected", "read", "pairs"),
    [
        ("", "", []),
        ("12", "12", ["11", "22"]),
        ("12", "17", ["11", "27"]),
        ("123", "13", ["11", "2", "33"]),
        ("13", "123", ["11", "2", "33"]),
        ("12", "", ["1", "2"]),
    ],
)
def test_texts_are_aligned(expected: str, read: str, pairs: list[str]) -> None:
    """Wrong, missing and extra characters stand at their places."""
    assert ["".join(pair) for pair in align(expected, read)] == pairs


def _distance(first: str, second: str) -> int:
    """Return the number of differences, by the definition: recursion on the last characters."""
    if not first or not second:
        return len(first) + len(second)
    if first[-1] == second[-1]:
        return _distance(first[:-1], second[:-1])
    shorter = ((first[:-1], second), (first, second[:-1]), (first[:-1], second[:-1]))
    return 1 + min(_distance(*each) for each in shorter)


@given(st.text("012", max_size=6), st.text("012", max_size=6))
def test_alignment_has_the_fewest_differences(expected: str, read: str) -> None:
    """No other alignment has fewer."""
    pairs = align(expected, read)
    assert sum(pair.expected != pair.read for pair in pairs) == _distance(expected, read)


@given(TEXTS, TEXTS)
def test_alignment_holds_both_texts(expected: str, read: str) -> None:
    """Nothing is lost, and no pair is empty."""
    pairs = align(expected, read)
    assert "".join(pair.expected for pair in pairs) == expected
    assert "".join(pair.read for pair in pairs) == read
    assert all(pair.expected or pair.read for pair in pairs)


def test_longest_texts_are_aligned() -> None:
    """The longest texts fit the numbers of the table."""
    assert len(align("1" * MAX_LENGTH, "2" * MAX_LENGTH)) == MAX_LENGTH
    assert len(align("1" * MAX_LENGTH, "")) == MAX_LENGTH
