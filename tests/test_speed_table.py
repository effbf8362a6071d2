"""The table of the speed benchmark: medians, ratios, goals, and rows that stay."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.page import replace_rows
from benchmarks.processes import cpu_seconds, memory_mib
from benchmarks.speed.contest import BEFORE, HEADER, NOW, Case, Contestant, Goal, Line, rows_of


def _never_started(checkout: Path) -> Contestant:
    raise AssertionError(f"nothing is measured in {checkout}")


def _row(goal: Goal | None, **samples: list[float]) -> dict[str, str]:
    case = Case([Line("a form", "CPU", "us", goal)], _never_started)
    taken = {name: [{"CPU": value} for value in values] for name, values in samples.items()}
    return dict(zip(HEADER, rows_of(case, taken)[0], strict=True))


@contextmanager
def _program(code: str) -> Iterator[int]:
    """Run a program until it has printed a line; give its process id and end it afterwards."""
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}\nprint(flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            yield process.pid
        finally:
            process.communicate(b"\n")


def test_a_row_has_medians_and_the_median_of_each_rounds_ratio():
    """The median of the ratios is not the ratio of the medians."""
    samples = {NOW: [90.0, 300.0, 120.0], BEFORE: [200.0, 220.0, 210.0], "other": [100, 200, 150]}
    row = _row(Goal(1.0, "other"), **samples)
    assert (row["now"], row["before"], row["reference"]) == ("120 us", "210 us", "other 150 us")
    assert (row["ratio"], row["met"]) == ("0.90x", "yes")


def test_a_reference_that_costs_less_is_bold():
    """And a goal that is missed says so."""
    row = _row(Goal(1.5, "other"), now=[200.0], other=[100.0], third=[300.0])
    assert row["reference"] == "**other 100 us**, third 300 us"
    assert (row["goal"], row["met"]) == ("<= 1.5x other", "no")


@pytest.mark.parametrize(("value", "met"), [(1.2, "no"), (1.3, "yes")])
def test_a_goal_may_be_a_smallest_value_without_a_reference(value, met):
    """As for what a second worker gains."""
    row = _row(Goal(1.3, at_least=True), now=[value])
    assert (row["goal"], row["met"]) == (">= 1.3 us", met)


def test_new_rows_replace_those_that_begin_alike(tmp_path):
    """Other rows stay, and so does the text around the table."""
    page = tmp_path / "page.md"
    table = "| a | b |\n| --- | --- |\n| one | 1 |\n| two | |\n"
    page.write_text(f"before\n<!-- x -->\n\n{table}\n<!-- /x -->\nafter\n")
    replace_rows(page, "x", [["a", "b"], ["one", "3"], ["four", "4"]])
    lines = page.read_text().splitlines()
    rows = [line for line in lines if line.startswith("|")][2:]
    assert rows == ["| one | 3 |", "| two |  |", "| four | 4 |"]
    assert (lines[0], lines[-1]) == ("before", "after")


def test_cpu_time_counts_descendants_that_have_ended():
    """A decoder process that was replaced has cost something."""
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    with _program(
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])"
    ) as pid:
        assert 0.3 <= cpu_seconds(pid) < 30


def test_memory_counts_what_a_process_holds():
    """Of a single process, that is its resident memory."""
    with _program("held = bytearray(b'x' * 50_000_000)") as pid:
        assert 47 <= memory_mib(pid) < 100
