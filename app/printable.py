"""Makes text of users, files and clients safe for a terminal, for a log and for HTML.

A file name or a path may contain control characters, which drive a terminal or start a new line of
a log, and marks of writing direction, which show it in another order.
"""

import html
from unicodedata import category

INDENT = "    "  # before each line of a text but the first


def printable(text: str) -> str:
    r"""Return `text` on one line, with each character that is not visible as an escape sequence.

    Spaces of all kinds stay. Control and direction characters, line breaks and bytes that are no
    text become `\n`, `\x1b`, `\u202e`, `\udce9` and so on.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or category(char) == "Zs" else _escaped(char) for char in text
    )


def printable_html(value: object) -> str:
    """Return a text for HTML: markup is escaped, and all else is as in `printable`."""
    return html.escape(printable(str(value)))


def printable_lines(text: str) -> str:
    """Return `text` with its line breaks, all else as in `printable`.

    Each line but the first is indented, so that it does not look like another message.
    """
    lines = text.rstrip("\n").split("\n")
    return f"\n{INDENT}".join(printable(line) for line in lines)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
