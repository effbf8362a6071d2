"""The page on a slow line, on a cut line, and with parts that do not arrive: always true."""

import io
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from app.samples import sample_png
from tests.browser.conftest import SIZES, Running, open_window
from tests.browser.hand import ONE, draw_by_mouse, expect_digit, expect_up_to_date, stop_clock
from tests.browser.line import Line

pytestmark = pytest.mark.browser
ANY = re.compile(r"\d")  # any revision
MAX_MOVES = 10_000  # of the pen, until a test gives up
FAST_3G = 750_000 / 8  # bytes a second, from the browser to the service
MIN_INTERVAL_MS = 33  # between two requests while the pen moves: at most 30 a second
# Counts the requests of the moving pen, those of them whose answer is not read yet, and answers.
COUNT_REQUESTS = """async () => {
  const { on } = await import("/page/state.js");
  const own = window.fetch;
  window.pen = { sent: 0, running: 0, most: 0, answers: 0 };
  on("prediction", () => { pen.answers += 1; });
  window.fetch = async (url, options) => {
    if (!String(url).includes("/inspect")) return own(url, options);
    pen.sent += 1;
    pen.running += 1;
    pen.most = Math.max(pen.most, pen.running);
    try {
      const answer = await own(url, options);
      return new Response(await answer.arrayBuffer(), answer);
    } finally {
      pen.running -= 1;
    }
  };
}"""
# Counts answers, and notes every digit that is shown as up to date after the first change.
WATCH = """async () => {
  const { on, state } = await import("/page/state.js");
  window.seen = { answers: 0, states: [], certain: [] };
  on("prediction", () => { seen.answers += 1; });
  on("reading", (now) => seen.states.push(now));
  const watch = () => {
    const { textContent } = document.querySelector("#digit");
    if (seen.states.length && state.reading === "answered") seen.certain.push(textContent);
    requestAnimationFrame(watch);
  };
  watch();
}"""


@pytest.fixture(scope="module")
def shared_line(site: Running) -> Iterator[Line]:
    """A line to the service, for all tests."""
    line = Line(site.port)
    yield line
    line.close()


