"""The panel shows columns, channels, numbers and their sums, and the modes; each has an address."""

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Running
from tests.browser.hand import (
    ONE,
    choose_network,
    choose_sample,
    click_on_map,
    draw_by_mouse,
    expect_digit,
    expect_panel_filled,
    open_mode,
    open_place,
    stay_lost,
    stop_clock,
    wait_for_state,
)

pytestmark = pytest.mark.browser
SLIDE_MS = 250  # that the sliding kernel stays on a place, after the panel shows it


def _number(text: str) -> float:
    """Read a number as the page writes it."""
    plain = text.replace("−", "-").replace(" × 10", "e").replace("\u202f", "")
    superscripts = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    return float(plain.translate(superscripts))


def _colours(picture: Locator) -> list[int]:
    return picture.evaluate(
        """canvas => {
          const context = canvas.getContext("2d");
          return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
        }"""
    )


@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_network_is_a_table_of_its_columns(page: Page, site: Running) -> None:
    """With nothing opened, the panel lists the columns with their steps and learned numbers."""
    network = page.request.get(f"{site.address}/models/classic/layers").json()
    rows = page.locator(".columns-table tbody tr")
    expect(rows).to_have_count(9)
    cells = rows.nth(1).locator("td").all_text_contents()
    assert cells[:3] == ["pad → conv → bn → relu", "28×28 ×32", "416"]
    learned = [_number(text) for text in page.locator("tbody td:nth-child(4)").all_text_contents()]
    assert sum(learned) == network["parameters"]


def test_column_opens_into_its_steps(page: Page, site: Running) -> None:
    """Each step has the sentence and the formula of its layer, its channels and its figures."""
    layers = page.request.get(f"{site.address}/models/classic/layers").json()["layers"]
    named = {layer["name"]: layer for layer in layers}
    open_place(page, "relu_1_2")
    view = page.locator(".column-view")
    for name in ("relu_1_2", "bn_1_2", "conv_1_2"):
        view.locator(".step-button", has_text=name).click()
        expect_panel_filled(page)
        expect(view).to_contain_text(named[name]["description"])
        expect(page.locator("#panel-foot")).to_contain_text(named[name]["formula"])
        expect(view.locator(".step-values h3")).to_contain_text(name)
    expect(page).to_have_url(re.compile("at=conv_1_2$"))
    view.get_by_text("Table of the channels").click()
    expect(view.locator("tbody tr")).to_have_count(32)
    view.locator(".overlay").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#panel-title")).to_contain_text("channel 1")


def test_sum_behind_a_number(page: Page) -> None:
    """The terms of a convolution add up to the network's value; its nine products to a term."""
    open_place(page, "relu_2_1:2:3,4")
    view = page.locator(".number-view")
    expect(page.locator("#panel-title")).to_contain_text(re.compile("3, (column )?4$"))
    view.get_by_text("All 32 terms").click()
    expect(view.locator(".terms table td")).to_have_count(32)
    terms = [_number(text) for text in view.locator(".terms table td").all_text_contents()]
    total = _number(view.locator(".terms .total code").inner_text())
    assert sum(terms) == pytest.approx(total, rel=1e-3, abs=1e-3)
    steps = view.locator(".comes-about li b").all_text_contents()
    assert steps == ["convolution", "batch norm", "ReLU"]
    said = view.locator(".sum")
    observed = float(said.get_attribute("data-observed") or "nan")
    assert float(said.get_attribute("data-reconstructed") or "nan") == pytest.approx(
        observed, abs=1e-4
    )
    products = view.locator(".matrix").nth(2)
    added = sum(_number(text) for text in products.locator("td").all_text_contents())
    largest = _number(view.locator(".terms li > code").first.inner_text())
    assert added == pytest.approx(largest, abs=0.02)
    expect(page.locator("#map-lit rect.pointed")).to_have_count(1)


def test_term_becomes_the_number(page: Page) -> None:
    """Following the largest terms leads from an output back to a grey level of the image."""
    open_place(page, "logits:7")
    title = page.locator("#panel-title")
    expect(page.locator(".number-view")).to_be_visible()
    for column in ("dense", "pool 2", "conv 2·2", "conv 2·1", "pool 1", "conv 1·2", "conv 1·1"):
        page.locator(".number-view .terms button.link").first.click()
        expect(title).to_contain_text(column)
    page.locator(".number-view .terms button.link").first.click()
    expect(title).to_contain_text("input")
    expect(page.locator(".number-view")).to_contain_text("grey level")


def test_outputs_show_exponentials_and_shares(page: Page) -> None:
    """An output is the share of its exponential; its terms are the shares of all outputs."""
    open_place(page, "softmax:7")
    view = page.locator(".number-view")
    expect(view.locator(".terms li")).to_have_count(7)
    shares = [_number(text) for text in view.locator(".terms li > code").all_text_contents()]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(1, abs=0.01)


