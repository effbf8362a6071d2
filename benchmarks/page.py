"""Format Markdown tables and write them between the markers of a page in `docs/`."""

from collections.abc import Sequence
from pathlib import Path


def fill(page: Path, name: str, content: str) -> None:
    """Write text between the markers `<!-- name -->` and `<!-- /name -->` of a page."""
    text = page.read_text()
    start, stop = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, rest = text.split(start)
    after = rest.split(stop)[1]
    page.write_text(f"{before}{start}\n{content}\n{stop}{after}")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row is the header."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
