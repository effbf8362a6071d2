"""Draw, touch and look on the page like a user."""

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


def expect_up_to_date(page: Page) -> None:
    """Wait until the answer belongs to what is on the surface, and the pen rests."""
    answered = page.locator("html:not([data-changed]) #state-line[data-state=answered]")
    expect(answered).to_be_attached()


def expect_panel_filled(page: Page) -> None:
    """Wait until the panel shows what is opened, and nothing of what was opened before."""
    expect(page.locator("#panel-body > [aria-busy]:visible")).to_have_count(0)


def wait_for_state(page: Page, condition: str) -> None:
    """Wait until a condition on the page's `state` and `map` holds, such as `map.transform`.

    The modules are loaded first: `wait_for_function` takes the promise of an async function for
    true, and does not wait.
    """
    page.evaluate(
        """async () => {
          const { map } = await import("./page/map_view.js");
          const { state } = await import("./page/state.js");
          window.inside = { map, state };
        }"""
    )
    page.wait_for_function(f"() => {{ const {{ map, state }} = inside; return {condition}; }}")


def wait_for_painting(page: Page) -> None:
    """Wait until the map has been painted from the values that are there now."""
    page.evaluate(
        """async () => {
          const { paintSoon } = await import("./page/map_view.js");
          const { on } = await import("./page/state.js");
          await new Promise((painted) => { on("painted", painted); paintSoon(); });
        }"""
    )


def stop_clock(page: Page) -> None:
    """Stop the clock of the page and of its window.

    Timers that they start from now on end only in `page.clock.run_for`.
    """
    page.clock.install(time=0)
    page.clock.pause_at(3600)  # seconds; the clock has run since `install`


def drop_timers(page: Page, least: int) -> None:
    """Let timers of at least `least` milliseconds, which the page starts from now on, never end."""
    script = f"""(() => {{
      const own = setTimeout;
      window.setTimeout = (run, wait, ...rest) => (wait >= {least} ? 0 : own(run, wait, ...rest));
    }})()"""
    page.add_init_script(script)
    page.evaluate(script)


def stay_lost(page: Page) -> None:
    """Once the page has lost the service, keep it from trying failed parts again by itself."""
    page.route("**/readyz", lambda route: route.abort())


def choose_sample(page: Page, digit: int) -> None:
    """Choose a sample digit; on narrow windows the samples open first."""
    sample = page.get_by_label(f"Sample digit {digit}")
    if not sample.is_visible():
        page.get_by_role("button", name="Samples", exact=True).click()
    sample.click()


def choose_network(page: Page, name: str) -> None:
    """Choose a network in the header: by its button, or in the menu of a narrow window."""
    button = page.locator(f"#networks [data-model='{name}']")
    if button.is_visible():
        button.click()
    else:
        page.locator("#model").select_option(name)
    expect(page.locator("#model")).to_have_value(name)


def open_mode(page: Page, mode: str) -> Locator:
    """Open a mode and wait until its part of the panel is up to date."""
    page.locator(f"#modes [data-mode={mode}]").click()
    part = page.locator(f"#panel-body [data-view={mode}]")
    expect(part).to_be_visible()
    shown = "xpath=descendant-or-self::*[@data-revision and not(@aria-busy)]"
    expect(part.locator(shown).first).to_be_attached()
    return part


def picture_on_map(page: Page, column: str, channel: int) -> Point:
    """Scroll a channel's picture into view and return where its middle is in the window."""
    expect_panel_filled(page)  # on a phone, its height decides where the picture is in view
    place = page.evaluate(
        """async ([title, channel]) => {
          const { map, rectangleOf } = await import("./page/map_view.js");
          const column = map.columns.find((each) => each.title === title);
          const box = rectangleOf(column, channel);
          const middle = [box.x + box.width / 2, box.y + box.height / 2];
          const body = document.querySelector("#map-body");
          const top = body.getBoundingClientRect().top;
          const bottom = document.querySelector("#panel").getBoundingClientRect().top;
          if (top + middle[1] > Math.min(innerHeight - 60, bottom || innerHeight)) {
            scrollBy({ top: top + middle[1] - 320, behavior: "instant" });
          }
          const area = body.getBoundingClientRect();
          return [area.left + middle[0], area.top + middle[1]];
        }""",
        [column, channel],
    )
    return (place[0], place[1])


def click_on_map(page: Page, column: str, channel: int) -> None:
    """Click on a channel's picture."""
    page.mouse.click(*picture_on_map(page, column, channel))


def open_address(page: Page, address: str) -> None:
    """Open what an address says, such as `v=learn&t=3&at=logits`; the panel is marked at once."""
    page.evaluate(
        """async (address) => {
          const { go, parsePlace } = await import("./page/address.js");
          go(parsePlace(`#${address}`));
        }""",
        address,
    )


def open_place(page: Page, at: str) -> None:
    """Open a layer, a channel or a number by its address: `layer:channel:row,column`."""
    open_address(page, f"at={at}")
