"""Elements of HTML and SVG for reports; every text is escaped here.

Knows markup; knows nothing of what a report says.
"""

from collections.abc import Iterable, Sequence

from app.bundle import Interval, ReliabilityBin
from app.printable import printable_html

PLOT, MARGIN = 220, 36  # pixels of the calibration diagram, and around it
MIN_TONE = 0.3  # of a wrong answer in a matrix, of the strongest tone
BAR_WIDTH, BAR_HEIGHT = 160, 18  # pixels of the picture of an interval


class Markup(str):
    """Elements, as opposed to text that must be escaped."""

    __slots__ = ()


def text(value: object) -> str:
    """Return a text for HTML; characters that are not visible become escape sequences."""
    return printable_html(value).replace(" %", "&nbsp;%")


def paragraph(value: str, kind: str = "") -> str:
    """Return a paragraph of text."""
    return f"<p{_class(kind)}>{text(value)}</p>"


def table(
    caption: str, headers: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 0
) -> str:
    """Return a table that scrolls by itself if it is wider than the window.

    Args:
        caption: What it shows.
        headers: Names of the columns.
        rows: Cells; the first one names the row.
        texts: Number of last columns with text instead of numbers.
    """
    kinds = [""] * (len(headers) - texts) + ["text"] * texts
    head = "".join(
        f'<th scope="col"{_class(kind)}>{text(each)}</th>' if each else "<td></td>"
        for kind, each in zip(kinds, headers, strict=True)
    )
    body = "".join(f"<tr>{_row(row, texts)}</tr>" for row in rows)
    return _scrolling(
        caption,
        f"<table><caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>",
    )


def _row(cells: Sequence[str], texts: int) -> str:
    first, *others = cells
    marked = [
        f'<td class="text">{text(cell)}</td>'
        if index >= len(others) - texts
        else f"<td>{cell if isinstance(cell, Markup) else text(cell)}</td>"
        for index, cell in enumerate(others)
    ]
    return f'<th scope="row">{text(first)}</th>' + "".join(marked)


def confusion_matrix(caption: str, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Return a matrix with a row for each label; the more of a row, the stronger the colour.

    A wrong answer is coloured even if it is one of thousands.
    """
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in classes)
    rows = []
    for index, (name, row) in enumerate(zip(classes, counts, strict=True)):
        total = max(1, sum(row))
        cells = "".join(
            _matrix_cell(count, count / total, is_right=place == index)
            for place, count in enumerate(row)
        )
        rows.append(f'<tr><th scope="row">{text(name)}</th>{cells}</tr>')
    return _scrolling(
        caption,
        f'<table class="matrix"><caption>{text(caption)}</caption>'
        f'<thead><tr><th scope="col">label</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>",
    )


def _matrix_cell(count: int, share: float, *, is_right: bool) -> str:
    if not count:
        return "<td></td>"
    kind, strength = ("right", share) if is_right else ("wrong", min(1, MIN_TONE + share))
    return f'<td class="{kind}" style="--share:{strength:.3f}">{count:,}</td>'


def _scrolling(label: str, content: str) -> str:
    return f'<div class="wide" tabindex="0" role="group" aria-label="{text(label)}">{content}</div>'


def interval_picture(share: float, limits: Interval, largest: float) -> Markup:
    """Return a picture of a share and its interval, from 0 to `largest`."""
    low, middle, high = (
        2 + each / largest * (BAR_WIDTH - 4) for each in (limits.low, share, limits.high)
    )
    y = BAR_HEIGHT / 2
    return Markup(
        f'<svg width="{BAR_WIDTH}" height="{BAR_HEIGHT}" viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}"'
        ' aria-hidden="true">'
        f'<path class="axis" d="M2 {y} H{BAR_WIDTH - 2}"/>'
        f'<path class="range" d="M{low:.1f} {y} H{high:.1f}"/>'
        f'<circle class="dot" cx="{middle:.1f}" cy="{y}" r="5"/></svg>'
    )


def reliability_diagram(label: str, bins: Sequence[ReliabilityBin], count: int) -> str:
    """Return a diagram of how often answers are right, for bins of equal width by confidence.

    Args:
        label: What the diagram shows, for those who cannot see it.
        bins: The bins that are not empty.
        count: Number of all bins.
    """
    size, end = PLOT + 2 * MARGIN, MARGIN + PLOT
    bars = "".join(
        f'<rect class="bar" x="{MARGIN + (number * PLOT) / count + 1:.1f}"'
        f' y="{end - each.accuracy * PLOT:.1f}" width="{PLOT / count - 2:.1f}"'
        f' height="{each.accuracy * PLOT:.1f}"/>'
        for each in bins
        for number in [min(int(each.confidence * count), count - 1)]
    )
    labels = "".join(
        f'<text x="{MARGIN + share * PLOT}" y="{end + 16}" text-anchor="middle">{share}</text>'
        f'<text x="{MARGIN - 6}" y="{end - share * PLOT + 4}" text-anchor="end">{share}</text>'
        for share in (0, 0.5, 1)
    )
    return (
        f'<svg width="{size}" height="{size}" viewBox="0 0 {size} {size}" role="img"'
        f' aria-label="{text(label)}">{bars}'
        f'<path class="ideal" d="M{MARGIN} {end} L{end} {MARGIN}"/>'
        f'<path class="axis" d="M{MARGIN} {MARGIN} V{end} H{end}"/>{labels}'
        f'<text x="{MARGIN + PLOT / 2}" y="{size - 4}" text-anchor="middle">confidence</text>'
        f'<text x="{MARGIN}" y="{MARGIN - 10}" text-anchor="middle">right</text></svg>'
    )


def picture(kind: str, data: str, alt: str, *, prepared: bool = False) -> str:
    """Return a picture from base64; `kind` is `png` or `jpeg`."""
    css = _class("prepared" if prepared else "")
    return f'<img{css} src="data:image/{kind};base64,{text(data)}" alt="{text(alt)}">'


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