def test_each_level_has_an_address(page: Page) -> None:
    """Opening makes entries of the history; Back and Escape go a level up; a reload keeps it."""
    title = page.locator("#panel-title")
    page.locator("#map-heads button", has_text="conv 2·1").click()
    expect(title).to_contain_text("conv 2·1")
    click_on_map(page, "conv 2·1", 9)
    expect(title).to_contain_text("channel 9")
    page.locator(".channel-view .overlay").first.focus()
    page.keyboard.press("Control+Home")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("at=relu_2_1:9:0,0$"))
    expect(page.locator(".number-view")).to_be_visible()
    page.reload()
    expect(title).to_contain_text(re.compile("0, (column )?0"))
    expect_digit(page, 7)
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("at=relu_2_1:9$"))
    page.go_back()
    expect(page).to_have_url(re.compile("at=relu_2_1:9:0,0$"))
    for _ in range(3):
        page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("at="))
    page.get_by_role("button", name="Why", exact=True).click()
    expect(page).to_have_url(re.compile("v=why"))
    page.go_back()
    expect(page).not_to_have_url(re.compile("v=why"))


def test_unknown_places_are_ignored(page: Page, site: Running) -> None:
    """A link to a layer that the network does not have shows the network."""
    page.goto("about:blank")  # else the page follows the link and replaces it before it is loaded
    page.goto(f"{site.address}/#m=classic&at=nowhere:3&v=dance&x=%")
    page.wait_for_selector("html[data-ready]")
    expect_digit(page, 7)
    expect(page.locator("#modes [aria-current]")).to_contain_text("Look")


def test_opened_number_follows_a_new_drawing(page: Page) -> None:
    """What is opened is shown again for each new digit."""
    open_place(page, "conv_1_1:3:14,14")
    heading = page.locator(".comes-about h3")
    expect(page.locator(".number-view")).to_be_visible()
    before = heading.text_content()
    exact = (before or "").removeprefix("How ").removesuffix(" comes about")
    expect(page.locator(".found .readout")).to_have_text(f"row 14, column 14: {exact}")
    page.locator("#clear").evaluate("button => button.click()")
    draw_by_mouse(page, ONE)
    expect_digit(page, 1)
    expect(heading).not_to_have_text(before or "")


def test_part_that_failed_is_tried_again(page: Page) -> None:
    """A part whose values do not come says so in its place, and offers to try again."""
    stay_lost(page)
    page.route("**/layers/relu_1_1/unit*", lambda route: route.abort())
    open_place(page, "relu_1_1:3:14,14")
    expect(page.locator("#panel-body")).to_contain_text("This part did not arrive.")
    page.unroute("**/layers/relu_1_1/unit*")
    page.locator("#panel-body").get_by_role("button", name="Try again").click()
    expect(page.locator(".number-view")).to_be_visible()


def test_why_and_why_not(page: Page) -> None:
    """The user chooses method, class and contrast; the honesty check is shown next to the map."""
    part = open_mode(page, "why")
    expect(part.locator(".honesty")).to_contain_text("Rank correlation")
    expect(part.locator(".honesty")).to_contain_text("The map adds up to")
    part.get_by_label("Method").select_option("occlusion")
    part.get_by_label("and not").select_option("1")
    expect(part).to_contain_text("the score of 7 minus the score of 1")
    part.get_by_text("Similar training digits").scroll_into_view_if_needed()
    expect(part.locator(".alike li")).to_have_count(8)


def test_pictures_on_the_map_switch_channels_off(page: Page) -> None:
    """The bars show the answer without the switched-off channels; all on restores them."""
    part = open_mode(page, "whatif")
    said = part.locator(".outcome")
    expect(said).to_contain_text("All channels are on")
    value = part.locator(".bars .value").nth(7)
    before = value.get_attribute("title")
    page.evaluate(
        "import('./page/address.js').then(({ go }) => go({ mode: 'whatif', "
        "off: { layer: 'relu_1_1', channels: [9, 28] } }))"
    )
    expect(said).to_have_attribute("data-off", "9,28")
    if (page.viewport_size or {})["width"] > 700:
        click_on_map(page, "conv 1·1", 12)
        expect(page.locator("#map-off .off")).to_have_count(3)
    expect(said).to_contain_text(re.compile("Still a|is read as"))
    assert value.get_attribute("title") != before
    part.get_by_role("button", name="conv 1·1, 9").or_(
        part.get_by_role("button", name="Channel 9 of conv 1·1")
    ).first.click()
    expect(said).not_to_have_attribute("data-off", re.compile("^9"))
    part.get_by_role("button", name="All on").click()
    expect(said).to_contain_text("All channels are on")
    expect(value).to_have_attribute("title", before or "")
    part.get_by_role("button", name="Rank this column").click()
    expect(part.locator("tbody tr")).to_have_count(12)


def test_pinned_image_is_compared(page: Page) -> None:
    """A pinned 7 and a drawn 1 are compared, with their similarity in each layer."""
    part = open_mode(page, "compare")
    part.get_by_role("button", name="Pin this image").click()
    choose_sample(page, 1)
    expect_digit(page, 1)
    expect(part.locator("figcaption")).to_contain_text(["Pinned: 7", "Now: 1"])
    expect(part.locator("tbody tr")).to_have_count(26)


