"""The page shows layers, channels, pixels and their equations, ablations, models and epochs."""

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Running
from tests.browser.hand import ONE, card, draw_by_mouse, expect_digit, see

pytestmark = pytest.mark.browser


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


def test_every_layer_has_a_card(page: Page, site: Running) -> None:
    """Each layer has a sentence, a formula, its shapes, and a picture or table of its values."""
    layers = page.request.get(f"{site.address}/models/classic/layers").json()["layers"]
    cards = see(page, "#cards").locator("article")
    assert cards.count() == len(layers)
    for layer in layers:
        one = page.locator(f"#layer-{layer['name']}")
        expect(one).to_contain_text(layer["description"])
        expect(one).to_contain_text(layer["formula"])
        expect(one.locator(".shape")).to_contain_text(" × ".join(map(str, layer["output_shape"])))


def test_softmax_is_shown_as_logits_exponentials_and_shares(page: Page) -> None:
    """The exponentials belong to the logits, and the shares are parts of their sum."""
    rows = card(page, "softmax").locator(".figures tbody tr")
    found = [
        [_number(text) for text in row.locator("td").all_inner_texts()[:3]] for row in rows.all()
    ]
    total = sum(raised for _, raised, _ in found)
    for logit, raised, share in found:
        assert raised == pytest.approx(2.718281828**logit, rel=2e-3)
        assert share == pytest.approx(raised / total, rel=2e-3)


def test_channel_and_pixel_by_keyboard(page: Page) -> None:
    """Arrows and Enter open a channel and a pixel; its terms add up; Escape leads back."""
    layer = card(page, "conv_2_1")
    sheet = layer.get_by_role("grid").first
    sheet.focus()
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    panel = layer.locator(".panel")
    expect(panel.locator("h4")).to_have_text("conv_2_1, channel 2")
    pixels = panel.get_by_role("grid", name="conv_2_1: pixels of the channel")
    expect(pixels).to_be_focused()
    page.keyboard.press("Control+Home")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(panel.locator("h6").first).to_have_text("conv_2_1, channel 2, row 2, column 3")
    expect(page.locator("#live")).to_contain_text("row 2, column 3: ")
    step = panel.locator(".step").first
    step.get_by_text("All 32 sums").click()
    sums = step.locator("details table tbody td").all_inner_texts()
    result = step.locator(".sum")
    worked_out = float(result.get_attribute("data-reconstructed") or "nan")
    assert len(sums) == 32
    assert sum(map(_number, sums)) == pytest.approx(worked_out, abs=1e-4)
    assert float(result.get_attribute("data-observed") or "nan") == pytest.approx(
        worked_out, abs=1e-4
    )
    pixels.focus()
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    expect(sheet).to_be_focused()


def test_channel_by_click_shows_the_equation_of_its_strongest_pixel(page: Page) -> None:
    """A click opens a channel; the products of its equation add up to the network's value."""
    layer = card(page, "relu_1_1")
    layer.locator(".overlay").click(position={"x": 20, "y": 20})
    panel = layer.locator(".panel")
    expect(panel.locator("h4")).to_have_text("relu_1_1, channel 0")
    expect(panel.locator(".kernel .matrix td")).to_have_count(9)
    step = panel.locator(".step", has=page.locator("h6", has_text="conv_1_1"))
    expect(step.locator(".working .matrix")).to_have_count(3)
    products = step.locator(".working .matrix").nth(2).locator("td").all_inner_texts()
    observed = float(step.locator(".sum").get_attribute("data-observed") or "nan")
    assert sum(map(_number, products)) == pytest.approx(observed, abs=5e-3)
    assert panel.locator(".fields canvas").count() == 2


def test_trace_leads_back_to_the_pixel(page: Page) -> None:
    """Following the strongest inputs from a logit ends at a grey level of the 28x28 image."""
    layer = card(page, "logits")
    layer.get_by_role("button", name="How unit 7 is calculated").click()
    layer.get_by_role("button", name="Follow the strongest input back to the pixel").click()
    expect(layer.locator(".trace")).to_contain_text("has the grey level")
    steps = layer.locator(".step h6").all_inner_texts()
    names = [step.split(",")[0] for step in steps]
    assert names[0] == "logits"
    assert names[-1] == "normalise"
    assert {"dense", "conv_2_2", "conv_2_1", "conv_1_2", "conv_1_1"} <= set(names)


def test_scale_of_each_channel(page: Page) -> None:
    """With a scale per channel, the maps of a ReLU are recoloured and the caption says so."""
    layer = card(page, "relu_1_1")
    shared = _colours(layer.locator("canvas").first)
    page.get_by_label("separate for each channel").check()
    expect(layer.locator(".legend")).to_contain_text("each channel has its own range")
    assert _colours(layer.locator("canvas").first) != shared


def test_constant_channels_are_neutral_with_a_badge(page: Page) -> None:
    """A channel with one value has the neutral colour and a badge."""
    page.route("**/inspect?*", lambda route: _with_constant_channel(route))
    layer = card(page, "relu_1_1")
    expect(layer.locator(".badge")).to_have_text(["const"])
    expect(layer.locator(".facts")).to_contain_text("1 of 32 channels silent")
    expected = page.evaluate("import('./page/colours.js').then(module => module.neutral() >>> 0)")
    red, green, blue, _ = _colours(layer.locator("canvas").first)[:4]
    assert (blue << 16 | green << 8 | red) == expected & 0xFFFFFF


