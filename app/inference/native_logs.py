"""Keeps log lines of TensorFlow and LiteRT off the terminal.

Their native code writes some lines to the file descriptor of the standard error stream, whatever
TF_CPP_MIN_LOG_LEVEL says: before its logging is set up, and about the XNNPACK delegate.
"""

import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.printable import printable

log = logging.getLogger(__name__)
# Information, warnings, the error of a machine without a GPU, and attributes that an older library
# ignores; other errors pass.
LOG_LINE = re.compile(
    rb"[IW]\d{4} \d\d:\d\d:|WARNING: All log messages before absl::"
    rb"|INFO: Created TensorFlow Lite|E\d{4} \d\d:\d\d:.*failed call to cuInit"
    rb"|E\d{4} \d\d:\d\d:.*Unknown attributes will be ignored"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] |fully_quantize: \d"
)
STDERR = 2
_lock = threading.RLock()
_depth = 0


@contextmanager
def without_native_logs() -> Iterator[None]:
    """Hold back the standard error stream; afterwards log everything but TensorFlow's log lines.

    Applies to all threads of the process, so use it for short steps: an import, a conversion. Does
    nothing inside another one, or when TF_CPP_MIN_LOG_LEVEL is 0, which shows the lines.
    """
    global _depth
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    with _lock:
        _depth += 1
        try:
            if _depth > 1:
                yield
            else:
                with _held_back():
                    yield
        finally:
            _depth -= 1


@contextmanager
def _held_back() -> Iterator[None]:
    terminal = os.dup(STDERR)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), STDERR)
        try:
            yield
        finally:
            os.dup2(terminal, STDERR)
            os.close(terminal)
            held.seek(0)
            for line in held:
                if not LOG_LINE.match(line):
                    log.warning("%s", printable(line.decode("utf-8", "backslashreplace").rstrip()))
