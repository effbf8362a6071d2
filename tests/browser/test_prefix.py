"""The page and Swagger UI below a path prefix, behind both kinds of proxies."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from app.settings import Settings
from tests.browser.conftest import Running
from tests.browser.hand import expect_digit
from tests.browser.proxy import Proxy

pytestmark = pytest.mark.browser

PREFIX = "/tools/digits"


@pytest.fixture(scope="module", params=["strips", "passes on"])
def site(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a service behind a proxy that strips the prefix, or that passes it on.

    The first names the prefix in a header; for the second the service has a setting.
    """
    strips = request.param == "strips"
    settings = {"trusted_proxies": "127.0.0.1"} if strips else {"root_path": PREFIX}
    running = Running(Settings(**settings))
    running.start()
    with Proxy(running.port, PREFIX, strips=strips) as proxy:
        yield f"http://127.0.0.1:{proxy.server_port}{PREFIX}"
    running.stop()


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    """A new tab, in which no request may fail."""
    page = browser.new_page()
    page.set_default_timeout(120_000)  # ms; Swagger UI takes seconds to open an operation
    failed: list[str] = []
    page.on(
        "response",
        lambda answer: failed.append(f"{answer.status} {answer.url}") if not answer.ok else None,
    )
    yield page
    page.close()
    assert failed == []


@pytest.mark.parametrize("slash", ["", "/"])
def test_page_reads_a_digit(page: Page, site: str, slash: str) -> None:
    """The page finds its files and the service, with and without the last slash."""
    page.goto(site + slash)
    page.wait_for_selector("html[data-ready]")
    page.get_by_label("Sample digit 5").click()
    expect_digit(page, 5)
    expect(page.locator("nav a", has_text="API")).to_have_attribute("href", f"{PREFIX}/docs")


@pytest.mark.parametrize("slash", ["", "/"])
def test_swagger_ui_calls_the_service(page: Page, site: str, slash: str) -> None:
    """Swagger UI finds its files and the document, and sends requests below the prefix."""
    page.goto(f"{site}/docs{slash}")
    operation = page.locator("#operations-Models-list_models")
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response-col_description code").first
    expect(answer).to_contain_text('"default": "compact"')
    expect(operation.locator(".request-url")).to_contain_text(f"{site}/models")
