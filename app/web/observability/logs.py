"""The log: lines of text for people, or one JSON object per line for machines.

Whatever a line says, it is one line: text of clients and files is escaped (`app.printable`).
"""

import json
import logging
import time
from functools import lru_cache
from typing import Literal

from app.printable import INDENT, printable, printable_lines
from app.web.observability.log_limits import LibraryLimit, log_warnings
from app.web.observability.log_writer import LogWriter, copy_of_stderr

# Below ERROR this one logs what it finds in forms; `app.imaging.pillow` silences Pillow.
_LOGS_UPLOADS = ("python_multipart",)
_EXTRA_FIELDS = ("request_id", "ms", "client")
# Fields of the JSON form only: in the text form, the message has them.
_JSON_FIELDS = ("method", "path", "status", "trace_id")


class _Formatter(logging.Formatter):
    """Writes times in UTC as RFC 3339 has them."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time of a record, such as `2026-11-30T12:00:00.123Z`."""
        return f"{_in_utc(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(maxsize=2)
def _in_utc(seconds: int) -> str:
    """Return a time of the system's clock; cached, because a busy second has many lines."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class JsonFormatter(_Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line: ASCII, with everything else as JSON's escape sequences."""
        fields = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{
                name: getattr(record, name)
                for name in (*_JSON_FIELDS, *_EXTRA_FIELDS)
                if hasattr(record, name)
            },
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields).replace("\x7f", "\\u007f")


class TextFormatter(_Formatter):
    """Formats a record as a line of text that ends with the request's fields.

    The lines of a traceback follow, indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        record.message = record.getMessage()
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        fields = [
            f"{name}={getattr(record, name)}" for name in _EXTRA_FIELDS if hasattr(record, name)
        ]
        line = printable(" ".join([self.formatMessage(record), *fields]))
        if record.exc_info:
            line += f"\n{INDENT}{printable_lines(self.formatException(record.exc_info))}"
        return line


def configure(level: str, form: Literal["text", "json"]) -> LogWriter:
    """Send the lines of all loggers, including uvicorn's, to standard error in one form.

    Returns:
        What writes them.
    """
    writer = LogWriter(copy_of_stderr())
    writer.setFormatter(
        JsonFormatter()
        if form == "json"
        else TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    writer.addFilter(LibraryLimit())
    logging.basicConfig(level=level.upper(), handlers=[writer], force=True)
    for name in _LOGS_UPLOADS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    log_warnings()
    return writer


def restart_after_fork() -> None:
    """Write the log in this process, which has just been forked."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogWriter):
            handler.restart()
