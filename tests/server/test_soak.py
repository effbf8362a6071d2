"""A mixed load for a short time; `make soak` runs it for longer."""

import sys
from pathlib import Path

import pytest

from benchmarks.page import table
from benchmarks.soak import rows, soak, words


@pytest.mark.load
def test_nothing_is_lost_and_nothing_grows(tmp_path: Path) -> None:
    """Far beyond the capacity of two workers, each request is answered rightly or refused."""
    report = soak(tmp_path, seconds=24, rounds=3)
    sys.stdout.write(f"{table(rows(report))}{words(report)}\n")
    for tally in (report.few, report.many):
        assert tally.wrong == []
    assert report.faults() == []
