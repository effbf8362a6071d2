"""Accessibility of the page: axe-core finds nothing, and every control is reached by keyboard."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.hand import (
    choose_sample,
    expect_digit,
    expect_panel_filled,
    open_address,
    open_mode,
    open_place,
    wait_for_state,
)

pytestmark = pytest.mark.browser
# Unfolds all that is folded in the panel; done when its content is there.
UNFOLD = """() => Promise.all([...document.querySelectorAll("#panel details:not([open])")].map(
  (one) => new Promise((unfolded) => {
    one.addEventListener("toggle", unfolded, { once: true });
    one.open = true;
  })))"""
PLACES = {
    "relu_1_2": ".column-view",
    "relu_1_1:5": ".channel-view",
    "relu_2_1:9:3,4": ".number-view",
    "pool_1:3:2,2": ".number-view",
    "logits:7": ".number-view",
}

LEARN_PLACES = {  # what the way to them ends with
    "at=bn_2_1": "bn_2_1",
    "at=conv_2_1:3": "channel 3",
    "at=conv_2_1&w=kernel:0,1,2,3": "kernel[0, 1, 2, 3]",
}


def _findings(page: Page) -> list[str]:
    """Return the findings of axe-core, including its best practices: rule and element."""
    expect_panel_filled(page)
    page.evaluate(UNFOLD)
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
def test_axe_finds_nothing_in_what_is_opened(page: Page, scheme: str) -> None:
    """With the network, a column, a channel and numbers opened, axe-core finds no violation."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    expect_digit(page, 7)
    assert _findings(page) == []
    for place, view in PLACES.items():
        open_place(page, place)
        expect_panel_filled(page)
        expect(page.locator(view)).to_be_visible()
        assert _findings(page) == [], place
    page.evaluate("import('./page/address.js').then(({ go }) => go({ at: null, asTable: true }))")
    expect(page.locator("#map-table summary").first).to_be_visible()
    page.locator("#map-table summary").nth(1).click()
    assert _findings(page) == []


@pytest.mark.parametrize(
    ("context", "scheme"), [("desk", "dark"), ("phone", "light")], indirect=["context"]
)
def test_axe_finds_nothing_in_the_modes(page: Page, scheme: str) -> None:
    """With each mode opened and unfolded, axe-core finds no violation."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    expect_digit(page, 7)
    compare = open_mode(page, "compare")
    compare.get_by_role("button", name="Pin this image").click()
    expect(compare.locator("tbody tr")).to_have_count(26)
    expect(compare.locator("article")).to_have_count(2)
    assert _findings(page) == []
    for mode, text in (("why", "Check 2"), ("whatif", "All channels"), ("training", "After epoch")):
        expect(open_mode(page, mode)).to_contain_text(text)
        assert _findings(page) == [], mode
    page.evaluate("import('./page/address.js').then(({ go }) => go({ mode: 'received' }))")
    expect(page.locator("#film .frame").first).to_be_visible()
    assert _findings(page) == []


@pytest.mark.parametrize(
    ("context", "scheme"), [("desk", "light"), ("phone", "dark")], indirect=["context"]
)
def test_axe_finds_nothing_in_a_step_of_learning(page: Page, scheme: str) -> None:
    """With a step taken, and with gradients opened, axe-core finds no violation."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    expect_digit(page, 7)
    part = open_mode(page, "learn")
    assert _findings(page) == []
    part.locator(".labels button").nth(3).click()
    part.get_by_role("button", name="One step").click()
    expect(part.locator(".plot")).to_be_visible()
    assert _findings(page) == []
    for place, end in LEARN_PLACES.items():
        open_address(page, f"v=learn&t=3&{place}")
        opened = part.locator(".opened:not([aria-busy]) .crumbs span")
        expect(opened).to_have_text(end)
        assert _findings(page) == [], place


