"""A sheet as one HTML document, which needs nothing else: pictures, style and script are in it.

Knows pages and markup; every text is escaped. `sheet.js` is the script.
"""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.correction_sheet.pages import SheetDigit, SheetPage
from app.label_table import path_cell
from app.printable import printable_html as text

STYLE, SCRIPT = (Path(__file__).with_name(name) for name in ("sheet.css", "sheet.js"))
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{}'"
CROP_MARGIN = 0.25  # of the height of a digit
VERDICTS = {"digit": "", "unsure": "unsure", "not-a-digit": "no digit"}
KEYS = (
    ("Type", "the right digit"),
    ("Enter", "this is right: go to the next doubtful digit, or to the end of the page"),
    ("Delete", "not a digit"),
    ("+", "add a digit here that was not read"),
    ("Arrow keys, Tab", "move"),
    ("Space", "every digit of this page is right"),
    ("Ctrl+Z", "undo"),
)


@dataclass(frozen=True)
class SheetContext:
    """What the sheets of a run have in common.

    Attributes:
        model: Name and version of the model.
        program: Version of the program.
        classes: Names of the classes, of one character each.
        base: Absolute path of the folder of all files; paths are exported relative to it.
    """

    model: str
    program: str
    classes: Sequence[str]
    base: str


def sheet_html(pages: Sequence[SheetPage], context: SheetContext, number: int) -> str:
    """Return a sheet.

    Args:
        pages: At least one page that was read.
        context: What the sheets of a run have in common.
        number: Which sheet of the run it is, from 1.
    """
    title = f"Correct what {context.model} has read" + (f", sheet {number}" if number > 1 else "")
    digits = [digit for page in pages for digit in page.digits]
    doubtful = sum(digit.verdict != "digit" for digit in digits)
    subject = (
        f"{len(digits):,} digits on {len(pages):,} pages, of which {doubtful:,} are doubtful; pages"
        " with doubtful digits come first."
    )
    articles = "".join(_article(page, place) for place, page in enumerate(pages))
    data = {
        "id": hashlib.sha256(articles.encode()).hexdigest()[:16],
        "classes": list(context.classes),
        "paths": [table_path(page.path, context.base) for page in pages],
        "pixels": [digit.pixels for digit in digits],
    }
    # In a script, only "<" could end the element; names that are no text become escape sequences.
    encoded = json.dumps(data).replace("<", "\\u003c")
    script = SCRIPT.read_text(encoding="utf-8")
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{text(POLICY.format(script_hash))}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style></head><body>"
        f'<header><h1>{text(title)}</h1><p class="soft">{text(subject)}</p></header>'
        f'<div class="columns"><main>{articles}</main>{_tools(context)}</div>'
        f'<footer><p class="soft">Made by digitscope {text(context.program)}.</p></footer>'
        f'<script type="application/json" id="data">{encoded}</script>'
        f"<script>{script}</script></body></html>\n"
    )


def table_path(path: Path, base: str) -> str:
    """Return the path of a file in a table of labels that lies in the folder `base`."""
    return path_cell(os.path.relpath(os.path.abspath(path), base).replace(os.sep, "/"))


def _tools(context: SheetContext) -> str:
    """Return the view of a digit on its page, the keys, and the exports."""
    keys = "".join(f"<dt>{text(key)}</dt><dd>{text(what)}</dd>" for key, what in KEYS)
    buttons = "".join(
        f'<button type="button" id="{name}">{text(label)}</button>'
        for name, label in (
            ("undo", "Undo"),
            ("csv", "Export labels.csv"),
            ("jsonl", "Export labels.jsonl"),
            ("zip", "Export pictures of the digits"),
        )
    )
    return (
        '<aside aria-label="Tools"><svg id="context" role="img"'
        ' aria-label="The chosen digit on its page" viewBox="0 0 4 3"><use/><rect/></svg>'
        '<p id="status" role="status"></p>'
        f'<div class="buttons">{buttons}</div>'
        '<p class="soft">Only pages that you mark as right are exported. Move labels.csv to the'
        f" folder {text(context.base)}; the pictures of the digits are a folder of their own.</p>"
        f"<details open><summary>Keys</summary><dl>{keys}</dl></details></aside>"
    )


def _article(page: SheetPage, place: int) -> str:
    """Return a page with its lines."""
    lines = "".join(
        f'<div class="line" role="group" aria-label="Line {row}">'
        + "".join(_digit(page, place, digit, row, column) for column, digit in enumerate(line, 1))
        + "</div>"
        for row, line in enumerate(page.lines, 1)
    )
    warnings = "".join(f'<p class="soft">{text(each)}</p>' for each in page.warnings)
    question = "Every digit of this page is right" if len(page.digits) > 1 else "This is right"
    kind = ' class="one"' if len(page.digits) == 1 else ""
    return (
        f'<article{kind} aria-labelledby="h{place}">'
        f'<h2 id="h{place}">{text(page.path)}</h2>{warnings}'
        '<svg class="source" width="0" height="0" aria-hidden="true"><defs>'
        f'<image id="i{place}" width="{page.width}" height="{page.height}"'
        f' href="data:image/{page.kind};base64,{page.picture}"/></defs></svg>'
        f'{lines}<label class="right"><input type="checkbox" autocomplete="off"'
        f' aria-describedby="h{place}"> {question}</label></article>'
    )


def _digit(page: SheetPage, place: int, digit: SheetDigit, row: int, column: int) -> str:
    """Return a digit: its picture, and a field with what was read."""
    box = digit.box
    margin = CROP_MARGIN * box.height
    crop = (box.x - margin, box.y - margin, box.width + 2 * margin, box.height + 2 * margin)
    said = VERDICTS[digit.verdict]
    percent = f"{100 * digit.confidence:.0f} %"
    read = digit.label or "no digit"
    doubt = ", unsure" if digit.verdict == "unsure" else ""
    name = f"Line {row}, digit {column}: read as {read}{doubt}, {percent}"
    kind = "digit" if digit.verdict == "digit" else "digit doubtful"
    frame = " ".join(f"{value:.1f}" for value in (box.x, box.y, box.width, box.height))
    note = f"{said} {percent}" if said else ""
    return (
        f'<div class="{kind}"><svg aria-hidden="true"'
        f' viewBox="{" ".join(f"{value:.1f}" for value in crop)}"><use href="#i{place}"/></svg>'
        f'<input type="text" maxlength="8" size="1" autocomplete="off" spellcheck="false"'
        f' autocapitalize="off" value="{text(digit.label)}" data-box="{frame}"'
        f' data-page="{page.width} {page.height}" aria-label="{text(name)}">'
        f"<span>{text(note)}</span></div>"
    )