def _with_constant_channel(route: Route) -> None:
    answer = route.fetch()
    body = answer.json()
    layer = next(one for one in body["layers"] if one["name"] == "relu_1_1")
    layer["channels"]["min"][0] = layer["channels"]["max"][0] = 0.0
    layer["dead"] = [0]
    route.fulfill(response=answer, json=body)


def test_colour_maps_are_even_and_symmetric(page: Page) -> None:
    """Lightness is uniform in the sequential map and symmetric in the diverging map."""
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
    sequential = page.evaluate(lightness, "sequential")
    even = [sequential[0] + (sequential[-1] - sequential[0]) * at / 255 for at in range(256)]
    assert max(abs(a - b) for a, b in zip(sequential, even, strict=True)) < 0.01
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        diverging = page.evaluate(lightness, "diverging")
        both = zip(diverging, reversed(diverging), strict=True)
        assert max(abs(a - b) for a, b in both) < 0.01


def test_why_and_why_not(page: Page) -> None:
    """The user chooses method, class and contrast; the honesty check is shown next to the map."""
    see(page, "#why-body .why")
    expect(page.locator(".honesty")).to_contain_text("Rank correlation")
    expect(page.locator(".honesty")).to_contain_text("The map adds up to")
    page.get_by_label("Method").select_option("occlusion")
    page.get_by_label("and not").select_option("1")
    expect(page.locator("#why-body")).to_contain_text("the score of 7 minus the score of 1")
    expect(page.locator("#why-body .alike li")).to_have_count(8)


def test_channel_switched_off_moves_the_bars(page: Page, site: Running) -> None:
    """The bars show the answer without the switched-off channels; all on restores them."""
    see(page, "#whatif-body")
    value = page.locator("#whatif-body .bars .value").nth(7)
    before = value.get_attribute("title")
    off = page.locator("#whatif-body .switches button")
    for channel in (9, 28, 12):
        off.nth(channel).click()
        expect(off.nth(channel)).to_have_attribute("aria-pressed", "false")
    said = page.locator("#whatif-body .outcome")
    expect(said).to_have_attribute("data-off", "9,28,12")
    assert value.get_attribute("title") != before
    expect(said).to_contain_text(re.compile("Still a|is read as"))
    page.get_by_role("button", name="All on").click()
    expect(said).to_contain_text("All channels are on")
    expect(value).to_have_attribute("title", before or "")


def test_pinned_image_is_compared(page: Page) -> None:
    """A pinned 7 and a drawn 1 are compared, with their similarity in each layer."""
    see(page, "#compare-body")
    page.get_by_role("button", name="Pin this image").click()
    page.get_by_label("Sample digit 1").click()
    expect_digit(page, 1)
    body = page.locator("#compare-body")
    body.scroll_into_view_if_needed()
    expect(body.locator("figcaption")).to_contain_text(["Pinned: 7", "Now: 1"])
    assert body.locator("tbody tr").count() == 26


def test_another_model_is_chosen(page: Page) -> None:
    """Choosing another model updates the page and keeps the drawing."""
    see(page, "#models-body")
    expect(page.locator("#models-body article")).to_have_count(2)
    page.get_by_role("button", name="Look inside other").click()
    expect(page.locator("#model")).to_have_value("other")
    expect_digit(page, 7)
    chosen = page.locator("#models-body .chosen")
    expect(chosen).to_have_attribute("data-model", "other")
    epochs = page.locator("#epochs-body")
    epochs.scroll_into_view_if_needed()
    expect(epochs).to_contain_text("No epochs of the network other were saved")


def test_late_responses_of_another_model_are_dropped(page: Page) -> None:
    """A response about the previous model is dropped after another one is chosen."""
    late: list[Route] = []
    page.route("**/models/classic/training", lambda route: late.append(route))
    with page.expect_request("**/models/classic/training"):
        see(page, "#models-body")
        page.locator("#epochs-body").scroll_into_view_if_needed()
    page.route("**/preprocess*", lambda route: late.append(route))
    with page.expect_request("**/preprocess*"):
        page.locator("#model").select_option("other")
    late[0].continue_()
    page.evaluate("fetch('models/other/training')")  # by now the other model's response has arrived
    late[1].continue_()
    expect(page.locator("#epochs-body")).to_contain_text(
        "No epochs of the network other were saved"
    )


def test_epoch_slider(page: Page) -> None:
    """Moving the slider shows kernels, maps and answer of that epoch."""
    part = see(page, "#epochs-body")
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


def test_open_parts_follow_a_new_drawing(page: Page) -> None:
    """Open parts are updated when the drawing changes."""
    layer = card(page, "relu_1_1")
    layer.locator(".overlay").click(position={"x": 20, "y": 20})
    expect(layer.locator(".panel .sum").first).to_be_visible()
    sheet = layer.locator("canvas").first
    before = _colours(sheet)
    page.locator("#clear").click()
    draw_by_mouse(page, ONE)
    expect_digit(page, 1)
    layer.scroll_into_view_if_needed()
    expect(page.locator("#cards")).not_to_have_attribute("data-revision", "1")
    assert _colours(sheet) != before