@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_tab_reaches_every_control_in_order(page: Page) -> None:
    """Tab reaches header, surface, its buttons, the map as one stop, and the panel, in order."""
    expect(page.locator(".columns-table")).to_be_visible()
    page.locator(".skip").focus()
    seen = []
    for _ in range(45):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """document.activeElement.id || document.activeElement.getAttribute('aria-label')
                || document.activeElement.textContent"""
            )
        )
    wanted = ["Why", "share", "pad", "brush", "clear", "upload", "paste", "Sample digit 0"]
    wanted += ["thumbs", "as-table", "input 28×28", "panel-body", "conv 1·1"]
    places = [seen.index(one) for one in wanted]
    assert places == sorted(places)
    assert "conv 1·1 28×28 ×32" not in seen  # reached by arrows


def test_focus_stays_when_the_panel_changes(page: Page) -> None:
    """After Close, Escape and a link of the panel, the focus is on a control or a heading."""
    focus = "document.activeElement.id || document.activeElement.className"
    open_place(page, "relu_1_1:5")
    expect(page.locator(".channel-view")).to_be_visible()
    page.get_by_role("button", name="Next channel").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#panel-title")).to_contain_text("6")
    expect(page.get_by_role("button", name="Next channel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".column-view")).to_be_visible()
    expect(page.locator("#panel-title")).to_be_focused()
    page.get_by_role("button", name="Close").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"() => ({focus}) === 'head'")
    expect(page.locator(".head:focus")).to_contain_text("conv 1·1")
    page.locator("#modes [data-mode=why]").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Close").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".head:focus")).to_have_count(1)
    page.locator("#pad").focus()
    page.keyboard.press("?")
    expect(page.locator("#map-keys-help")).to_be_visible()


@pytest.mark.parametrize("context", ["phone"], indirect=True)
def test_sheet_of_a_phone_can_be_enlarged(page: Page) -> None:
    """The panel's title has one line, and a button gives the sheet most of the window."""
    open_place(page, "relu_1_2:12:3,4")
    expect(page.locator(".number-view")).to_be_visible()
    expect_panel_filled(page)
    panel, title = page.locator("#panel"), page.locator("#panel-title")
    boxes = [panel.bounding_box(), title.bounding_box()]
    page.get_by_role("button", name="Enlarge").click()
    boxes.append(panel.bounding_box())
    low, line, tall = [box["height"] if box else 0 for box in boxes]
    assert 0 < line < 30
    assert tall > 700 > low > 300


def test_reduced_motion(page: Page) -> None:
    """With reduced motion there are no transitions."""
    page.emulate_media(reduced_motion="reduce")
    duration = page.locator(".bar").first.evaluate(
        "bar => getComputedStyle(bar).transitionDuration"
    )
    assert duration == "0s"


def test_live_region_announces_the_digit(page: Page) -> None:
    """The live region announces the digit and the runner-up."""
    choose_sample(page, 5)
    expect(page.locator("#live")).to_contain_text(re.compile(r"It is a 5\. .* sure\. Next: "))


OVERLAPS = """() => {
  const found = [];
  for (const group of [".masthead > *", ".modes button", ".head", ".overview > *"]) {
    const boxes = [...document.querySelectorAll(group)].map((part) => part.getBoundingClientRect())
      .filter(({ width }) => width);
    boxes.forEach((a, at) => boxes.slice(at + 1).forEach((b) => {
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 0.5 && down > 0.5) found.push(group);
    }));
    if (boxes.some(({ right }) => right > innerWidth)) found.push(`${group} is cut`);
  }
  return found;
}"""


@pytest.mark.parametrize("width", [320, 700, 768, 1024, 1200, 2560])
@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_every_width(page: Page, width: int) -> None:
    """From 320 to 2560 pixels nothing is cut off or overlaps, and drawing and map are in view."""
    page.set_viewport_size({"width": width, "height": 900})
    arranged = "document.querySelector('#map-scroll').clientWidth === Number(key.split(' ')[0])"
    wait_for_state(page, f"(({{ key }}) => {arranged})(map.layout)")
    for part in ("#pad", "#map-canvas"):
        box = page.locator(part).bounding_box()
        assert box
        assert 0 <= box["y"] < 600
    assert page.evaluate(OVERLAPS) == []
    open_place(page, "relu_1_2:3:13,14")
    expect(page.locator(".number-view")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
