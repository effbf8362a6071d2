"""The ways into the modes of the page and out of them: nothing is closed unsaid."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Running
from tests.browser.hand import open_mode, open_place

pytestmark = pytest.mark.browser
DESK = pytest.mark.parametrize("context", ["desk"], indirect=True)


@DESK
def test_link_that_leaves_learn_says_so(page: Page, site: Running) -> None:
    """A value in the sum of a gradient is marked; Back returns from it. A gradient is not."""
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{site.address}/#m=classic&v=learn&t=3&at=logits&w=kernel:5,3")
    view = page.locator(".gradient-sum")
    expect(view).to_contain_text("A number with ↗ leaves Learn")
    value = view.get_by_role("button", name=re.compile("leaves Learn")).first
    expect(value).to_contain_text("↗")
    expect(value).to_have_attribute("data-kind", "input")
    expect(view.locator("[data-kind=gradient]", has_text="↗")).to_have_count(0)
    value.click()
    expect(page.locator(".number-view")).to_be_visible()
    expect(page.locator("#modes [aria-current]")).to_contain_text("Look")
    page.go_back()
    expect(view).to_be_visible()
    expect(page.locator("#modes [aria-current]")).to_have_text("Learn")


@pytest.mark.parametrize("mode", ["why", "whatif", "compare", "training"])
@DESK
def test_escape_returns_from_a_mode_to_what_was_opened(page: Page, mode: str) -> None:
    """Escape in a mode that does not show what is opened leaves the mode, and nothing else."""
    open_place(page, "relu_1_1:5")
    expect(page.locator(".channel-view")).to_be_visible()
    open_mode(page, mode)
    expect(page).to_have_url(re.compile(f"v={mode}&at=relu_1_1:5$"))
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("m=classic&at=relu_1_1:5$"))
    expect(page.locator(".channel-view")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("at=relu_1_1$"))
