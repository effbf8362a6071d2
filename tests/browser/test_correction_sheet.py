"""A sheet opened as a file: digits are corrected by keyboard, and what is exported is read."""

import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import BrowserContext, Locator, Page, expect

from app.correction_sheet.document import sheet_html
from app.labelled_images import LabelledImages, find_labelled_images
from app.samples import sample_pixels, sample_png
from tests.correction_sheet.sheets import make_context, make_page

pytestmark = pytest.mark.browser
CLASSES = "0123456789"
HOSTILE = [
    "</script><script>document.title='taken'</script>",
    "a'b\"c,d;e<b>&amp;.png",
    "two\nlines\r.png",
    "=1+1.png",
    " blank.png",
    "caf\u00e9 \U0001f600.png",
    os.fsdecode(b"caf\xe9.png"),
]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with a page and pictures of one digit."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("page.png", "two.png", "one.png"):
        (folder / name).write_bytes(sample_png(1))
    return folder


@contextmanager
def _opened(context: BrowserContext, document: str, folder: Path) -> Iterator[Page]:
    """Open a sheet as a file; it may ask the network for nothing, and no script may fail."""
    path = folder.parent / "sheet.html"
    path.write_text(document)
    page, failures = context.new_page(), list[str]()
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text))
    page.on("request", lambda request: failures.append(request.url))
    page.goto(path.as_uri())
    yield page
    page.close()
    local = ("file:", "data:", "blob:")
    assert [failure for failure in failures if not failure.startswith(local)] == []


@pytest.fixture
def sheet(context: BrowserContext, scans: Path) -> Iterator[Page]:
    """A sheet with a page of two lines, another page, and a picture of one digit."""
    pages = [
        make_page(scans / "page.png", "3 7? 1", "8x 4", warnings=("Some marks were not read.",)),
        make_page(scans / "two.png", "5 6"),
        make_page(scans / "one.png", "9?"),
    ]
    with _opened(context, sheet_html(pages, make_context(scans), 1), scans) as page:
        yield page


def _digit(page: Page, number: int) -> Locator:
    return page.locator(".digit input").nth(number)


