"""Draw, touch and scroll on the page like a user."""

from playwright.sync_api import Locator, Page, expect

Point = tuple[float, float]  # x and y, as shares of the side of the drawing surface

ONE: list[Point] = [(0.52, 0.2), (0.51, 0.35), (0.5, 0.5), (0.49, 0.65), (0.48, 0.8)]


def _on_page(page: Page, points: list[Point]) -> list[Point]:
    box = page.locator("#pad").bounding_box()
    assert box
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]


def draw_by_mouse(page: Page, points: list[Point], *, lift: bool = True) -> None:
    """Draw one stroke with the mouse; without `lift` the button stays down."""
    first, *others = _on_page(page, points)
    page.mouse.move(*first)
    page.mouse.down()
    for x, y in others:
        page.mouse.move(x, y, steps=4)
    if lift:
        page.mouse.up()


def draw_by_touch(page: Page, points: list[Point]) -> None:
    """Draw one stroke with a finger, by the browser's own input events."""
    devtools = page.context.new_cdp_session(page)
    places = [{"x": x, "y": y} for x, y in _on_page(page, points)]
    for kind, place in [
        ("touchStart", places[:1]),
        *(("touchMove", [place]) for place in places[1:]),
        ("touchEnd", []),
    ]:
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": place})
    devtools.detach()


def expect_digit(page: Page, digit: int) -> None:
    """Wait until the page shows a digit."""
    expect(page.locator("#answer")).to_have_attribute("data-digit", str(digit))


def see(page: Page, selector: str) -> Locator:
    """Scroll to a part that is rendered when it comes into view, and wait until it is up to date.

    Parts above it that are rendered meanwhile push it down, so it is scrolled to repeatedly.
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
    """Scroll to the card of a layer, with its activation maps drawn."""
    see(page, "#cards")
    card = page.locator(f"#layer-{layer}")
    card.scroll_into_view_if_needed()
    return card
