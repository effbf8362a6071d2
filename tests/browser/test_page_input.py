"""The page reads drawings, uploads, pasted images and links, and survives a lost server."""

import base64
import io
from pathlib import Path

import httpx2 as httpx
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from app.samples import sample_png
from tests.browser.conftest import PREFIX, Running
from tests.browser.hand import (
    ONE,
    choose_sample,
    draw_by_mouse,
    draw_by_touch,
    drop_timers,
    expect_digit,
    expect_up_to_date,
)

pytestmark = pytest.mark.browser
IDLE_MS = 3000  # after the first answer, until the page loads what photos and samples need
MESSAGE_MS = 6000  # until a message closes by itself


def _photo(digit: int) -> bytes:
    """A sample digit as dark ink on a light sheet of 300x240."""
    ink = Image.open(io.BytesIO(sample_png(digit))).convert("L").resize((200, 200))
    sheet = Image.new("L", (300, 240), 235)
    sheet.paste(Image.new("L", ink.size, 30), (50, 20), ink)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _received(page: Page) -> str:
    return page.locator("#thumbs span:last-child img").get_attribute("src") or ""


def open_received(page: Page) -> None:
    """Open the stages of the preparation by their address."""
    page.evaluate("import('./page/address.js').then(({ go }) => go({ mode: 'received' }))")
    expect(page.locator("#film")).to_be_visible()


