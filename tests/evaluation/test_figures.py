"""Tests of the figures that are computed from answers, and of how they are shown."""

import html
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from app.bundle import DIGITS
from app.evaluation import html_digits, html_pages, html_report
from app.evaluation.answers import Answer, Place, Reading
from app.evaluation.figures import compare
from app.evaluation.html_report import report_html, write_report
from app.evaluation.schema import UnusedFile
from app.evaluation.tables import print_figures
from tests.evaluation.examples import (
    PAGE,
    PAGE_ANSWER,
    PICTURES,
    figures_of,
    picture,
    read,
)


def test_figures_of_pictures() -> None:
    """Errors, verdicts, confusions and folders are counted; an unreadable file counts nowhere."""
    figures = figures_of(PICTURES)
    digits = figures.models[0].digits
    assert digits
    assert (digits.pictures, digits.wrong, digits.error_rate) == (5, 2, 0.4)
    assert digits.interval.low < 0.4 < digits.interval.high
    assert [(each.verdict, each.answers, each.wrong) for each in digits.verdicts] == [
        ("digit", 2, 1),
        ("unsure", 2, 1),
        ("not-a-digit", 1, 0),
    ]
    assert (digits.confusion[3][3], digits.confusion[3][8], digits.confusion[8][8]) == (1, 2, 1)
    assert sum(map(sum, digits.confusion)) == 5
    folders = [(each.folder, each.pictures, each.wrong, each.refused) for each in digits.folders]
    assert folders == [("a", 2, 1, 1), ("b", 2, 1, 1), (".", 1, 0, 1)]
    assert [each.name for each in digits.misread] == ["b/3.png", "a/2.png"]
    assert [each.name for each in figures.unreadable] == ["broken.png"]
    assert figures.models[0].pages is None
    bins = [(each.digits, each.accuracy) for each in digits.calibration.reliability]
    assert sum(count for count, _ in bins) == 5


def test_figures_of_pages() -> None:
    """Right, wrong, missing and extra digits are counted, and pages that are exact."""
    exact = (replace(PAGE, name="b.png"), Answer(places=(Place("3", Reading("3", 1, "digit")),)))
    pages = figures_of([(PAGE, PAGE_ANSWER), exact]).models[0].pages
    assert pages
    assert (pages.pages, pages.exact, pages.digits) == (2, 1, 4)
    assert (pages.right, pages.wrong, pages.missing, pages.extra, pages.marks) == (2, 1, 1, 1, 2)
    assert pages.error_rate == 0.5
    assert [(each.verdict, each.answers, each.wrong) for each in pages.verdicts] == [
        ("digit", 3, 1),
        ("unsure", 1, 1),
        ("not-a-digit", 0, 0),
    ]
    (misread,) = pages.misread
    digits = [(each.expected, each.answer) for each in misread.digits]
    assert digits == [("3", "3"), ("1", "7"), ("4", ""), ("", "9")]


def test_models_are_compared_on_what_both_read() -> None:
    """Only pictures that one model alone misreads count, of those that both could read."""
    images = [picture(f"{number}.png") for number in range(8)]
    right, wrong, broken = read("3"), read("8"), Answer(error="It is broken.")
    first = [right, right, right, right, right, wrong, wrong, right]
    second = [right, wrong, wrong, wrong, wrong, right, wrong, broken]
    (comparison,) = compare(images, [first, second], ["a", "b"])
    assert (comparison.pictures, comparison.only_first_wrong, comparison.only_second_wrong) == (
        7,
        1,
        4,
    )
    assert comparison.p_value == pytest.approx(0.375)


