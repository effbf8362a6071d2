"""The map of the network: columns, pictures and lines; by pointer, by keyboard and as a table."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import SIZES, Running, open_window
from tests.browser.hand import (
    ONE,
    choose_network,
    choose_sample,
    click_on_map,
    draw_by_mouse,
    expect_digit,
    open_mode,
    picture_on_map,
    stop_clock,
    wait_for_painting,
    wait_for_state,
)

pytestmark = pytest.mark.browser

CLASSIC = ["input", "conv 1·1", "conv 1·2", "pool 1", "conv 2·1", "conv 2·2", "pool 2", "dense"]
CLASSIC += ["outputs"]
COLUMNS = """async (network) => {
  const { columnsOf, membersOf, shapeText } = await import("./page/columns.js");
  const columns = columnsOf(network);
  return { members: membersOf(columns).map(({ name }) => name), columns: columns.map((column) => ({
    title: column.title, role: column.role, inputs: column.inputs, shape: shapeText(column),
    steps: column.layers.map(({ name }) => name), shown: column.shown?.name ?? null })) };
}"""


LEARNED = """async () => (await import("./page/map_view.js")).map.columns
  .flatMap(({ layers }) => layers).reduce((sum, { parameters }) => sum + parameters, 0)"""
PICTURES = "document.querySelector('#map-canvas').toDataURL()"


def _layer(
    name: str, inputs: list[str], shape: list[int], kind: str, *, weights: bool
) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "inputs": inputs,
        "output_shape": shape,
        "changes_values": True,
        "weights": [{"name": "kernel", "shape": [3, 3, 1, 1]}] if weights else [],
    }


def test_columns_of_the_classic_network(page: Page, site: Running) -> None:
    """Convolution, batch normalisation and ReLU are one column; padding belongs to what follows."""
    network = page.request.get(f"{site.address}/models/classic/layers").json()
    found = page.evaluate(COLUMNS, network)["columns"]
    assert [column["title"] for column in found] == CLASSIC
    assert found[1]["steps"] == ["pad_1", "conv_1_1", "bn_1_1", "relu_1_1"]
    assert found[6]["steps"] == ["pool_2", "dropout_2", "flatten"]
    assert [column["shown"] for column in found[-3:]] == ["pool_2", "relu_dense", "softmax"]
    assert [column["inputs"] for column in found] == [[], *([at] for at in range(8))]


@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_columns_of_any_network(page: Page) -> None:
    """Branches are columns that read the same one; a network without normalisation has an input."""
    layers = [
        _layer("first", ["image"], [32, 24, 4], "Conv2D", weights=True),
        _layer("left", ["first"], [32, 24, 8], "Conv2D", weights=True),
        _layer("left_relu", ["left"], [32, 24, 8], "ReLU", weights=False),
        _layer("right", ["first"], [32, 24, 8], "Conv2D", weights=True),
        _layer("both", ["left_relu", "right"], [32, 24, 8], "Add", weights=False),
        _layer("rows", ["both"], [32, 8], "Custom", weights=False),
        _layer("output", ["rows"], [3], "Dense", weights=True),
    ]
    found = page.evaluate(COLUMNS, {"layers": layers, "input_shape": [32, 24, 1]})["columns"]
    assert [(column["title"], column["inputs"]) for column in found] == [
        ("input", []),
        ("first", [0]),
        ("left", [1]),
        ("right", [1]),
        ("both", [2, 3]),
        ("outputs", [4]),
    ]
    assert found[0]["shown"] is None
    assert found[0]["shape"] == "32×24"
    assert found[4]["steps"] == ["both", "rows"]


def test_compact_has_ten_columns_and_the_ensemble_nine_lanes(
    context: BrowserContext, server: str
) -> None:
    """The ensemble opens as lanes, for which little is read; a lane opens as a map of its own."""
    page = context.new_page()
    page.goto(f"{server}/")
    page.wait_for_selector("html[data-ready]")
    network = page.request.get(f"{server}/models/compact/layers").json()
    assert len(page.evaluate(COLUMNS, network)["columns"]) == 10
    with page.expect_response("**/inspect?*model=ensemble*") as answer:
        choose_network(page, "ensemble")
    assert len(answer.value.body()) < 8_000
    lanes = page.locator("#lane-list li[data-lane]")
    expect(lanes).to_have_count(9)
    expect(lanes.locator("> b")).to_have_text(["7"] * 9)
    expect(page.locator(".vote .cells span")).to_have_count(10)
    open_mode(page, "whatif")
    expect(page.locator("#off-layer option").first).to_have_text("deep, conv 1·1")
    expect(page.locator("[data-view=whatif]")).to_contain_text("Open a member of the ensemble")
    page.locator("#modes [data-mode=look]").click()
    lanes.filter(has_text="kernel5-2").get_by_role("button").click()
    expect(page).to_have_url(re.compile("lane=kernel5-2"))
    expect(page.locator("#map-body")).to_be_visible()
    expect(page.locator("#map-heads b").first).to_be_attached()
    learned = page.evaluate(LEARNED)
    assert learned < 5_000_000
    if (page.viewport_size or {})["width"] > 700:
        figures = f"{learned:,} learned numbers".replace(",", "\u202f")
        expect(page.locator("#panel-title small")).to_contain_text(figures)
    page.keyboard.press("Escape")
    expect(page.locator("#lane-list")).to_be_visible()


SHARE_ABOVE = {390: 0.4, 667: 0.5, 844: 0.5}  # of a phone's window that may be above its map


@pytest.mark.parametrize("size", [(1440, 900), (390, 844), (667, 375), (844, 390)])
def test_drawing_answer_and_map_are_seen_together(
    browser: Browser, site: Running, size: tuple[int, int]
) -> None:
    """Without scrolling; at desktop size with an opened number too."""
    width, height = size
    options = SIZES["phone"] if width < 1000 else {}
    context = open_window(browser, **{**options, "viewport": {"width": width, "height": height}})
    page = context.new_page()
    is_lying = height < 500  # such a phone shows the map or what is opened
    page.goto(f"{site.address}/{'' if is_lying else '#at=relu_1_2:3:13,14'}")
    page.wait_for_selector("html[data-ready]")
    parts = ["#pad", "#verdict", "#bars", "#map-canvas", *(["#panel"] if width == 1440 else [])]
    if not is_lying:
        expect(page.locator(".number-view")).to_be_visible()
    for part in parts:
        box = page.locator(part).bounding_box()
        assert box, part
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        if part == "#map-canvas" and width in SHARE_ABOVE:
            assert box["y"] < SHARE_ABOVE[width] * height
        else:
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= height, part
    across = page.evaluate("document.documentElement.scrollWidth")
    assert across <= width
    context.close()


def test_map_follows_the_pen(page: Page) -> None:
    """The pictures change with the drawing, and belong to the digit that the page shows."""
    expect_digit(page, 7)
    wait_for_state(page, "state.map?.prediction.digit === 7")
    wait_for_painting(page)
    before = page.evaluate(PICTURES)
    page.locator("#clear").click()
    draw_by_mouse(page, ONE)
    expect_digit(page, 1)
    wait_for_state(page, "state.map?.prediction.digit === 1")
    page.wait_for_function(f"before => {PICTURES} !== before", arg=before)


def test_only_what_is_shown_is_fetched(page: Page) -> None:
    """One request reads the values of all columns in view, and of no other layer."""
    with page.expect_request("**/inspect?*include=map*") as asked:
        choose_sample(page, 5)
    names = re.search(r"layers=([^&]*)", asked.value.url)
    assert names
    shown = names.group(1).split("%2C")
    wanted = ["relu_1_1", "relu_1_2", "pool_1", "relu_2_1", "relu_2_2", "pool_2", "relu_dense"]
    assert [name for name in shown if name != "normalise"] == wanted
    is_phone = (page.viewport_size or {})["width"] < 700
    assert ("normalise" in shown) is not is_phone


def test_constant_channel_has_a_dashed_edge(page: Page) -> None:
    """A picture with one value everywhere has a dashed edge in the colour for edges."""
    edge, ground = page.evaluate(
        """async () => {
          const { MapCanvas } = await import("./page/map_canvas.js");
          const { edgeColour } = await import("./page/colours.js");
          const { layOut } = await import("./page/map_layout.js");
          const column = { shape: [14, 14, 1], channels: 1, role: "hidden" };
          const room = { width: 60, height: 120, flow: "columns", outputs: 0 };
          const painter = new MapCanvas(document.createElement("canvas"));
          painter.setLayout([column], layOut([column], room), 1);
          const layer = { shape: [14, 14, 1], low: 0, high: 1, percentile: 1, constant: [0],
            values: new Uint8Array(196) };
          painter.paint([layer]);
          const colours = new Set(painter.pixels);
          return [colours.has(edgeColour() >>> 0), colours.size];
        }"""
    )
    assert edge
    assert ground == 3  # nothing, zero, and the edge


@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_scale_of_each_picture(page: Page) -> None:
    """With a colour scale for each picture, every picture that is not constant has full colour."""
    full = """async () => {
      const { colours } = await import("./page/colours.js");
      const { map, rectangleOf } = await import("./page/map_view.js");
      const context = document.querySelector("#map-canvas").getContext("2d");
      const darkest = colours("diverging")[255];
      return Array.from({ length: 32 }, (_, channel) => {
        const { x, y, width, height } = rectangleOf(map.columns[1], channel);
        const { data } = context.getImageData(x, y, width, height);
        return new Uint32Array(data.buffer).includes(darkest);
      }).filter(Boolean).length;
    }"""
    wait_for_painting(page)
    before = page.evaluate(full)
    page.get_by_role("button", name="one scale for each column").click()
    expect(page.get_by_role("button", name="each picture by itself")).to_be_visible()
    wait_for_painting(page)
    assert page.evaluate(full) > before + 10


@pytest.mark.parametrize("context", ["desk"], indirect=True)
def test_pointing_shows_what_a_channel_reads_and_feeds(page: Page) -> None:
    """Lines lead to the channels with the largest weights; the readout has the figures."""
    page.mouse.move(*picture_on_map(page, "conv 1·2", 3))
    readout = page.locator("#readout")
    expect(readout).to_contain_text("conv 1·2, channel 3")
    expect(readout).to_contain_text("Strongest at row ")
    expect(page.locator("#map-lit path:not(.veil)")).to_have_count(9)  # 8 in, 1 to the pooling
    expect(page.locator("#map-lit path.more").first).to_be_visible()
    expect(page.locator("#map-lit path.less").first).to_be_visible()
    expect(page.locator("#map-lit .veil")).to_have_count(3)
    page.mouse.move(5, 5)
    expect(page.locator("#map-lit path")).to_have_count(0)
    expect(readout).to_contain_text("Every picture on the map is one channel")


def test_map_by_keyboard(page: Page) -> None:
    """Arrows move along the headings and among the pictures; Enter opens; digits jump."""
    heads = page.locator("#map-heads button:visible")
    heads.first.focus()
    page.wait_for_selector("#map[data-ready]")  # the keys are loaded with the first focus
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(heads.nth(2)).to_be_focused()
    title = heads.nth(2).locator("b").inner_text()
    page.keyboard.press("ArrowDown")
    cell = page.locator("#map-cell")
    expect(page.locator("#map-grid")).to_be_focused()
    expect(cell).to_contain_text(f"{title}: Channel 0 of ")
    stop_clock(page)  # digits belong together if they are typed within 1.5 s
    for key in ("1", "3", "Enter"):
        page.keyboard.press(key)
    expect(cell).to_contain_text(f"{title}: Channel 13 of ")
    page.keyboard.press("]")
    next_title = heads.nth(3).locator("b").inner_text()
    expect(cell).to_contain_text(re.compile(rf"^{next_title}: Channel 13 of \d\d, "))
    page.keyboard.press("Enter")
    expect(page.locator("#panel-title")).to_contain_text("channel 13")
    page.locator("#map-grid").focus()
    page.keyboard.press("Escape")
    expect(heads.nth(3)).to_be_focused()


def test_map_as_a_table_has_the_same_figures(page: Page) -> None:
    """Each column lists its channels with the figures of the pictures, and opens them."""
    figures = page.evaluate(
        """async () => {
          const { map } = await import("./page/map_view.js");
          const { describeChannel } = await import("./page/map_keys.js");
          return describeChannel(map.columns[1], 2);
        }"""
    )
    page.evaluate(
        "import('./page/address.js').then(({ go }) => go({ asTable: true }, { replace: true }))"
    )
    expect(page).to_have_url(re.compile("map=table"))
    page.locator("#map-table summary", has_text="conv 1·1").click()
    row = page.locator("#map-table tbody tr").nth(2)
    largest = row.locator("td").nth(1).inner_text()
    assert f"largest {largest} at {row.locator('td').nth(2).inner_text()}" in figures
    row.get_by_role("button").click()
    expect(page.locator("#panel-title")).to_contain_text("channel 2")


def test_click_opens_a_channel(page: Page) -> None:
    """A click opens the channel, frames its picture and marks its column."""
    click_on_map(page, "conv 1·1", 5)
    expect(page.locator("#panel-title")).to_contain_text("channel 5")
    expect(page.locator("#map-opened rect")).to_have_count(1)
    expect(page.locator("#map-heads [aria-current]")).to_contain_text("conv 1·1")


def test_colour_maps_are_even(page: Page) -> None:
    """On each side of zero, equal steps of a value are equal steps of lightness."""
    lightness = """async (name) => {
      const { colours } = await import("./page/colours.js");
      const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
      return [...colours(name)].map((packed) => {
        const [r, g, b] = [0, 8, 16].map((shift) => linear(((packed >> shift) & 255) / 255));
        const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
        const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
        const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
        return 0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s;
      });
    }"""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        values = page.evaluate(lightness, "diverging")
        for side in (values[:128], values[128:]):
            first, last = side[0], side[-1]
            even = [first + (last - first) * at / 127 for at in range(128)]
            assert max(abs(a - b) for a, b in zip(side, even, strict=True)) < 0.012
        assert abs(values[127] - values[128]) < 0.01
