"""Format Markdown tables and write them between the markers of a page in `docs/`."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

MAX_LINE = 118  # characters


def fill(page: Path, name: str, content: str) -> None:
    """Write text between the markers `<!-- name -->` and `<!-- /name -->` of a page."""
    text = page.read_text()
    start, stop = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, rest = text.split(start)
    after = rest.split(stop)[1]
    page.write_text(f"{before}{start}\n{content}\n{stop}{after}")


def replace_rows(page: Path, name: str, rows: Sequence[Sequence[str]], key: int = 1) -> None:
    """Write rows of a table into a page; rows that begin otherwise stay as they are.

    Args:
        page: The page.
        name: Of the markers.
        rows: The header and the new rows.
        key: How many cells tell one row from another.
    """
    text = page.read_text().split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    kept = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    found = {tuple(row[:key]): row for row in kept} | {tuple(row[:key]): row for row in rows[1:]}
    fill(page, name, table([rows[0], *found.values()]))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is the header."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def paragraph(text: str) -> str:
    """Return a text in lines of a length that Markdown in `docs/` may have."""
    return textwrap.fill(text, MAX_LINE, break_long_words=False, break_on_hyphens=False) + "\n"
