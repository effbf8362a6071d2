"""The report of `digitscope evaluate` in a browser: accessible, and no wider than the window."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext

from app.evaluation.html_report import write_report
from tests.evaluation.examples import PAGE, PAGE_ANSWER, PICTURES, figures_of

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("context", "scheme"), [("desk", "dark"), ("phone", "light")], indirect=["context"]
)
def test_report_is_accessible(context: BrowserContext, scheme: str, tmp_path: Path) -> None:
    """axe-core finds no violation, the page does not scroll sideways, and all pictures load."""
    path = tmp_path / "report.html"
    write_report(figures_of([*PICTURES, (PAGE, PAGE_ANSWER)]), path)
    page = context.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url.partition(":")[0]))
    page.emulate_media(color_scheme=scheme)
    page.goto(path.as_uri())
    assert [found["id"] for found in Axe().run(page).response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    widths = page.evaluate("[...document.images].map((each) => each.naturalWidth)")
    assert widths == [28] * len(widths)
    assert len(widths) == 4
    assert set(requests) <= {"file", "data"}
