"""What belongs on the screen is on the screen."""

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from app.samples import sample_pixels
from tests.browser.hand import expect_digit

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
