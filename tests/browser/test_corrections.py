"""'This is wrong' on the page of a service that keeps corrections, and nothing of it elsewhere."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import BrowserContext, Locator, Page, expect

from app.samples import sample_pixels
from app.settings import Settings
from tests.browser.conftest import Running
from tests.browser.hand import choose_sample, expect_digit

pytestmark = pytest.mark.browser

KEY = "the key of a test"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of corrections."""
    return tmp_path_factory.mktemp("corrections")


@pytest.fixture(scope="module")
def correcting(folder: Path) -> Iterator[str]:
    """The address of a service that keeps two corrections."""
    running = Running(Settings(api_keys=KEY, feedback_dir=folder, feedback_max_items=2))
    running.start()
    yield running.address
    running.stop()


@pytest.fixture
def tab(context: BrowserContext, correcting: str, folder: Path) -> Iterator[Page]:
    """The page of that service with a sample 4, and no corrections yet; no script may fail."""
    for path in folder.iterdir():
        path.unlink()
    page, failures = context.new_page(), list[str]()
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(f"{correcting}/")
    page.get_by_label("Key", exact=True).fill(KEY)
    page.get_by_role("button", name="Use this key").click()
    page.wait_for_selector("html[data-ready]")
    choose_sample(page, 4)
    expect_digit(page, 4)
    expect(_button(page)).to_be_enabled()
    yield page
    page.close()
    assert failures == []


def _button(page: Page) -> Locator:
    return page.locator("#wrong")


def _open(page: Page) -> Locator:
    """Open the dialog that asks for the right label."""
    _button(page).click()
    dialog = page.get_by_role("dialog", name="What is it?")
    expect(dialog).to_be_visible()
    return dialog


def _rows(folder: Path) -> list[dict]:
    path = folder / "labels.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_answer_is_corrected_by_keyboard_and_taken_back(tab: Page, folder: Path) -> None:
    """Enter, a digit: the 28x28, the answer and its request are kept; Enter again deletes them."""
    answers = list[str]()
    tab.on("response", lambda answer: answers.append(answer.headers.get("x-request-id", "")))
    choose_sample(tab, 5)
    expect_digit(tab, 5)
    expect(_button(tab)).to_be_enabled()
    _button(tab).focus()
    tab.keyboard.press("Enter")
    dialog = tab.get_by_role("dialog", name="What is it?")
    expect(dialog).to_be_visible()
    assert Axe().run(tab).response["violations"] == []
    tab.keyboard.press("3")
    expect(dialog).to_be_hidden()
    expect(_button(tab)).to_have_text("Take back: a 3")
    expect(_button(tab)).to_be_focused()
    expect(tab.locator("#live")).to_have_text("Thank you. The service keeps this picture as a 3.")
    (row,) = _rows(folder)
    assert (row["label"], row["answer"]) == ("3", "5")
    assert row["request_id"] in answers
    kept = Image.open(folder / row["path"])
    np.testing.assert_array_equal(np.asarray(kept), sample_pixels(5))
    kept.close()
    assert Axe().run(tab).response["violations"] == []
    tab.keyboard.press("Enter")
    expect(_button(tab)).to_have_text("This is wrong")
    assert _rows(folder) == []


def test_each_picture_is_corrected_by_itself(tab: Page, folder: Path) -> None:
    """Each picture has its own correction; without a picture there is none; Escape keeps."""
    _open(tab)
    tab.keyboard.press("Escape")
    expect(_button(tab)).to_be_focused()
    _open(tab).get_by_role("button", name="Not a digit").click()
    expect(_button(tab)).to_have_text("Take back: not a digit")
    choose_sample(tab, 1)
    expect_digit(tab, 1)
    expect(_button(tab)).to_have_text("This is wrong")
    expect(_button(tab)).to_be_enabled()
    assert [row["label"] for row in _rows(folder)] == ["not-a-digit"]
    tab.locator("#clear").click()
    expect(_button(tab)).to_be_disabled()


def test_service_that_cannot_keep_it_says_so(tab: Page, folder: Path) -> None:
    """The reason is shown, and the button stays; it works again when there is room."""
    for name in ("a", "b"):
        (folder / f"{name}.png").touch()
    _open(tab)
    tab.keyboard.press("9")
    expect(tab.locator("#banner")).to_contain_text("The folder of corrections is full")
    expect(_button(tab)).to_have_text("This is wrong")
    shutil.rmtree(folder)
    folder.mkdir()
    _open(tab)
    tab.keyboard.press("9")
    expect(_button(tab)).to_have_text("Take back: a 9")


def test_page_without_corrections_has_nothing_of_it(page: Page) -> None:
    """Where corrections are off, there is no button, and its script is not loaded."""
    loaded = page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
    assert not [name for name in loaded if "correction" in name]
    expect(_button(page)).to_be_hidden()