def test_another_network_is_chosen(page: Page) -> None:
    """Choosing another network updates the page and keeps the drawing."""
    part = open_mode(page, "compare")
    expect(part.locator("article")).to_have_count(2)
    part.get_by_role("button", name="Look inside other").click()
    expect(page.locator("#model")).to_have_value("other")
    expect_digit(page, 7)
    expect(page).to_have_url(re.compile("m=other"))
    expect(part.locator(".chosen")).to_have_attribute("data-model", "other")
    epochs = open_mode(page, "training")
    expect(epochs).to_contain_text("No epochs of the network other were saved")


def test_late_responses_of_another_network_are_dropped(page: Page) -> None:
    """A response about the previous network is dropped after another one is chosen."""
    late: list[Route] = []
    page.route("**/models/classic/training", lambda route: late.append(route))
    with page.expect_request("**/models/classic/training"):
        page.locator("#modes [data-mode=training]").click()
    choose_network(page, "other")
    said = page.locator("[data-view=training]")
    expect(said).to_contain_text("No epochs of the network other were saved")
    late[0].continue_()
    page.unroute("**/models/classic/training")
    page.evaluate("fetch('models/classic/training').then((answer) => answer.text())")
    expect(said).to_contain_text("No epochs of the network other were saved")


def test_epoch_slider(page: Page) -> None:
    """Moving the slider shows kernels, maps and answer of that epoch."""
    part = open_mode(page, "training")
    said = part.locator("output")
    expect(said).to_contain_text("After epoch 1 of 30")
    kernels = _colours(part.locator("canvas").first)
    slider = part.get_by_role("slider")
    slider.focus()
    page.keyboard.press("End")
    expect(said).to_contain_text("After epoch 30 of 30")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("After epoch 30 of 30"))
    assert _colours(part.locator("canvas").first) != kernels
    part.get_by_role("combobox").select_option("relu_2_2")
    expect(part).to_contain_text("The kernel of channel 0 in conv_2_2")
    expect(said).to_contain_text("After epoch 30 of 30")


def test_channel_has_its_kernel_and_what_it_looks_for(page: Page) -> None:
    """Next to a channel's picture are its kernel, a picture made for it, and what it reads most."""
    open_place(page, "relu_1_2:3")
    view = page.locator(".channel-view")
    expect(view.get_by_role("grid", name="Kernel: 32 tables")).to_be_visible()
    expect(view.locator(".looks-for img")).to_be_visible()
    expect(view.locator(".looks-for")).to_contain_text("raises the answer from")
    expect(view.locator(".reads li")).to_have_count(8)


@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_kernel_slides_until_the_pointer_stops_it(page: Page) -> None:
    """The kernel goes from place to place; a press anywhere keeps the place."""
    open_place(page, "relu_2_1:2:3,4")
    expect_panel_filled(page)
    stop_clock(page)
    page.get_by_role("button", name="Slide the kernel").click()
    for place in ("3,5", "3,6", "3,7"):
        page.clock.run_for(SLIDE_MS)
        expect(page).to_have_url(re.compile(f"at=relu_2_1:2:{place}$"))
        expect_panel_filled(page)
        page.clock.run_for(SLIDE_MS - 1)
        expect(page).to_have_url(re.compile(f"at=relu_2_1:2:{place}$"))
    page.locator(".number-view h3").first.click()
    page.clock.run_for(10 * SLIDE_MS)
    expect(page).to_have_url(re.compile("at=relu_2_1:2:3,7$"))
    expect(page.get_by_role("button", name="Slide the kernel")).to_be_visible()


@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_map_shows_the_difference_to_the_pinned_image(page: Page) -> None:
    """The difference of a picture to itself is zero everywhere; without the mode it is gone."""
    part = open_mode(page, "compare")
    colours = """async () => {
      const { map } = await import("./page/map_view.js");
      const { state } = await import("./page/state.js");
      const shown = state.map.layers.find(({ name }) => name === "relu_1_1");
      const values = map.transform ? map.transform(shown).values : shown.values;
      return new Set(values).size;
    }"""
    assert page.evaluate(colours) > 20
    part.get_by_role("button", name="Pin this image").click()
    expect(part.locator("tbody tr")).to_have_count(26)
    assert page.evaluate(colours) == 1
    described = """async () => {
      const { describeChannel } = await import("./page/map_keys.js");
      const { map } = await import("./page/map_view.js");
      return describeChannel(map.columns[1], 0);
    }"""
    nothing = "Channel 0 of 32, difference, largest 0 at row 0, column 0"
    assert page.evaluate(described) == nothing
    choose_sample(page, 4)
    expect_digit(page, 4)
    wait_for_state(page, "map.meaning === 'difference'")
    assert page.evaluate(colours) > 20
    assert page.evaluate(described) != nothing
    page.locator("#modes [data-mode=look]").click()
    wait_for_state(page, "map.transform === null && map.meaning === null")
