"""Tests of the HTML of a sheet."""

import os
import re
from pathlib import Path

import pytest

from app.correction_sheet.document import sheet_html, table_path
from tests.correction_sheet.sheets import make_context, make_page

NAMES = [
    "</script><b>.png",
    "\"quoted\" 'name'.png",
    "<!--<script>.png",
    "a\u2028b\nc.png",
    os.fsdecode(b"\xe9.png"),
]


def test_names_are_no_markup() -> None:
    """No file name ends an element or starts one; the document is UTF-8."""
    pages = [make_page(Path("/scans") / name, "1 2?") for name in NAMES]
    document = sheet_html(pages, make_context(Path("/scans")), 1)
    document.encode("utf-8")
    assert document.count("<script") == document.count("</script>") == 2
    assert "<b>" not in document
    assert "<!--" not in document
    assert document.count("<article") == len(NAMES)


def test_sheet_needs_nothing_else() -> None:
    """All references are data or lead into the document; its policy forbids others."""
    document = sheet_html([make_page(Path("/a/1.png"), "1")], make_context(Path("/a")), 2)
    references = re.findall(r'(?:href|src)="([^"]*)"', document)
    assert references
    assert all(each.startswith(("data:image/", "#")) for each in references)
    assert "default-src &#x27;none&#x27;" in document
    assert "<title>Correct what compact 7 has read, sheet 2</title>" in document


def test_fields_have_names() -> None:
    """Each says its place, what was read and how sure it is."""
    document = sheet_html([make_page(Path("/a/1.png"), "1 2?", "8x")], make_context(Path("/a")), 1)
    for name in (
        "Line 1, digit 1: read as 1, 50 %",
        "Line 1, digit 2: read as 2, unsure, 50 %",
        "Line 2, digit 1: read as no digit, 50 %",
    ):
        assert f'aria-label="{name}"' in document


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/scans/a/1.png", "a/1.png"),
        ("/scans/../scans/1.png", "1.png"),
        ("/scans/=1.png", "./=1.png"),
        ("/scans/ 1.png", "./ 1.png"),
    ],
)
def test_paths_are_relative_to_the_table(path: str, expected: str) -> None:
    """What a spreadsheet takes for a formula, or a reader strips, does not come first."""
    assert table_path(Path(path), "/scans") == expected
