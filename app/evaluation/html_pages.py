"""The part of a report about pages.

Knows figures and elements; knows nothing of how they were measured.
"""

from app.evaluation.html_elements import paragraph, picture, text
from app.evaluation.schema import MisreadPage, ModelFigures, PageDigit
from app.evaluation.wording import percent

MAX_PAGES = 50
MAX_DIGITS = 400  # of a page
MAX_CUT_OUT = 24  # misread digits of a page that are shown as the network received them
NOTHING = "\N{MIDDLE DOT}"  # stands for a digit that was not read, or that does not stand there


def page_section(model: ModelFigures) -> str:
    """Return the pages that a model misreads, with the digits that are wrong, or ""."""
    if not model.pages or not model.pages.misread:
        return ""
    pages = model.pages.misread
    sentence = (
        f"{len(pages):,} of {model.pages.pages:,} pages have a wrong, missing or extra digit. Above"
        f" stands what is written, below what was read; {NOTHING} is nothing."
    )
    rest = len(pages) - MAX_PAGES
    if rest > 0:
        sentence += f" The {rest:,} pages with the fewest errors are left out."
    shown = "".join(map(_page, pages[:MAX_PAGES]))
    return f"<h2>Pages that {text(model.name)} misreads</h2>{paragraph(sentence)}{shown}"


def _page(page: MisreadPage) -> str:
    digits = "".join(map(_digit, page.digits[:MAX_DIGITS]))
    rest = len(page.digits) - MAX_DIGITS
    wrong = [each for each in page.digits if each.prepared]
    cut_out = "".join(map(_cut_out, wrong[:MAX_CUT_OUT]))
    notes = [*page.warnings]
    if rest > 0:
        notes.append(f"{rest:,} more digits are left out.")
    if len(wrong) > MAX_CUT_OUT:
        notes.append(f"{len(wrong) - MAX_CUT_OUT:,} more misread digits are left out.")
    said = "".join(f'<p class="name">{text(note)}</p>' for note in notes)
    return (
        f'<section class="page"><h3>{text(page.name)}</h3><ul class="digits">{digits}</ul>'
        + (f'<ul class="gallery">{cut_out}</ul>' if cut_out else "")
        + f"{said}</section>"
    )


def _digit(digit: PageDigit) -> str:
    is_right = digit.expected == digit.answer
    kind = "" if is_right else ' class="bad"'
    return (
        f"<li{kind}><span>{text(digit.expected or NOTHING)}</span>"
        f"<span>{text(digit.answer or NOTHING)}</span></li>"
    )


def _cut_out(digit: PageDigit) -> str:
    verdict = "" if digit.verdict == "digit" else f", {digit.verdict}"
    written = f"Written {digit.expected}" if digit.expected else "Nothing written"
    prepared = picture("png", digit.prepared, "What the network received", prepared=True)
    return (
        f'<li><div class="pictures">{prepared}</div><p>{text(written)}</p>'
        f'<p><span class="bad">{text(f"read as {digit.answer}")}</span>'
        f" {text(f'({percent(digit.confidence)}{verdict})')}</p></li>"
    )
