"""Writes the figures of an evaluation as one HTML file, which needs nothing else.

It has no scripts, is readable in light and dark and on paper, and its size is bounded: long lists
are cut, and say so. Knows figures; knows nothing of how they were measured.
"""

from collections.abc import Sequence
from pathlib import Path

from app.evaluation.html_digits import digit_sections, misread_gallery
from app.evaluation.html_elements import interval_picture, paragraph, table, text
from app.evaluation.html_pages import page_section
from app.evaluation.schema import Figures, ModelFigures, UnusedFile
from app.evaluation.wording import (
    comparison_sentence,
    digit_rows,
    model_sentences,
    page_rows,
    percent,
    unread_sentences,
)
from app.whole_file import replacing

STYLE = Path(__file__).with_name("report.css")
MAX_UNUSED = 200  # files of a list
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
NOTES = (
    "An answer is wrong if it is not the label, whatever its verdict. A verdict other than digit"
    " says that a person should look.",
    "Intervals are Wilson's 95 % intervals (1927). They hold for pictures that were chosen at"
    " random from those of interest; pictures of the same hand or page are alike, so that the true"
    " uncertainty is larger.",
    "The expected calibration error is the mean difference between confidence and share of right"
    " answers, over 15 bins of equal width (Guo et al., 2017).",
    "Models are compared by the pictures that only one of them misreads: McNemar's test (1947) with"
    " the exact binomial distribution.",
    "Texts of pages are aligned with as few differences as possible (Wagner and Fischer, 1974);"
    " spaces, line breaks and signs do not count.",
)


def write_report(figures: Figures, path: Path) -> None:
    """Write the report; a file that exists is replaced as a whole.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text(report_html(figures), encoding="utf-8")


def report_html(figures: Figures) -> str:
    """Return the report as one HTML document."""
    names = " and ".join(model.name for model in figures.models)
    title = f"How well {names} read{'s' if len(figures.models) == 1 else ''} these pictures"
    when = f"{figures.created:%d %B %Y, %H:%M} UTC"
    # Where the folder is on this machine is nobody else's business.
    place = Path(figures.images).resolve().name or figures.images
    subject = f"{figures.pictures:,} labelled pictures in {place}; {when}."
    sections = [
        _summary(figures),
        *(digit_sections(model, figures.classes) for model in figures.models),
        misread_gallery(figures.models),
        *(page_section(model) for model in figures.models),
        _unused(figures),
        f"<h2>How this was measured</h2><ul>{''.join(f'<li>{text(n)}</li>' for n in NOTES)}</ul>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{text(POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE.read_text()}</style></head><body>"
        f"<header><h1>{text(title)}</h1>"
        f"{paragraph(subject, 'soft')}"
        f"</header><main>{''.join(sections)}</main>"
        f"<footer>{paragraph(f'Made by digitscope {figures.digitscope}.', 'soft')}</footer>"
        "</body></html>\n"
    )


def _summary(figures: Figures) -> str:
    """Return the sentences and tables that a reader needs first."""
    sentences = [
        *(each for model in figures.models for each in model_sentences(model)),
        *unread_sentences(figures),
        *map(comparison_sentence, figures.comparisons),
        *(f"Note: {warning}" for warning in figures.warnings),
    ]
    tables = [_digits_overview(figures.models), _pages_overview(figures.models)]
    return f"<h2>In short</h2>{''.join(map(paragraph, sentences))}{''.join(tables)}"


def _digits_overview(models: Sequence[ModelFigures]) -> str:
    measured = [(model, model.digits) for model in models if model.digits]
    if not measured:
        return ""
    largest = max(digits.interval.high for _, digits in measured)
    columns = [digit_rows(digits) for _, digits in measured]
    for column, (_, digits) in zip(columns, measured, strict=True):
        column[f"From 0 to {percent(largest)}"] = interval_picture(
            digits.error_rate, digits.interval, largest
        )
    return _side_by_side("Pictures of one digit", [model for model, _ in measured], columns)


def _pages_overview(models: Sequence[ModelFigures]) -> str:
    measured = [(model, model.pages) for model in models if model.pages]
    columns = [page_rows(pages) for _, pages in measured]
    return _side_by_side("Pages", [model for model, _ in measured], columns)


def _side_by_side(
    caption: str, models: Sequence[ModelFigures], columns: Sequence[dict[str, str]]
) -> str:
    """Return a table with a column for each model, or ""."""
    if not models:
        return ""
    headers = ("", *(f"{model.name}, version {model.version}" for model in models))
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    return table(caption, headers, rows)


def _unused(figures: Figures) -> str:
    """Return the lists of files that were not measured."""
    lists = (
        ("Labelled files that cannot be read", figures.unreadable),
        ("Files and rows that give no labelled picture", figures.unused),
    )
    return "".join(_unused_list(title, files) for title, files in lists if files)


def _unused_list(title: str, files: Sequence[UnusedFile]) -> str:
    rows = [(each.name, each.reason) for each in files[:MAX_UNUSED]]
    rest = len(files) - MAX_UNUSED
    more = paragraph(f"{rest:,} more are left out.", "soft") if rest > 0 else ""
    return (
        f"<h2>{text(title)}</h2>"
        + table(f"{len(files):,} in all", ("File", "Why"), rows, texts=1)
        + more
    )
