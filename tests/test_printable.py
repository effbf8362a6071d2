"""Text of users, files and clients, made safe for a terminal and for a log."""

import os

import pytest

from app.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("7.png", "7.png"),
        ("x[/b] :smile: Ä ö 数字 🙂.png", "x[/b] :smile: Ä ö 数字 🙂.png"),
        ("no\u00a0break\u3000space", "no\u00a0break\u3000space"),
        (r"C:\new", r"C:\new"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\nb\rc\td\x00", r"a\nb\rc\td\x00"),
        ("gnp.\u202eexe", r"gnp.\u202eexe"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("tag\U000e0041", r"tag\U000e0041"),
        (os.fsdecode(b"caf\xe9"), r"caf\udce9"),
    ],
)
def test_what_is_not_visible_is_escaped(text: str, shown: str) -> None:
    """Visible text and spaces stay; all else becomes ASCII that says what it is."""
    assert printable(text) == shown
    shown.encode("utf-8")


def test_later_lines_are_indented() -> None:
    """A text of several lines keeps them, but none of the later ones looks like a new message."""
    assert printable_lines("one\n2026 ERROR two\x1b\n") == "one\n    2026 ERROR two\\x1b"
