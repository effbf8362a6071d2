"""Says in the terms of Python what the program says in those of HTTP.

Knows texts only.
"""

_IN_PYTHON = (
    ("POST /read reads", "'read' reads"),
    ('"preprocess": "auto" prepares it', "preprocess='auto' prepares it"),
    ("a NumPy file (send it as application/x-npy)", "a NumPy file (give what numpy.load returns)"),
    ("JSON (send it as application/json)", "JSON"),
)


def in_python(text: str) -> str:
    """Return a warning or the message of an error in the terms of Python."""
    for http, python in _IN_PYTHON:
        text = text.replace(http, python)
    return text
