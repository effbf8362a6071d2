"""The page and Swagger UI of a service that needs an API key."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.settings import Settings
from tests.browser.conftest import Running, open_window
from tests.browser.hand import expect_digit

pytestmark = pytest.mark.browser

KEY = "the key of a test"


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """The address of a service that needs an API key."""
    running = Running(Settings(api_keys=KEY))
    running.start()
    yield running.address
    running.stop()


@pytest.fixture
def tab(browser: Browser) -> Iterator[BrowserContext]:
    """A browser window without a history."""
    context = open_window(browser)
    yield context
    context.close()


def _give(page: Page, key: str) -> None:
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use this key").click()


def test_page_asks_for_the_key_and_keeps_it_in_the_tab(guarded: str, tab: BrowserContext) -> None:
    """One dialog serves all requests; it says when a key is wrong; another tab asks again."""
    page = tab.new_page()
    page.goto(f"{guarded}/")
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_be_visible()
    refused = dialog.get_by_text("The service has refused this key.")
    expect(refused).to_be_hidden()
    _give(page, "a wrong key")
    expect(refused).to_be_visible()
    _give(page, KEY)
    expect(dialog).to_be_hidden()
    page.wait_for_selector("html[data-ready]")
    page.get_by_label("Sample digit 5").click()
    expect_digit(page, 5)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.get_by_label("Sample digit 3").click()
    expect_digit(page, 3)
    expect(dialog).to_be_hidden()
    assert page.evaluate("localStorage.length") == 0
    other = tab.new_page()
    other.goto(f"{guarded}/")
    expect(other.get_by_role("dialog", name="API key")).to_be_visible()


def test_cancelled_question_leaves_the_page_in_use(guarded: str, tab: BrowserContext) -> None:
    """Without a key the page says why it has no answer; the next drawing asks again."""
    page = tab.new_page()
    page.goto(f"{guarded}/")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#banner")).to_contain_text("API key")
    page.get_by_label("Sample digit 5").click()
    _give(page, KEY)
    expect_digit(page, 5)


def test_authorize_of_swagger_ui(guarded: str, tab: BrowserContext) -> None:
    """Swagger UI opens without a key, and sends the key that Authorize asks for."""
    page = tab.new_page()
    page.goto(f"{guarded}/docs")
    page.get_by_role("button", name="Authorize", exact=True).click()
    dialog = page.locator(".auth-container", has=page.get_by_text("X-API-Key"))
    dialog.locator("input").fill(KEY)
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.get_by_role("button", name="Close").click()
    operation = page.locator("#operations-Models-list_models")
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response-col_description code").first
    expect(answer).to_contain_text('"default": "compact"')
