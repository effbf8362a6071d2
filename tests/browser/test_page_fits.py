"""What belongs on the screen is on the screen."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from app.samples import sample_pixels
from tests.browser.conftest import SIZES, Running, open_window
from tests.browser.hand import expect_digit, open_place

pytestmark = pytest.mark.browser
DESK = pytest.mark.parametrize("context", ["desk"], indirect=True)


def _page_of(*lines: str) -> bytes:
    """Return a PNG with lines of sample digits."""
    sheet = np.zeros((60 * len(lines) + 20, 44 * max(map(len, lines)) + 20), np.uint8)
    for row, line in enumerate(lines):
        for column, digit in enumerate(line):
            top, left = 60 * row + 20, 44 * column + 16
            sheet[top : top + 28, left : left + 28] = sample_pixels(int(digit))
    picture = Image.fromarray(255 - sheet).resize((4 * sheet.shape[1], 4 * sheet.shape[0]))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize("height", [900, 768])
@DESK
def test_colour_key_stays_on_the_screen(page: Page, height: int) -> None:
    """With one digit and with three lines of digits, the key and the state line are seen."""
    page.set_viewport_size({"width": 1440, "height": height})
    expect_digit(page, 7)
    for part in (".ramp", "#scale", "#state-line"):
        expect(page.locator(part)).to_be_in_viewport(ratio=1)
    picture = {"name": "page.png", "mimeType": "image/png", "buffer": _page_of("42", "17", "93")}
    page.locator("#file").set_input_files(picture)
    expect(page.locator(".several-digit")).to_have_count(6)
    expect(page.locator(".several-line")).to_have_count(3)
    for part in (".ramp", "#scale", "#state-line"):
        expect(page.locator(part)).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Look at the 3").click()
    expect_digit(page, 3)


@pytest.mark.parametrize("width", [568, 667, 844, 932])
def test_phone_that_lies_keeps_the_drawing_beside_what_is_opened(
    browser: Browser, site: Running, width: int
) -> None:
    """Drawing and answer stay; what is opened is scrolled to; nothing is wider than the window."""
    size = {"viewport": {"width": width, "height": 360}}
    context = open_window(browser, **{**SIZES["phone"], **size})
    page = context.new_page()
    page.goto(f"{site.address}/")
    page.wait_for_selector("html[data-ready]")
    for part in ("#pad", "#verdict", "#state-line", "#modes", "#model"):
        expect(page.locator(part)).to_be_in_viewport(ratio=1)
    expect(page.locator("#panel-title")).not_to_be_empty()
    open_place(page, "relu_1_1:5")
    expect(page.locator(".channel-view")).to_be_in_viewport()
    for part in ("#panel-title", "#pad", "#verdict"):
        expect(page.locator(part)).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
