"""Says in the terms of Python what the program says in those of HTTP.

Knows texts only.
"""

from collections.abc import Sequence

MAX_NAMES = 40  # in a message; a network of several has hundreds of layers

_IN_PYTHON = (
    ("POST /read reads", "'read' reads"),
    ('"preprocess": "auto" prepares it', "preprocess='auto' prepares it"),
    ("a NumPy file (send it as application/x-npy)", "a NumPy file (give what numpy.load returns)"),
    ("JSON (send it as application/json)", "JSON"),
)


def list_names(names: Sequence[str]) -> str:
    """Return names for a message: of more than `MAX_NAMES` the first, and how many follow."""
    if len(names) <= MAX_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: MAX_NAMES // 4])} and {len(names) - MAX_NAMES // 4} others"


def in_python(text: str) -> str:
    """Return a warning or the message of an error in the terms of Python."""
    for http, python in _IN_PYTHON:
        text = text.replace(http, python)
    return text
