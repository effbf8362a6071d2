"""Links: what a link holds is what another window shows."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Running
from tests.browser.hand import choose_sample, expect_digit, open_mode

pytestmark = pytest.mark.browser
DESK = pytest.mark.parametrize("context", ["desk"], indirect=True)


def _reopen(page: Page, context: BrowserContext) -> Page:
    """Open the address of a page in another tab."""
    other = context.new_page()
    other.goto(page.url)
    other.wait_for_selector("html[data-ready]")
    return other


@DESK
def test_steps_of_learning_are_in_the_link(page: Page, context: BrowserContext) -> None:
    """Another window takes as many steps, at the same rate and by the same method."""
    part = open_mode(page, "learn")
    said = part.locator(".outcome")
    part.locator(".labels button").nth(3).click()
    expect(said).to_have_attribute("data-steps", "0")
    part.get_by_role("slider", name="Learning rate").focus()
    page.keyboard.press("ArrowLeft")
    part.get_by_role("combobox", name="Method").select_option("momentum")
    part.get_by_role("button", name="10 steps").click()
    expect(said).to_have_attribute("data-steps", "10")
    expect(said).to_contain_text("at rate 0.0003")
    entries = page.evaluate("history.length")
    other = _reopen(page, context)
    told = other.locator("[data-view=learn] .outcome")
    expect(told).to_have_attribute("data-steps", "10")
    expect(told).to_have_text(said.text_content() or "")
    expect(other.get_by_role("combobox", name="Method")).to_have_value("momentum")
    part.get_by_role("button", name="Start again").click()
    expect(said).to_have_attribute("data-steps", "0")
    expect(page).not_to_have_url(re.compile("n=10"))
    assert page.evaluate("history.length") == entries


@DESK
def test_settings_that_a_link_cannot_have_are_said(page: Page, site: Running) -> None:
    """A wrong rate, number of steps or method is named, and the usual one is used."""
    page.goto(f"{site.address}/#m=classic&v=learn&t=3&r=7&n=51&by=luck")
    for text in ("no learning rate “7”", "not “51”", "no method “luck”"):
        expect(page.locator("#banner")).to_contain_text(text)
    expect(page.locator("[data-view=learn] .outcome")).to_have_attribute("data-steps", "0")
    expect(page).not_to_have_url(re.compile("r=7|n=51|by="))
    expect_digit(page, 7)


@DESK
def test_pinned_picture_is_in_the_link(page: Page, site: Running) -> None:
    """A reload keeps the pinned picture; unpinned, it is gone; a damaged one is said."""
    part = open_mode(page, "compare")
    part.get_by_role("button", name="Pin this image").click()
    expect(page).to_have_url(re.compile("[#&]o="))
    (seven,) = re.findall("d=[^&]+", page.url)
    choose_sample(page, 1)
    expect_digit(page, 1)
    expect(page).not_to_have_url(re.compile(re.escape(seven)))
    page.locator("#modes [data-mode=look]").click()
    page.reload()
    page.wait_for_selector("html[data-ready]")
    open_mode(page, "compare")
    expect(part.locator("figcaption")).to_contain_text(["Pinned: 7", "Now: 1"])
    page.reload()
    expect(part.locator("figcaption")).to_contain_text(["Pinned: 7", "Now: 1"])
    part.get_by_role("button", name="Unpin").click()
    expect(part.locator("figcaption")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("[#&]o="))
    page.goto(f"{site.address}/#m=classic&o=%21&v=compare")
    expect(page.locator("#banner")).to_contain_text("The pinned picture of the link cannot be read")
    expect(part).to_contain_text("Pin the current image")
    expect(page).not_to_have_url(re.compile("[#&]o="))


@DESK
def test_epoch_and_layer_of_training_are_in_the_link(page: Page, site: Running) -> None:
    """A reload shows the same epoch and layer; of an epoch that was not saved, the one before."""
    part = open_mode(page, "training")
    said = part.locator("output")
    expect(said).to_have_attribute("data-epoch", "1")
    entries = page.evaluate("history.length")
    part.get_by_role("slider").focus()
    page.keyboard.press("End")
    expect(said).to_have_attribute("data-epoch", "30")
    part.get_by_role("combobox").select_option("relu_2_2")
    expect(part).to_contain_text("The kernel of channel 0 in conv_2_2")
    assert page.evaluate("history.length") == entries
    page.reload()
    expect(said).to_have_attribute("data-epoch", "30")
    expect(part).to_contain_text("The kernel of channel 0 in conv_2_2")
    page.goto(f"{site.address}/#m=classic&v=training&e=6&l=nowhere")
    expect(said).to_have_attribute("data-epoch", "5")
    expect(part.get_by_role("combobox")).to_have_value("relu_1_1")
