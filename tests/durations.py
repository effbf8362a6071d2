"""Order test files by their recorded durations, the longest first.

`make test` runs two processes and gives the next file to the process that is free. If the long
files come first, both processes end at nearly the same time. With `RECORD_DURATIONS=1` in the
environment, a run updates the records of its files.
"""

import json
import math
import os
from collections import Counter
from pathlib import Path

import pytest

from app.settings import REPOSITORY

RECORDS = Path(__file__).with_name("durations.json")  # seconds by path of a test file


def longest_first(items: list[pytest.Item]) -> None:
    """Sort tests so that the files that take longest come first; files stay whole.

    Args:
        items: All tests of this run, changed in place. Files without a record come first.
    """
    seconds = json.loads(RECORDS.read_text())
    items.sort(key=lambda item: -seconds.get(_file(item.nodeid), math.inf))


class Recorder:
    """Adds up the durations of the tests of each file and updates the records at the end."""

    def __init__(self) -> None:
        """Begin with no durations."""
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the duration of a test's setup, call or teardown."""
        self.seconds[_file(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Replace the records of the files that ran."""
        known = json.loads(RECORDS.read_text()) | self.seconds
        kept = {
            file: round(seconds, 1)
            for file, seconds in sorted(known.items())
            if (REPOSITORY / file).exists()
        }
        RECORDS.write_text(json.dumps(kept, indent=2) + "\n")


def register_recorder(config: pytest.Config) -> None:
    """Record durations if `RECORD_DURATIONS` is set, in the process that collects all reports."""
    if os.environ.get("RECORD_DURATIONS") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]
