"""What a hand does on the page: draws, touches, looks."""

from playwright.sync_api import Locator, Page, expect

Point = tuple[float, float]  # shares of the surface's side, across and down

ONE: list[Point] = [(0.52, 0.2), (0.51, 0.35), (0.5, 0.5), (0.49, 0.65), (0.48, 0.8)]


def _on_page(page: Page, points: list[Point]) -> list[Point]:
    box = page.locator("#pad").bounding_box()
    assert box
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]


def draw_by_mouse(page: Page, points: list[Point], *, lift: bool = True) -> None:
    """Draw one stroke with the mouse; without `lift` its button stays down."""
    first, *others = _on_page(page, points)
    page.mouse.move(*first)
    page.mouse.down()
    for x, y in others:
        page.mouse.move(x, y, steps=4)
    if lift:
        page.mouse.up()


def draw_by_touch(page: Page, points: list[Point]) -> None:
    """Draw one stroke with a finger, through the browser's own input."""
    devtools = page.context.new_cdp_session(page)
    places = [{"x": x, "y": y} for x, y in _on_page(page, points)]
    for kind, place in [
        ("touchStart", places[:1]),
        *(("touchMove", [one]) for one in places[1:]),
        ("touchEnd", []),
    ]:
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": place})
    devtools.detach()


def expect_digit(page: Page, digit: int) -> None:
    """Wait until the page reads a digit."""
    expect(page.locator("#answer")).to_have_attribute("data-digit", str(digit))


def see(page: Page, selector: str) -> Locator:
    """Scroll to a part that is made when it comes into view, and wait until it is up to date.

    Parts above it that are made meanwhile push it down, so that it is scrolled to until it is done.
    """
    page.wait_for_function(
        """(selector) => {
          const part = document.querySelector(selector);
          const place = part ?? document.querySelector(selector.split(" ")[0]);
          place.scrollIntoView({ block: "start", behavior: "instant" });
          return part?.dataset.revision === document.querySelector("#received").dataset.revision;
        }""",
        arg=selector,
        polling=100,
    )
    return page.locator(selector)


def card(page: Page, layer: str) -> Locator:
    """Scroll to a layer's card, its sheet painted."""
    see(page, "#cards")
    found = page.locator(f"#layer-{layer}")
    found.scroll_into_view_if_needed()
    return found