class _Reader(HTMLParser):
    """Collects the elements and the text of a document."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said += data.replace("\xa0", " ")


def _parsed(document: str) -> _Reader:
    reader = _Reader()
    reader.feed(document)
    return reader


def test_report_says_the_figures() -> None:
    """The report has the figures, the misread pictures, pages and files, and loads nothing."""
    reader = _parsed(report_html(figures_of([*PICTURES, (PAGE, PAGE_ANSWER)])))
    for said in (
        "ours misreads 2 of 5 pictures of one digit: 40.00 %",
        "1 of 7 labelled files was not read and is in no figure.",
        "On 5 pictures ours alone misreads 0, theirs alone 0 (McNemar's exact test, p = 1)",
        "b/3.png",
        "read as 8",
        "It is broken.",
        "notes.txt",
        "Labels differ.",
        "page.png",
        "It is dark.",
    ):
        assert said in reader.said, said
    names = {tag for tag, _ in reader.tags}
    assert not names & {"script", "link", "iframe", "object"}
    sources = [attributes["src"] for tag, attributes in reader.tags if tag == "img"]
    assert len(sources) == 4
    assert all(source and source.startswith("data:image/") for source in sources)
    assert all(attributes.get("alt") for tag, attributes in reader.tags if tag == "img")


def test_names_are_escaped_in_the_report() -> None:
    """Names of folders, files, labels and models are text, and their control characters visible."""
    evil = "<script>alert(1)</script>\"'><img src=x onerror=x>\x1b[31m\u202e\udce9<svg/onload=x>"
    pairs = [
        (replace(image, name=f"{evil}/{index}.png"), replace(answer, warnings=(evil,)))
        for index, (image, answer) in enumerate([*PICTURES, (PAGE, PAGE_ANSWER)])
    ]
    figures = figures_of(pairs)
    unused = [UnusedFile(name=evil, reason=evil)]
    model = figures.models[0].model_copy(update={"name": evil})
    shown = figures.model_copy(
        update={"unused": unused, "images": evil, "warnings": [evil], "models": [model]}
    )
    classes = [evil, *DIGITS[1:]]
    document = report_html(shown.model_copy(update={"classes": classes}))
    reader = _parsed(document)
    clean = _parsed(report_html(figures))
    assert {tag for tag, _ in reader.tags} == {tag for tag, _ in clean.tags}
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert "<script>alert(1)" in reader.said
    assert r"\x1b[31m\u202e\udce9" in reader.said
    document.encode("utf-8")


def test_report_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many misread pictures, pages, folders and files only some are shown; sentences say so."""
    monkeypatch.setattr(html_digits, "MAX_MISREAD", 30)
    monkeypatch.setattr(html_digits, "MAX_FOLDERS", 7)
    monkeypatch.setattr(html_report, "MAX_UNUSED", 5)
    monkeypatch.setattr(html_pages, "MAX_PAGES", 4)
    monkeypatch.setattr(html_pages, "MAX_DIGITS", 3)
    pictures = [(picture(f"{number}/a.png"), read("8")) for number in range(50)]
    pages = [(replace(PAGE, name=f"p{number}.png"), PAGE_ANSWER) for number in range(9)]
    broken = [(picture(f"x{number}.png"), Answer(error="Broken.")) for number in range(8)]
    document = report_html(figures_of([*pictures, *pages, *broken]))
    assert document.count("<img") == 30 + 4 * 2
    for sentence in (
        "50 pictures are misread: the most confident answers first. The last 20 are left out",
        "43 folders with fewer errors are left out.",
        "The 5 pages with the fewest errors are left out.",
        "1 more digits are left out.",
        "3 more are left out.",
    ):
        assert sentence in html.unescape(document), sentence


def test_right_answers_give_a_short_report() -> None:
    """Without errors there is neither a matrix nor a gallery."""
    document = report_html(figures_of([(picture("a.png"), read("3"))]))
    assert "Every picture is read as its label." in document
    assert "Misread pictures" not in document
    assert "gallery" not in document.partition("</style>")[2]


def test_report_replaces_a_file_as_a_whole(tmp_path: Path) -> None:
    """Nothing stays of an older report or of a file that was half written."""
    path = tmp_path / "report.html"
    path.write_text("old" * 100_000)
    write_report(figures_of(PICTURES), path)
    assert path.read_text().startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]


def test_report_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """A report whose place is taken by a folder leaves no part of it behind."""
    (tmp_path / "a.html").mkdir()
    with pytest.raises(IsADirectoryError):
        write_report(figures_of(PICTURES), tmp_path / "a.html")
    assert [each.name for each in tmp_path.iterdir()] == ["a.html"]


@pytest.mark.parametrize("width", [80, 200])
def test_tables_say_the_figures(width: int) -> None:
    """The tables fit a terminal, and show names as they are."""
    console = Console(file=io.StringIO(), width=width)
    evil = replace(PICTURES[2][0], name="[red]b\x1b[31m.png")
    print_figures(figures_of([*PICTURES, (evil, read("8")), (PAGE, PAGE_ANSWER)]), console)
    printed = console.file.getvalue()
    assert max(map(len, printed.splitlines())) <= width
    assert r"[red]b\x1b[31m.png" in printed
    assert "\x1b" not in printed
    flat = re.sub(r"[│┃\s]+", " ", printed)
    for said in (
        "Error 50.00 %",
        "Verdict unsure 2, 1 wrong",
        "broken.png: It is broken.",
        "1 of 8",
    ):
        assert said in flat, said


def test_long_lists_are_cut_in_the_terminal() -> None:
    """Of 100,000 files that were not used, some are listed and the rest is counted."""
    files = [UnusedFile(name=f"{number}.txt", reason="is no picture") for number in range(100_000)]
    figures = figures_of(PICTURES).model_copy(update={"unused": files})
    console = Console(file=io.StringIO(), width=80)
    print_figures(figures, console)
    printed = console.file.getvalue()
    assert "Files that were not used: 100,000" in printed
    assert "... and 99,980 more; --json lists all." in printed
    assert len(printed.splitlines()) < 150