@pytest.fixture
def line(shared_line: Line) -> Line:
    """The line, fast and whole."""
    shared_line.delay, shared_line.rate = 0, None
    shared_line.mend()
    shared_line.release()
    return shared_line


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A window at desktop size."""
    context = open_window(browser, **SIZES["desk"])
    yield context
    context.close()


@pytest.fixture(scope="module")
def tab(context: BrowserContext, shared_line: Line) -> Iterator[Page]:
    """The page over the line, loaded once and watched; no script fails."""
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(f"{shared_line.address}/")
    page.wait_for_selector("html[data-ready]")
    page.evaluate(WATCH)
    yield page
    page.close()
    assert failures == []


@pytest.fixture
def page(tab: Page, line: Line) -> Page:
    """The page with a 7 that is read, over a fast line."""
    tab.unroute_all()
    tab.get_by_label("Sample digit 7").click()
    expect_digit(tab, 7)
    expect_up_to_date(tab)
    tab.evaluate("document.querySelector('#part')?.remove()")
    tab.evaluate("Object.assign(seen, { answers: 0, states: [], certain: [] })")
    return tab


def _photo(digit: int, side: int) -> bytes:
    """A digit of dark ink in the middle of grainy paper, as a JPEG of `side` x 3/4 `side`."""
    grain = np.random.default_rng(0).normal(215, 6, (side * 3 // 4, side))
    ink = Image.open(io.BytesIO(sample_png(digit))).convert("L").resize((side // 2, side // 2))
    sheet = Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8))
    sheet.paste(Image.new("L", ink.size, 40), (side // 4, side // 8), ink)
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=92)
    return stream.getvalue()


def _add_part(page: Page) -> Locator:
    """Add a part to the page that shows the most similar training digits; return it."""
    page.evaluate(
        """async () => {
          const { send } = await import("/page/api.js");
          const { updateWhenVisible } = await import("/page/state.js");
          const part = document.createElement("section");
          part.id = "part";
          part.style.minHeight = "1px";
          document.body.prepend(part);
          const list = part.appendChild(document.createElement("p"));
          updateWhenVisible(part, async (signal) => {
            const { neighbours } = await send("neighbours", { count: 8 }, signal);
            list.textContent = neighbours.map(({ label }) => label).join();
          });
        }"""
    )
    return page.locator("#part")


def _click_in_page(button: Locator, read: str) -> object:
    """Click by a script of the page, and return what an expression is as soon as that is done."""
    return button.evaluate(f"(button) => {{ button.click(); return {read}; }}")


def _move_until(page: Page, condition: str) -> None:
    """Move the pen, which is down, until a condition in the page holds."""
    for at in count():
        page.mouse.move(600, 300 + at % 100, steps=2)
        if page.evaluate(condition):
            return
        assert at < MAX_MOVES, condition


def test_answers_follow_the_pen_on_a_slow_line(page: Page, line: Line) -> None:
    """With 300 ms each way, answers are shown while the pen still moves, and all are marked."""
    line.delay = 0.3
    page.locator("#clear").click()
    page.evaluate("seen.answers = 0")
    draw_by_mouse(page, ONE, lift=False)
    _move_until(page, "seen.answers >= 2")
    line.hold()
    page.mouse.move(600, 450)
    expect(page.locator("#state-line")).to_have_attribute("data-state", "reading")
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "true")
    expect(page.locator("html")).to_have_attribute("data-late", "")
    line.release()
    page.mouse.up()
    expect_up_to_date(page)
    expect(page.locator("html")).not_to_have_attribute("data-late", "")


def test_an_old_answer_is_marked_at_once(page: Page, line: Line) -> None:
    """From the choice of another picture to its answer, the old one is never shown as current."""
    line.delay = 0.2
    sample = page.get_by_label("Sample digit 4")
    state = "document.querySelector('#state-line').dataset.state"
    assert _click_in_page(sample, state) == "reading"
    expect_digit(page, 4)
    expect(page.locator("#state-text")).to_have_text("Up to date")
    assert set(page.evaluate("seen.certain")) <= {"4"}
    marks = page.evaluate("seen.states")
    assert marks[0] == "reading"
    assert marks[-1] == "answered"


def test_another_network_is_waited_for(context: BrowserContext, line: Line) -> None:
    """From the choice of another network to its answer, all that is shown is marked."""
    page = context.new_page()
    page.goto(f"{line.address}/")
    page.wait_for_selector("html[data-ready]")
    line.hold()
    other = page.locator("#networks [data-model=other]")
    is_waiting = "'waiting' in document.querySelector('#map').dataset"
    assert _click_in_page(other, is_waiting)
    expect(page.locator("html")).to_have_attribute("data-late", "")
    expect(page.locator("#state-text")).to_have_text("Reading…")
    expect(page.locator("#map")).to_have_attribute("data-waiting", "")
    line.release()
    expect(page.locator("#state-text")).to_have_text("Up to date")
    expect(page.locator("#map")).not_to_have_attribute("data-waiting", "")
    expect(page.locator("#model")).to_have_value("other")
    page.close()


def test_an_empty_surface_is_not_said_of_a_drawing(page: Page, line: Line) -> None:
    """From the first point of a drawing, the page no longer says that nothing is drawn."""
    page.locator("#clear").click()
    expect(page.locator("#verdict")).to_have_text("Nothing is drawn.")
    line.hold()
    draw_by_mouse(page, ONE, lift=False)
    expect(page.locator("#verdict")).to_have_text("Reading…")
    line.release()
    page.mouse.up()
    expect(page.locator("#verdict")).to_contain_text("1")


def test_parts_of_another_digit_are_busy(page: Page, line: Line) -> None:
    """A part is marked from the first point of a stroke until its own result is there."""
    part = _add_part(page)
    expect(part).to_have_attribute("data-revision", ANY)
    expect(part).not_to_have_attribute("aria-busy", "true")
    before = part.get_attribute("data-revision") or ""
    line.delay = 0.2
    draw_by_mouse(page, ONE[:2], lift=False)
    expect(part).to_have_attribute("aria-busy", "true")
    expect(page.locator("#thumbs")).to_have_css("opacity", "0.5")
    page.mouse.up()
    expect_up_to_date(page)
    expect(page.locator("#thumbs")).to_have_css("opacity", "1")
    expect(part).not_to_have_attribute("data-revision", before)
    expect(part).not_to_have_attribute("aria-busy", "true")


def test_one_request_at_a_time_and_at_most_thirty_a_second(browser: Browser, line: Line) -> None:
    """While the pen moves, a request follows the answer to the one before, but not at once."""
    own = open_window(browser, **SIZES["desk"])  # all pages of a window have the same clock
    page = own.new_page()
    page.goto(f"{line.address}/")
    page.wait_for_selector("html[data-ready]")
    page.evaluate(COUNT_REQUESTS)
    stop_clock(page)
    page.locator("#clear").click()
    line.hold()
    draw_by_mouse(page, ONE, lift=False)
    page.clock.run_for(10 * MIN_INTERVAL_MS)
    page.mouse.move(600, 300)
    page.clock.run_for(10 * MIN_INTERVAL_MS)
    assert page.evaluate("pen.sent") == 1
    line.release()
    page.wait_for_function("() => pen.answers === 1")
    page.clock.run_for(1)
    assert page.evaluate("pen.sent") == 2
    for answers in (2, 3, 4):
        page.wait_for_function(f"() => pen.answers === {answers}")
        page.mouse.move(600, 300 + answers)
        page.clock.run_for(MIN_INTERVAL_MS - 2)
        assert page.evaluate("pen.sent") == answers
        page.clock.run_for(2)
        assert page.evaluate("pen.sent") == answers + 1
    assert page.evaluate("pen.most") == 1
    own.close()


def test_offline_is_said_and_the_drawing_is_read_later(page: Page, line: Line) -> None:
    """Without a connection the page says so and keeps the drawing; it is read on return."""
    page.locator("#clear").click()
    expect(page.locator("#verdict")).to_have_text("Nothing is drawn.")
    line.cut()
    draw_by_mouse(page, ONE)
    expect(page.locator("#verdict")).to_have_text("No connection.")
    expect(page.locator("#warnings")).to_contain_text("still shows the last digit")
    expect(page.locator("#state-text")).to_have_text("No connection. Your drawing is safe.")
    before = page.locator("#pad").evaluate("canvas => canvas.toDataURL()")
    line.mend()
    expect_digit(page, 1)
    expect(page.locator("#state-text")).to_have_text("Up to date")
    assert page.locator("#pad").evaluate("canvas => canvas.toDataURL()") == before


def test_a_picture_chosen_offline_is_kept(
    context: BrowserContext, line: Line, tmp_path: Path
) -> None:
    """A photo or a sample that is chosen without a connection is read when the service is back."""
    (tmp_path / "photo.jpg").write_bytes(_photo(6, 1000))
    page = context.new_page()
    page.goto(f"{line.address}/")
    page.wait_for_selector("html[data-ready]")
    line.cut()
    before = page.locator("#pad").evaluate("canvas => canvas.toDataURL()")
    page.locator("#file").set_input_files(tmp_path / "photo.jpg")
    expect(page.locator("#state-text")).to_have_text("No connection. Your drawing is safe.")
    assert page.locator("#pad").evaluate("canvas => canvas.toDataURL()") != before
    line.mend()
    expect_digit(page, 6)
    expect(page.locator("#state-text")).to_have_text("Up to date")
    line.cut()
    page.get_by_label("Sample digit 9").click()
    expect(page.locator("#state-text")).to_have_text("No connection. Your drawing is safe.")
    line.mend()
    expect_digit(page, 9)
    page.close()


def test_a_blank_surface_is_offline_too(page: Page, line: Line) -> None:
    """Offline is said even if nothing is drawn, and undo works."""
    line.cut()
    page.get_by_label("Sample digit 2").click()
    expect(page.locator("#state-line")).to_have_attribute("data-state", "offline")
    page.locator("#clear").click()
    page.evaluate("dispatchEvent(new Event('offline'))")
    expect(page.locator("#state-line")).to_have_attribute("data-state", "offline")
    page.locator("#undo").click()
    line.mend()
    expect(page.locator("#state-line")).to_have_attribute("data-state", "answered")


def test_an_answer_that_is_cut_off_is_asked_for_again(page: Page, line: Line) -> None:
    """A connection that breaks before the answer is there counts as a break."""
    line.hold()
    with page.expect_request("**/preprocess?*"):
        page.get_by_label("Sample digit 5").click()
    line.cut()
    line.release()
    expect(page.locator("#state-line")).to_have_attribute("data-state", "offline")
    line.mend()
    expect(page.locator("#state-line")).to_have_attribute("data-state", "answered")


def test_a_photo_is_reduced_and_sent_once_with_progress(
    page: Page, line: Line, tmp_path: Path
) -> None:
    """On Fast 3G, a photo is shrunk, its sending shown, and then only its 28x28 is sent."""
    (tmp_path / "photo.jpg").write_bytes(_photo(6, 2400))
    line.rate = FAST_3G
    sizes: list[int] = []
    page.on(
        "request",
        lambda request: sizes.append(len(request.post_data_buffer or b"")),
    )
    page.evaluate(
        """import("/page/state.js").then(({ on }) => {
          window.progress = [];
          on("progress", (text) => progress.push(text));
        })"""
    )
    page.locator("#file").set_input_files(tmp_path / "photo.jpg")
    expect_digit(page, 6)
    expect(page.locator("#state-text")).to_have_text("Up to date")
    progress = page.evaluate("progress")
    assert progress[0] == "Shrinking"
    assert re.fullmatch(r"Sending \d+ kB, then reading", progress[-2])
    assert progress[-1] is None
    large = [size for size in sizes if size > 4000]
    assert len(large) <= 1
    assert not large or large[0] < 0.6 * (tmp_path / "photo.jpg").stat().st_size
    width = page.evaluate(
        "import('/page/state.js').then(({ state }) => state.prepared.prediction.input.width)"
    )
    assert width == 1600


def test_a_photo_can_be_cancelled(page: Page, line: Line, tmp_path: Path) -> None:
    """Cancel gives the old picture back, and its answer."""
    (tmp_path / "photo.jpg").write_bytes(_photo(6, 1600))
    line.hold()
    page.locator("#file").set_input_files(tmp_path / "photo.jpg")
    expect(page.locator("#state-text")).to_have_text(re.compile("Sending"))
    page.get_by_role("button", name="Cancel").click()
    line.release()
    expect_up_to_date(page)
    expect(page.locator("#state-text")).to_have_text("Up to date")
    expect_digit(page, 7)


def test_a_photo_stays_upright_and_transparent_ink_stays_ink(page: Page, tmp_path: Path) -> None:
    """The orientation of EXIF is kept, and what is transparent does not become black."""
    sideways = Image.open(io.BytesIO(_photo(7, 2000))).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    sideways.save(tmp_path / "sideways.jpg", exif=exif)
    page.get_by_label("Sample digit 4").click()
    expect_digit(page, 4)
    page.locator("#file").set_input_files(tmp_path / "sideways.jpg")
    expect_digit(page, 7)
    ink = Image.open(io.BytesIO(sample_png(2))).convert("L").resize((1700, 1700))
    Image.merge("LA", (Image.new("L", ink.size, 0), ink)).save(tmp_path / "ink.png")
    page.locator("#file").set_input_files(tmp_path / "ink.png")
    expect_digit(page, 2)


def test_a_failed_part_offers_to_try_again(page: Page) -> None:
    """A part whose request fails says so in its place, and tries again on request."""
    failures = [True]

    def fail_once(route: Route) -> None:
        if failures:
            failures.pop()
            route.fulfill(status=500, json={"detail": "It failed."})
        else:
            route.continue_()

    page.route("**/neighbours?*", fail_once)
    part = _add_part(page)
    note = part.locator(".part-failed")
    expect(note).to_contain_text("It failed.")
    note.get_by_role("button", name="Try again").click()
    expect(part).to_have_attribute("data-revision", ANY)
    expect(note).to_have_count(0)


def test_a_part_survives_a_short_break(page: Page, line: Line) -> None:
    """A part whose request the break has cut is there when the service is back, without a click."""
    line.cut()
    part = _add_part(page)
    expect(part).to_contain_text("This part did not arrive.")
    line.mend()
    expect(part).to_have_attribute("data-revision", ANY)
    expect(part.locator(".part-failed")).to_have_count(0)


def test_a_lost_script_of_a_mode_is_requested_again(page: Page) -> None:
    """A mode whose script does not arrive says so in its place, and tries again on request."""
    lost = [True]
    page.route(
        "**/page/learning.js",
        lambda route: route.abort() if lost and lost.pop() else route.continue_(),
    )
    page.locator("#modes [data-mode=learn]").click()
    part = page.locator("#panel-body [data-view=learn]")
    expect(part).to_contain_text("This part did not arrive.")
    part.get_by_role("button", name="Try again").click()
    expect(part).to_contain_text("What is it really?")
    page.locator("#modes [data-mode=look]").click()


@pytest.mark.parametrize("losses", [1, 2])
def test_a_lost_script_does_not_leave_an_empty_page(
    context: BrowserContext, line: Line, losses: int
) -> None:
    """A script that the page needs is requested again until it arrives."""
    page = context.new_page()
    left = [losses]

    def lose(route: Route) -> None:
        left[0] -= 1
        if left[0] >= 0:
            route.abort()
        else:
            route.continue_()

    page.route("**/prediction.js", lose)
    page.goto(f"{line.address}/")
    expect_digit(page, 7)
    page.close()


def test_a_page_that_cannot_start_says_so(context: BrowserContext, line: Line) -> None:
    """If a script never arrives, the page says so and offers to load it again."""
    page = context.new_page()
    page.add_init_script("window.setTimeout = ((wait) => (run) => wait(run, 0))(window.setTimeout)")
    page.route("**/prediction.js", lambda route: route.abort())
    page.goto(f"{line.address}/")
    expect(page.locator("#banner")).to_contain_text("The page did not arrive as a whole.")
    page.unroute("**/prediction.js")
    page.get_by_role("button", name="Try again").click()
    expect_digit(page, 7)
    page.close()


def test_several_digits_are_read_and_opened(page: Page) -> None:
    """A drawn 42 is read as 42 with a box around each digit; each can be opened."""
    page.locator("#clear").click()
    draw_by_mouse(page, [(0.2, 0.2), (0.1, 0.55), (0.4, 0.55)])
    draw_by_mouse(page, [(0.32, 0.3), (0.3, 0.8)])
    draw_by_mouse(
        page, [(0.58, 0.3), (0.7, 0.2), (0.82, 0.3), (0.8, 0.45), (0.6, 0.78), (0.9, 0.78)]
    )
    digits = page.locator(".several-digit")
    expect(digits).to_have_text(["4", "2"])
    expect(page.locator(".boxes .box")).to_have_count(2)
    expect_digit(page, 4)
    expect(page.locator("#verdict")).to_have_text("Two digits: 4 2.")
    digits.nth(1).click()
    expect_digit(page, 2)
    expect(page.locator("#warnings")).not_to_contain_text("POST")
    page.locator("#undo").click()
    expect(digits).to_have_count(0)


def test_two_digits_above_each_other_are_read_on_request(page: Page) -> None:
    """They may be the parts of one digit, so the service does not warn; the page offers it."""
    page.locator("#clear").click()
    page.locator("#brush").fill("12")
    draw_by_mouse(page, [(0.4, 0.08), (0.35, 0.28), (0.6, 0.28)])
    draw_by_mouse(page, [(0.54, 0.18), (0.52, 0.42)])
    draw_by_mouse(page, [(0.5, 0.58), (0.49, 0.92)])
    page.get_by_role("button", name="Read them all").click()
    expect(page.locator(".several-digit")).to_have_text(["4", "1"])
    page.get_by_label("Sample digit 2").click()
    expect_digit(page, 2)
    expect(page.get_by_role("button", name="Read them all")).to_have_count(0)


def test_a_form_shows_its_fields(page: Page, tmp_path: Path) -> None:
    """An uploaded form shows its digits, and the text of each field."""
    sheet = Image.new("L", (900, 300), 255)
    for at, digit in enumerate((4, 2, 7)):
        ink = Image.open(io.BytesIO(sample_png(digit))).convert("L").resize((140, 140))
        left = 60 + 280 * at
        outline = Image.new("L", (240, 200), 60)
        outline.paste(255, (5, 5, 235, 195))
        sheet.paste(outline, (left, 50))
        sheet.paste(Image.new("L", ink.size, 20), (left + 50, 80), ink)
    sheet.save(tmp_path / "form.png")
    page.locator("#file").set_input_files(tmp_path / "form.png")
    expect(page.locator(".several-digit")).to_have_text(["4", "2", "7"])
    expect(page.locator(".several-fields li")).to_have_text(["4", "2", "7"])
    expect(page.locator(".boxes .field")).to_have_count(3)
