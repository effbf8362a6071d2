"""Accessibility of the page: axe-core finds nothing, and every control is reached by keyboard."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.hand import card, expect_digit, see

pytestmark = pytest.mark.browser


# Everything that can be unfolded, of one card only: the others have the same form.
UNFOLD = """document.querySelectorAll(
  "#layer-relu_1_1 details, #layer-pad_1 .handed-on, .panel details," +
  " section > div:not(#cards) details",
).forEach((one) => { one.open = true; })"""


def _findings(page: Page) -> list[str]:
    """Return the findings of axe-core, including its best practices: rule and element."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node.get('failureSummary', '')}"
        for one in found
        for node in one["nodes"]
    ]


# Findings depend on size or on colours, not on both: two of the four pairs are enough.
@pytest.mark.parametrize(
    ("context", "scheme"), [("desk", "light"), ("phone", "dark")], indirect=["context"]
)
def test_axe_finds_nothing(page: Page, scheme: str) -> None:
    """With every part rendered and unfolded, axe-core finds no violation."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    expect_digit(page, 7)
    assert _findings(page) == []
    for part in ("#why-body .why", "#whatif-body", "#compare-body", "#models-body", "#epochs-body"):
        see(page, part)
    page.get_by_role("button", name="Pin this image").click()
    expect(page.locator("#compare-body tbody tr")).to_have_count(26)
    card(page, "conv_1_2").locator(".overlay").click(position={"x": 20, "y": 20})
    expect(page.locator("#layer-conv_1_2 .panel .working")).to_be_visible()
    card(page, "logits").get_by_role("button", name="How unit 7 is calculated").click()
    layer = card(page, "logits")
    layer.get_by_role("button", name="Follow the strongest input").click()
    expect(page.locator("#layer-logits .trace")).to_contain_text("has the grey level")
    page.locator("#film [data-stage=centre] button").click()
    page.evaluate(UNFOLD)
    expect(page.locator("#layer-relu_1_1 details table")).to_be_visible()
    assert _findings(page) == []


@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_tab_reaches_every_control_in_order(page: Page) -> None:
    """Tab reaches the surface, its buttons, the film strip and the first maps, in this order."""
    see(page, "#cards")
    page.evaluate("scrollTo(0, 0)")
    page.locator(".skip").focus()
    seen = []
    for _ in range(90):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.getAttribute('aria-label')"
            )
        )
    wanted = ["model", "pad", "clear", "upload", "paste", "brush", "Sample digit 0", "film"]
    wanted += ["map", "normalise: 1 channel", "conv_1_1: 32 channels"]
    places = [seen.index(one) for one in wanted]
    assert places == sorted(places)


def test_every_picture_has_a_table(page: Page) -> None:
    """Each picture and plot has a table of its numbers that can be unfolded."""
    see(page, "#cards")
    without = page.locator("#cards article").evaluate_all(
        "cards => cards.filter((card) => !card.querySelector('details, table.figures'))"
        ".map((card) => card.id)"
    )
    assert without == []
    layer = card(page, "relu_1_1")
    layer.get_by_text("Table of the channels").click()
    expect(layer.locator("details table tbody tr")).to_have_count(32)
    layer.locator(".overlay").click(position={"x": 20, "y": 20})
    layer.get_by_text("Table of the values").click()
    expect(layer.locator(".panel details table tbody tr")).to_have_count(28)


def test_reduced_motion(page: Page) -> None:
    """With reduced motion there are no transitions and no smooth scrolling."""
    page.emulate_media(reduced_motion="reduce")
    assert page.locator(".bar").first.evaluate(
        "bar => getComputedStyle(bar).transitionDuration"
    ) == ("0s")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_live_region_announces_the_digit(page: Page) -> None:
    """The live region announces the digit and the runner-up."""
    page.get_by_label("Sample digit 5").click()
    expect(page.locator("#live")).to_contain_text("It is a 5")
    expect(page.locator("#live")).to_contain_text("Second: ")
