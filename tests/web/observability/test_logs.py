"""Lines of the log: one line each, escaped, and limited for libraries."""

import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator

import pytest

from app.web.observability import log_limits
from app.web.observability.log_limits import MAX_LINES, PERIOD_S, LibraryLimit
from app.web.observability.logs import JsonFormatter, TextFormatter

EVIL = "a\n2026-01-01 INFO forged\x1b[31m\x9b\u202e\u2028\x7f\udce9"


def _record(message: str, name: str = "app", **extra: object) -> logging.LogRecord:
    record = logging.LogRecord(name, logging.INFO, "file.py", 7, message, (), None)
    record.__dict__.update(extra)
    return record


def test_text_is_one_escaped_line() -> None:
    """Neither a message nor a request's field can start a line or drive a terminal."""
    text = TextFormatter("%(levelname)s %(message)s").format(_record(EVIL, client=EVIL))
    shown = r"a\n2026-01-01 INFO forged\x1b[31m\x9b\u202e\u2028\x7f\udce9"
    assert text == f"INFO {shown} client={shown}"


def test_json_is_one_ascii_line() -> None:
    """The JSON form has no character that a terminal or a reader of lines could act on."""
    text = JsonFormatter().format(_record(EVIL, client=EVIL))
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["message"] == json.loads(text)["client"] == EVIL


def test_times_are_those_of_rfc_3339() -> None:
    """Both forms give the time in UTC with milliseconds."""
    record = _record("said")
    record.created, record.msecs = 1_780_000_000.25, 250.0
    expected = "2026-05-28T20:26:40.250Z"
    assert json.loads(JsonFormatter().format(record))["time"] == expected
    assert TextFormatter("%(asctime)s %(message)s").format(record) == f"{expected} said"


def test_json_has_the_fields_of_a_request() -> None:
    """Method, path, status and trace are fields of the JSON form; the text has them once."""
    record = _record("GET /a 200", method="GET", path="/a", status=200, trace_id="ab", ms=1.5)
    line = json.loads(JsonFormatter().format(record))
    assert (line["method"], line["path"], line["status"]) == ("GET", "/a", 200)
    assert (line["trace_id"], line["ms"]) == ("ab", 1.5)
    assert TextFormatter("%(message)s").format(record) == "GET /a 200 ms=1.5"


def test_traceback_is_indented_and_escaped() -> None:
    """The text of an exception cannot look like another line of the log."""
    try:
        raise ValueError(EVIL)
    except ValueError:
        record = _record("failed", exc_info=sys.exc_info(), client="1.2.3.4")
    first, *others = TextFormatter("%(message)s").format(record).splitlines()
    assert first == "failed client=1.2.3.4"
    assert others[0].strip() == "Traceback (most recent call last):"
    assert all(line.startswith("    ") and line.isprintable() for line in others)
    assert any("forged" in line for line in others)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the limit sees."""
    now = [100.0]
    monkeypatch.setattr(log_limits.time, "monotonic", lambda: now[0])
    return now


def _passed(limit: LibraryLimit, count: int, name: str, line: int = 7) -> list[str]:
    """Return the messages of those of `count` different records of a place that pass."""
    records = [_record(f"tag {index}", name) for index in range(count)]
    for record in records:
        record.lineno = line
    return [record.getMessage() for record in records if limit.filter(record)]


def test_libraries_repeat_a_line_a_few_times(now: list[float]) -> None:
    """However much the texts differ, one place in a library writes a few lines in each period."""
    limit = LibraryLimit()
    passed = _passed(limit, 5_000, "PIL.TiffImagePlugin")
    assert len(passed) == MAX_LINES
    assert passed[0] == "tag 0"
    assert passed[-1].startswith(f"tag {MAX_LINES - 1} (further lines like this are left out")
    assert len(_passed(limit, 3, "PIL.TiffImagePlugin", line=8)) == 3
    now[0] += PERIOD_S
    (later,) = _passed(limit, 1, "PIL.TiffImagePlugin")
    assert later == f"tag 0 ({5_000 - MAX_LINES} lines like this were left out before)"


def test_own_lines_are_not_limited(now: list[float]) -> None:
    """Every request has its line, and every error of the service."""
    for name in ("digitscope.access", "app.main", "uvicorn.error"):
        assert len(_passed(LibraryLimit(), 100, name)) == 100


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The text lines that loggers write during the test."""
    written: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(self.format(record))

    collector = Collector()
    collector.setFormatter(TextFormatter("%(levelname)s %(name)s: %(message)s"))
    collector.addFilter(LibraryLimit())
    logging.getLogger().addHandler(collector)
    yield written
    logging.getLogger().removeHandler(collector)


def test_warnings_are_log_lines(lines: list[str]) -> None:
    """A Python warning is a line of the log with its place, and it is limited."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log_limits.log_warnings()
        for tag in range(20):
            warnings.warn(f"tag {tag}\n\x1b[31m", stacklevel=1)
    assert len(lines) == MAX_LINES
    assert lines[0].startswith(r"WARNING warnings: UserWarning: tag 0\n\x1b[31m (")
    assert __file__ in lines[0]


def test_uncaught_errors_are_log_lines(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends a thread, or is ignored in a destructor, is in the log and not printed."""
    for module, name in (
        (sys, "excepthook"),
        (sys, "unraisablehook"),
        (threading, "excepthook"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    log_limits.log_uncaught_errors()

    class Fragile:
        def __del__(self) -> None:
            raise ValueError("in a destructor")

    def fail() -> None:
        raise ValueError("in a thread")

    Fragile()
    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    try:
        raise ValueError("in the main thread")
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    destructor, in_thread, at_end = lines
    assert "__del__" in destructor.splitlines()[0]
    assert "in a destructor" in destructor
    assert in_thread.startswith("ERROR app.web.observability.log_limits: thread worker failed")
    assert "Traceback" in in_thread
    assert "the process failed" in at_end