def test_first_view_is_a_seven_that_is_read(page: Page) -> None:
    """The first view shows a 7 and its reading, with ten probabilities that sum to 1."""
    expect_digit(page, 7)
    expect(page.locator("#verdict")).to_contain_text("It is a 7")
    titles = page.locator("#bars .value").evaluate_all("cells => cells.map(cell => cell.title)")
    shares = [
        float(one.replace(" × 10⁻", "e-").translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")))
        for one in titles
    ]
    assert len(shares) == 10
    assert abs(sum(shares) - 1) < 1e-4


def test_first_view_is_small(context: BrowserContext, server: str) -> None:
    """The first view takes at most 25 requests and 80 kB, including responses of the API."""
    page = context.new_page()
    drop_timers(page, IDLE_MS)
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    asked: set[str] = set()
    sizes: list[float] = []
    devtools.on("Network.requestWillBeSent", lambda event: asked.add(event["request"]["url"]))
    devtools.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(f"{server}/")
    page.wait_for_selector("html[data-ready]")
    if (page.viewport_size or {})["width"] > 700:
        expect(page.locator(".columns-table")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert len([url for url in asked if url.startswith("http")]) <= 25
    assert 10_000 < sum(sizes) < 80_000


def test_mouse_draws_and_undo_restores(page: Page) -> None:
    """A line drawn by mouse is read as 1; undoing twice restores the 7."""
    page.locator("#clear").click()
    expect(page.locator("#verdict")).to_have_text("Nothing is drawn.")
    draw_by_mouse(page, ONE)
    expect_digit(page, 1)
    expect(page.locator("#second")).to_contain_text("Next: ")
    page.locator("#undo").click()
    page.locator("#undo").click()
    expect_digit(page, 7)


def test_answer_updates_while_drawing(page: Page) -> None:
    """The answer changes while the mouse button is still down."""
    page.locator("#clear").click()
    expect(page.locator("#verdict")).to_have_text("Nothing is drawn.")
    draw_by_mouse(page, ONE, lift=False)
    expect_digit(page, 1)
    page.mouse.up()
    expect(page.locator("#received")).to_have_attribute("data-revision", "2")
    expect_digit(page, 1)


@pytest.mark.parametrize("context", ["phone"], indirect=True)
def test_touch_draws_and_does_not_scroll(page: Page) -> None:
    """A line drawn by finger is read as 1, and the page does not scroll."""
    page.locator("#clear").tap()
    draw_by_touch(page, ONE)
    expect_digit(page, 1)
    assert page.evaluate("scrollY") == 0


def test_keyboard_draws(page: Page) -> None:
    """Arrow keys and Space draw a 1, and the live region announces it."""
    page.locator("#clear").focus()
    page.keyboard.press("Enter")
    page.locator("#pad").focus()
    for key in ["Shift+ArrowUp"] * 2 + [" "] + ["ArrowDown"] * 16 + [" "]:
        page.keyboard.press(key)
    expect_digit(page, 1)
    expect(page.locator("#live")).to_contain_text("It is a 1.")


def test_scribble_is_called_not_a_digit(page: Page) -> None:
    """A scribble does not look like a digit; the closest one is named."""
    page.locator("#clear").click()
    draw_by_mouse(page, [(0.2 + 0.03 * at, 0.25 + 0.4 * (at % 2)) for at in range(20)])
    expect(page.locator("#verdict")).to_have_text("This does not look like a digit.")
    expect(page.locator("#sure")).to_contain_text("Closest: ")
    expect(page.locator("#digit")).to_have_text("–")


def test_upload_of_a_photo(page: Page, tmp_path: Path) -> None:
    """A photo is read with its preparation shown; switching a stage off shows its effect."""
    (tmp_path / "three.png").write_bytes(_photo(3))
    page.locator("#file").set_input_files(tmp_path / "three.png")
    expect_digit(page, 3)
    open_received(page)
    expect(page.locator("#film .frame")).to_have_count(8)
    last = page.locator("#film .last")
    whole = last.locator("img").get_attribute("src")
    switch, other = (
        page.locator(f"#film [data-stage={name}] button") for name in ("centre", "clean")
    )
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#film [data-stage=centre] .said")).to_contain_text("Without it: ")
    expect(last).to_contain_text("Without the stage “Centred”, the network would receive this.")
    assert last.locator("img").get_attribute("src") != whole
    other.click()
    expect(switch).to_have_attribute("aria-pressed", "true")
    expect(last).to_contain_text("Without the stage “Cleaned”")
    other.click()
    expect(last).to_contain_text("The network sees only this.")
    assert last.locator("img").get_attribute("src") == whole


def test_large_photo_is_reduced(page: Page, tmp_path: Path) -> None:
    """A file of more than 4 MiB is made smaller by the page, and read."""
    photo = Image.open(io.BytesIO(_photo(3))).convert("RGB").resize((1800, 1440))
    photo.save(tmp_path / "three.bmp")
    assert (tmp_path / "three.bmp").stat().st_size > 4 << 20
    page.locator("#file").set_input_files(tmp_path / "three.bmp")
    expect_digit(page, 3)


def test_refusal_of_the_service_is_shown(page: Page) -> None:
    """A problem document of the service is shown in place of the answer."""
    problem = {"type": "urn:digitscope:problem:too-large", "detail": "Too many pixels."}
    page.route("**/preprocess?*", lambda route: route.fulfill(status=413, json=problem))
    choose_sample(page, 2)
    expect(page.locator("#verdict")).to_have_text("This image could not be read.")
    expect(page.locator("#sure")).to_have_text("Too many pixels.")


def test_invalid_file_is_reported(page: Page, tmp_path: Path) -> None:
    """A file that is no image is reported and leaves the drawing alone."""
    drop_timers(page, MESSAGE_MS)
    (tmp_path / "three.png").write_bytes(b"no image")
    page.locator("#file").set_input_files(tmp_path / "three.png")
    expect(page.locator("#banner")).to_contain_text("This is not a picture that can be read.")
    expect_up_to_date(page)
    expect(page.locator("#banner")).to_be_visible()
    expect_digit(page, 7)
    choose_sample(page, 2)
    expect_digit(page, 2)
    expect(page.locator("#banner")).to_be_hidden()


def test_format_that_browsers_lack_is_read(page: Page, tmp_path: Path) -> None:
    """No browser decodes TIFF; the surface shows the image that the service prepared."""
    Image.open(io.BytesIO(_photo(5))).save(tmp_path / "five.tif")
    page.locator("#file").set_input_files(tmp_path / "five.tif")
    expect_digit(page, 5)
    open_received(page)
    expect(page.locator("#film figure[data-stage=clean]")).to_be_visible()


def test_nothing_moves_and_no_message_covers_a_control(page: Page) -> None:
    """Clearing the surface and a message leave every control where it was; the message closes."""
    places = """() => [...document.querySelectorAll("#modes, #draw .tools, .map, #received")]
      .map((element) => JSON.stringify(element.getBoundingClientRect()))"""
    drop_timers(page, MESSAGE_MS)
    before = page.evaluate(places)
    page.locator("#clear").click()
    expect(page.locator("#warnings")).to_contain_text("the last digit that was read")
    page.evaluate(
        "import('./page/state.js').then(({ emit }) => emit('error', new Error('A message.')))"
    )
    expect(page.locator("#banner")).to_contain_text("A message.")
    assert page.evaluate(places) == before
    page.locator("#modes button").first.click()
    page.get_by_role("button", name="Close the message").click()
    expect(page.locator("#banner")).to_be_hidden()


def test_outdated_parts_are_dimmed(page: Page, tmp_path: Path) -> None:
    """With a blank surface or image, the parts about the previous digit are dimmed."""
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(answer.url) if not answer.ok else None)
    page.locator("#clear").click()
    expect(page.locator("#verdict")).to_have_text("Nothing is drawn.")
    expect(page.locator("body")).to_have_attribute("data-stale", "true")
    expect(page.locator("#warnings")).to_contain_text("the last digit that was read")
    expect(page.locator("#bars .best")).to_have_count(0)
    assert not refused
    choose_sample(page, 8)
    expect(page.locator("#verdict")).to_contain_text("It is an 8")
    expect(page.locator("body")).not_to_have_attribute("data-stale", "true")
    Image.new("L", (60, 60), 255).save(tmp_path / "blank.png")
    page.locator("#file").set_input_files(tmp_path / "blank.png")
    expect(page.locator("#verdict")).to_have_text("The picture is blank.")
    expect(page.locator("body")).to_have_attribute("data-stale", "true")


def test_paste_from_the_clipboard(page: Page) -> None:
    """An image on the clipboard is read after Ctrl+V."""
    page.evaluate(
        """async (text) => {
          const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
          const blob = new Blob([bytes], { type: "image/png" });
          await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
        }""",
        base64.b64encode(_photo(5)).decode(),
    )
    page.locator("#pad").focus()
    page.keyboard.press("Control+V")
    expect_digit(page, 5)


def test_drop_of_a_file(page: Page) -> None:
    """An image dropped on the page is read."""
    page.evaluate(
        """(text) => {
          const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], "two.png", { type: "image/png" }));
          document.querySelector("#pad").dispatchEvent(
            new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        base64.b64encode(_photo(2)).decode(),
    )
    expect_digit(page, 2)


def test_samples_are_read(page: Page) -> None:
    """Each sample digit is read rightly, and can be drawn on."""
    for digit in (0, 4, 9):
        choose_sample(page, digit)
        expect_digit(page, digit)
    open_received(page)
    expect(page.locator("#without")).to_contain_text("already has 28 × 28")
    draw_by_mouse(page, [(0.1, 0.9), (0.2, 0.9)])
    expect(page.locator("#film .frame")).to_have_count(8)


def test_permalink_in_a_new_tab(page: Page, context: BrowserContext, site: Running) -> None:
    """A copied link opens with the same 28x28 pixels; the part after # is never sent."""
    choose_sample(page, 8)
    expect_digit(page, 8)
    received = _received(page)
    if not page.locator("#share").is_visible():
        page.get_by_role("button", name="More").click()
    page.get_by_role("button", name="Share").click()
    expect(page.locator("#banner")).to_contain_text("on the clipboard")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{site.address}/#d=")
    tab = context.new_page()
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(link)
    expect_digit(tab, 8)
    assert _received(tab) == received
    assert not [url for url in asked if link.split("#d=")[1][:20] in url.split("#")[0]]


def test_link_with_a_model_alone_chooses_it(
    page: Page, context: BrowserContext, site: Running
) -> None:
    """`digitscope import` ends with such a link; the bars have the names of the model's classes."""
    tab = context.new_page()
    tab.goto(f"{site.address}/#m=classic")
    expect(tab.locator("#model")).to_have_value("classic")
    expect(tab.locator("#bars li")).to_have_count(10)
    expect(tab.locator("#bars .name").nth(3)).to_have_text("3")


def test_damaged_link_is_reported(page: Page, site: Running) -> None:
    """A truncated link is reported and leaves the first drawing."""
    page.goto("about:blank")  # else the page follows the link, and may replace its digit
    page.goto(f"{site.address}/#d=AAAA")
    expect(page.locator("#banner")).to_contain_text("The link is damaged")
    expect_digit(page, 7)


@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_what_a_link_cannot_open_is_said(page: Page, site: Running) -> None:
    """An unknown network, channel or layer is named once; the nearest place is opened."""
    page.goto("about:blank")  # else the page follows the link and replaces it before it is loaded
    page.goto(f"{site.address}/#m=none&v=whatif&at=relu_2_1:999&off=relu_2_1:3,999")
    banner = page.locator("#banner")
    expect(banner).to_contain_text("There is no network “none”: this is classic.")
    expect(banner).to_contain_text("the last one, 63, is shown")
    expect(banner).to_contain_text("relu_2_1 has no channel 999: it cannot be switched off.")
    expect_digit(page, 7)
    expect(banner).to_be_visible()
    expect(page.locator("#panel-body .outcome")).to_have_attribute("data-off", "3")


@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_back_returns_to_the_network_before(page: Page) -> None:
    """Switching the network makes an entry of the history; what is shown is marked at once."""
    page.locator("#networks [data-model=other]").click()
    expect(page.locator("#model")).to_have_value("other")
    page.go_back()
    expect(page.locator("#model")).to_have_value("classic")
    expect(page.locator("#state-line")).to_have_attribute("data-state", "answered")


def test_server_lost_and_back(page: Page, site: Running) -> None:
    """A banner reports that the server is lost; drawings are kept and read later."""
    page.locator("#clear").click()
    expect(page.locator("#verdict")).to_have_text("Nothing is drawn.")
    site.stop()
    try:
        draw_by_mouse(page, ONE)
        expect(page.locator("#banner")).to_contain_text("The service does not answer")
        before = page.locator("#pad").evaluate("canvas => canvas.toDataURL()")
    finally:
        site.start()
    expect(page.locator("#banner")).to_contain_text("The service is back")
    expect_digit(page, 1)
    assert page.locator("#pad").evaluate("canvas => canvas.toDataURL()") == before


@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_curl_command_gives_the_same_answer(page: Page) -> None:
    """The copied curl command gives the digit that the page shows."""
    page.get_by_role("button", name="Copy curl command for the prediction").click()
    expect(page.locator("#banner")).to_contain_text("on the clipboard")
    command = page.evaluate("navigator.clipboard.readText()")
    url, body = command.split("'")[1], command.split("'")[5]
    answer = httpx.post(url, content=body, headers={"Content-Type": "application/json"}).json()
    assert answer["digit"] == 7


@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_page_works_behind_a_path_prefix(context: BrowserContext, site: Running) -> None:
    """Behind a path prefix every request of the page keeps the prefix."""
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{site.address}{PREFIX}/")
    expect_digit(page, 7)
    http = [url for url in asked if url.startswith("http")]
    assert all(url.startswith(f"{site.address}{PREFIX}/") for url in http)
