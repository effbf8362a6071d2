"""Takes the warnings of libraries into the log, and limits how often they repeat.

One damaged file or one busy client can make a library warn a hundred thousand times.
"""

import logging
import sys
import threading
import time
import warnings
from typing import TextIO

OWN_LOGGERS = frozenset({"app", "digitscope", "training", "uvicorn"})
MAX_LINES = 5  # of one place in a library's code, in each period
PERIOD_S = 60.0
WARNINGS = logging.getLogger("warnings")
log = logging.getLogger(__name__)


class LibraryLimit(logging.Filter):
    """Passes `MAX_LINES` records of each place in a library's code in each period.

    The first record of a place in a later period says how many were left out.
    """

    def __init__(self) -> None:
        """Start with no records."""
        super().__init__()
        self._places: dict[tuple[str, str, int], tuple[float, int]] = {}  # period's start, records

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is written; may append to its message."""
        if record.name.partition(".")[0] in OWN_LOGGERS:
            return True
        place = (record.name, record.pathname, record.lineno)
        now = time.monotonic()
        start, count = self._places.get(place, (now, 0))
        if now - start >= PERIOD_S:
            if count > MAX_LINES:
                _append(record, f"{count - MAX_LINES} lines like this were left out before")
            start, count = now, 0
        self._places[place] = (start, count + 1)
        if count + 1 == MAX_LINES:
            _append(record, f"further lines like this are left out for {PERIOD_S:g} s")
        return count < MAX_LINES


def _append(record: logging.LogRecord, note: str) -> None:
    record.msg, record.args = f"{record.getMessage()} ({note})", None


def log_warnings() -> None:
    """Log the warnings of Python and its libraries instead of printing them."""
    warnings.showwarning = _log_warning


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    arguments = (category.__name__, message, filename, lineno)
    WARNINGS.handle(
        WARNINGS.makeRecord(
            WARNINGS.name, logging.WARNING, filename, lineno, "%s: %s (%s:%d)", arguments, None
        )
    )


def log_uncaught_errors() -> None:
    """Log errors that nothing has caught instead of printing them.

    To print to a standard error stream that nobody reads would block the thread for ever.
    """
    sys.excepthook = lambda kind, error, traceback: _log_error("the process failed", error)
    threading.excepthook = lambda uncaught: _log_error(
        f"thread {uncaught.thread.name if uncaught.thread else '?'} failed", uncaught.exc_value
    )
    sys.unraisablehook = lambda uncaught: _log_error(
        f"{uncaught.err_msg or 'An error was ignored in'} {uncaught.object!r}", uncaught.exc_value
    )


def _log_error(message: str, error: BaseException | None) -> None:
    log.error("%s", message, exc_info=error)