def _export(page: Page, button: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def _labels(found: LabelledImages) -> list[tuple[str, str, str]]:
    assert found.refused == []
    return [(image.name, image.label, image.text) for image in found.images]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_pages_are_corrected_by_keyboard_and_exported(
    sheet: Page, scans: Path, ending: str
) -> None:
    """Enter goes through what is doubtful and the ends of pages; what was typed is exported."""
    sheet.keyboard.press("Enter")
    expect(_digit(sheet, 1)).to_be_focused()
    sheet.keyboard.press("2")
    sheet.keyboard.press("Enter")
    expect(_digit(sheet, 3)).to_be_focused()
    sheet.keyboard.press("Enter")  # no digit, as it was read
    boxes = sheet.get_by_role("checkbox")
    expect(boxes.first).to_be_focused()
    sheet.keyboard.press("Enter")
    expect(boxes.first).to_be_checked()
    expect(boxes.nth(1)).to_be_focused()
    sheet.keyboard.press("ArrowDown")
    expect(_digit(sheet, 7)).to_be_focused()
    sheet.keyboard.press("Enter")  # the only digit of its page
    expect(boxes.nth(2)).to_be_checked()
    expect(sheet.get_by_role("status")).to_have_text(
        "Doubtful digits left: 0. Corrected: 1. Pages right: 2 of 3."
    )
    table = _export(sheet, f"Export labels.{ending}", scans)
    found = find_labelled_images(table, CLASSES)
    assert _labels(found) == [("page.png", "", "321\n4"), ("one.png", "9", "")]


def test_digits_are_added_removed_and_taken_back(sheet: Page, scans: Path) -> None:
    """Delete, +, letters that are no class, and Ctrl+Z, which goes back to where it was typed."""
    _digit(sheet, 0).focus()
    sheet.keyboard.press("Delete")
    sheet.keyboard.press("ArrowRight")
    sheet.keyboard.press("+")
    sheet.keyboard.type("5")
    expect(_digit(sheet, 1)).to_have_value("75")
    sheet.keyboard.press("x")
    expect(_digit(sheet, 1)).to_have_value("75")
    expect(sheet.get_by_role("status")).to_contain_text("Only 0 1 2 3")
    sheet.keyboard.press("ArrowDown")
    expect(_digit(sheet, 4)).to_be_focused()
    sheet.keyboard.type("88")  # the second replaces the first
    expect(_digit(sheet, 4)).to_have_value("8")
    sheet.keyboard.press("Space")
    table = _export(sheet, "Export labels.csv", scans)
    assert _labels(find_labelled_images(table, CLASSES)) == [("page.png", "", "751\n8")]
    for place, value in ((None, ""), (4, "4"), (1, "7"), (0, "3")):
        sheet.keyboard.press("Control+z")
        if place is not None:
            expect(_digit(sheet, place)).to_have_value(value)
            expect(_digit(sheet, place)).to_be_focused()
    sheet.keyboard.press("Control+z")
    expect(sheet.get_by_role("status")).to_have_text("There is nothing to undo.")
    sheet.get_by_role("button", name="Export labels.csv").click()
    expect(sheet.get_by_role("status")).to_contain_text("No page is marked as right yet")


def test_edited_page_is_no_longer_right(sheet: Page, scans: Path) -> None:
    """Another value takes the mark away, in one step; the same value and a look do not."""
    box, status = sheet.get_by_role("checkbox").first, sheet.get_by_role("status")
    box.check()
    _digit(sheet, 0).focus()
    sheet.keyboard.press("3")  # as it was read
    sheet.keyboard.press("Enter")
    expect(box).to_be_checked()
    _digit(sheet, 0).focus()
    sheet.keyboard.press("8")
    expect(box).not_to_be_checked()
    expect(status).to_contain_text("no longer marked as right")
    sheet.keyboard.press("Control+z")
    expect(box).to_be_checked()
    expect(_digit(sheet, 0)).to_have_value("3")
    sheet.keyboard.press("Delete")
    expect(box).not_to_be_checked()
    sheet.get_by_role("checkbox").nth(2).check()
    table = _export(sheet, "Export labels.csv", scans)
    assert _labels(find_labelled_images(table, CLASSES)) == [("one.png", "9", "")]


def test_pictures_of_digits_are_a_folder_with_labels(sheet: Page, tmp_path: Path) -> None:
    """What adapt learns from: the 28x28 of each digit on the pages that are right."""
    sheet.get_by_role("checkbox").nth(0).check()
    sheet.get_by_role("checkbox").nth(2).check()
    path = _export(sheet, "Export pictures of the digits", tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "digits")
    found = find_labelled_images(tmp_path / "digits", CLASSES)
    assert found.refused == []
    assert [image.label for image in found.images] == list("37149")
    for image in found.images:
        pixels = np.asarray(Image.open(io.BytesIO(image.path.read_bytes())))
        np.testing.assert_array_equal(pixels, sample_pixels(int(image.label)))


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_hostile_names_are_exported_as_they_are(
    context: BrowserContext, tmp_path: Path, ending: str
) -> None:
    """Quotes, line breaks, tags, formulas and bytes that are no text find their files again."""
    folder = tmp_path / "scans"
    for name in HOSTILE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(sample_png(3))
    names = [name for name in HOSTILE if "/" not in name]
    document = sheet_html(
        [make_page(folder / name, "3") for name in HOSTILE], make_context(folder), 1
    )
    with _opened(context, document, folder) as page:
        assert page.title() == "Correct what compact 7 has read"
        for box in page.get_by_role("checkbox").all():
            box.check()
        table = _export(page, f"Export labels.{ending}", folder)
    found = find_labelled_images(table, CLASSES)
    assert {each.name: each.reason for each in found.refused} == {}
    assert {image.name for image in found.images} >= set(names)
    assert len(found.images) == len(HOSTILE)


def test_corrections_are_there_after_reloading(sheet: Page) -> None:
    """The browser keeps them for the same sheet."""
    _digit(sheet, 1).focus()
    sheet.keyboard.press("4")
    sheet.get_by_role("checkbox").nth(1).check()
    sheet.reload()
    expect(_digit(sheet, 1)).to_have_value("4")
    expect(sheet.get_by_role("checkbox").nth(1)).to_be_checked()
    expect(sheet.get_by_role("status")).to_contain_text("of last time are here")


@pytest.mark.parametrize(
    ("context", "scheme"), [("desk", "light"), ("phone", "dark")], indirect=["context"]
)
def test_axe_finds_nothing(sheet: Page, scheme: str) -> None:
    """As it is opened, and with digits that were corrected and confirmed."""
    sheet.emulate_media(color_scheme=scheme)
    assert Axe().run(sheet).response["violations"] == []
    _digit(sheet, 1).focus()
    sheet.keyboard.press("2")
    sheet.keyboard.press("Enter")
    sheet.get_by_role("checkbox").nth(1).check()
    assert Axe().run(sheet).response["violations"] == []
    width = sheet.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0


def test_sheet_is_printed_without_its_tools(sheet: Page) -> None:
    """On paper are the pages with what was read; nothing is cut off at the right."""
    sheet.set_viewport_size({"width": 700, "height": 900})
    sheet.emulate_media(media="print")
    expect(sheet.locator("#context")).to_be_hidden()
    expect(sheet.locator(".buttons")).to_be_hidden()
    expect(_digit(sheet, 0)).to_be_visible()
    assert sheet.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
