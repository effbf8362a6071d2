"""The mode learn: steps on a copy of the network, gradients on the map, and their sums."""

import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from app.render import to_png
from app.samples import sample_pixels
from tests.browser.conftest import Running
from tests.browser.hand import (
    choose_network,
    choose_sample,
    click_on_map,
    expect_digit,
    open_mode,
    stay_lost,
    stop_clock,
)

pytestmark = pytest.mark.browser
LABEL = 3  # the sample is a 7
DESK = pytest.mark.parametrize("context", ["desk"], indirect=True)
FLOW_MS = 350  # until the gradient reaches the next column
MAP = """async () => {
  const { map, valuesOf } = await import("./page/map_view.js");
  const hidden = map.columns.filter(({ role }) => role === "hidden");
  return { meaning: map.meaning, shown: hidden.map((column) => Boolean(valuesOf(column))) };
}"""


def _open(page: Page, label: int | None = LABEL) -> Locator:
    """Open the mode and choose the right label."""
    page.emulate_media(reduced_motion="reduce")
    part = open_mode(page, "learn")
    expect(part.locator(".outcome")).to_contain_text("What is it really?")
    if label is not None:
        part.locator(".labels button").nth(label).click()
        expect(part.locator(".outcome")).to_have_attribute("data-steps", "0")
    return part


def _step(part: Locator, steps: int, button: str = "One step") -> None:
    part.get_by_role("button", name=button).click()
    expect(part.locator(".outcome")).to_have_attribute("data-steps", str(steps))


def _ask(page: Page, site: Running, route: str, **query: Any) -> dict[str, Any]:
    """Ask the API about the digit of the page."""
    image = page.evaluate("import('./page/state.js').then(({ state }) => state.source.body.image)")
    parameters = {"model": "classic", "preprocess": "none", **query}
    response = page.request.post(
        f"{site.address}/{route}", params=parameters, data={"image": image}
    )
    assert response.ok, response.text()
    answer: dict[str, Any] = response.json()
    return answer


def _written(page: Page, *values: float, digits: int = 4) -> list[str]:
    """Write numbers as the page does."""
    written: list[str] = page.evaluate(
        """async ([values, digits]) => {
          const { number } = await import("./page/dom.js");
          return values.map((value) => number(value, digits));
        }""",
        [list(values), digits],
    )
    return written


@DESK
def test_label_is_asked_for(page: Page) -> None:
    """Without the right label there is no step to take, and the map shows values."""
    part = _open(page, None)
    for name in ("One step", "10 steps", "Start again"):
        expect(part.get_by_role("button", name=name)).to_be_disabled()
    assert page.evaluate(MAP)["meaning"] is None


def test_every_number_is_the_api_s(page: Page, site: Running) -> None:
    """Loss, probabilities and norms are those of the API, before and after each step."""
    part = _open(page)
    query = {"learning_rate": 0.001, "optimizer": "sgd"}
    served = page.request.get(f"{site.address}/models/classic/layers").json()
    answer = _ask(page, site, "learn/step", label=LABEL, steps=1, **query)
    expect(part.locator(".outcome")).to_contain_text(_written(page, answer["loss"][0])[0])
    _step(part, 1)
    _step(part, 2)
    answer = _ask(page, site, "learn/step", label=LABEL, steps=2, **query)
    said = part.locator(".outcome")
    for text in _written(page, answer["loss"][2], answer["loss"][0]):
        expect(said).to_contain_text(text)
    part.get_by_text("Table of the probabilities").click()
    rows = part.locator(".learned details").last.locator("tbody tr")
    expect(rows).to_have_count(3)
    for row, shares in zip(rows.all(), answer["probabilities"], strict=True):
        assert row.locator("td").all_text_contents()[1:] == _written(page, *shares)
    bars = page.locator("#bars .value")
    for at, share in enumerate(answer["probabilities"][-1]):
        title = bars.nth(at).get_attribute("title") or ""
        assert title == page.evaluate(
            "async (share) => (await import('./page/dom.js')).number(share, 6)", share
        )
    assert len(answer["layers"]) == len(served["layers"])
    for layer in answer["layers"]:
        cell = part.locator(f"[data-norm='{layer['name']}']")
        assert cell.text_content() == _written(page, layer["gradient_norm"])[0]
        for array in layer["weights"]:
            row = part.locator(f"[data-weights='{layer['name']}/{array['name']}']")
            texts = row.locator("td:not([data-norm])").all_text_contents()
            wanted = _written(page, array["gradient_norm"], array["norm"], array["change_norm"])
            assert [texts[0], *texts[2:]] == wanted
    for name in answer["most_changed"][:3]:
        expect(part.locator(".layers > div > .notes")).to_contain_text(name)


@DESK
def test_steps_move_the_bars_of_a_copy(page: Page, site: Running) -> None:
    """Ten steps lower the loss and raise the right label; what is served stays the same."""
    part = _open(page)
    before = _ask(page, site, "predict")
    first = page.locator("#bars .value").nth(LABEL).get_attribute("title")
    _step(part, 10, "10 steps")
    assert page.locator("#bars .value").nth(LABEL).get_attribute("title") != first
    expect(page.locator("#bars .ghost").first).to_be_visible()
    expect(part.locator(".plot")).to_be_visible()
    expect(page.locator("#verdict")).to_have_text("It is a 7.")
    expect(part).to_contain_text("Nothing that is served changes.")
    expect(part).to_contain_text("Batch normalisation uses its stored mean and variance")
    assert _ask(page, site, "predict")["probabilities"] == before["probabilities"]
    part.get_by_role("button", name="Start again").click()
    expect(part.locator(".outcome")).to_have_attribute("data-steps", "0")
    page.locator("#modes [data-mode=look]").click()
    expect(page.locator("#bars .value").nth(7)).to_have_text("> 99.9 %")


def test_bars_of_the_copy_say_so(page: Page) -> None:
    """The bars name the copy, in sight and aloud, and their marks before the steps are visible."""
    part = _open(page)
    bars = page.locator("#bars")
    expect(bars).to_have_attribute("aria-label", "Probability of each digit")
    _step(part, 1)
    said = "copy after 1 step"
    expect(bars).to_have_attribute("aria-label", f"Probability of each digit, {said}")
    assert said in bars.evaluate("(list) => getComputedStyle(list, '::after').content")
    outside = """(rails) => rails.filter((rail) => {
      const outer = rail.getBoundingClientRect();
      const mark = rail.querySelector(".ghost").getBoundingClientRect();
      return mark.left < outer.left - 1 || mark.right > outer.right + 1 || mark.top < outer.top - 1
        || mark.bottom > outer.bottom + 1;
    }).length"""
    assert bars.locator(".rail").evaluate_all(outside) == 0
    page.locator("#modes [data-mode=look]").click()
    expect(bars).to_have_attribute("aria-label", "Probability of each digit")
    assert bars.get_attribute("data-copy") is None


@DESK
def test_focus_stays_with_what_was_done(page: Page) -> None:
    """A button that is disabled, or a layer that opens, hands the focus to the nearest thing."""
    part = _open(page)
    again, step = (part.get_by_role("button", name=name) for name in ("Start again", "One step"))
    for steps in (10, 20, 30, 40, 50):
        _step(part, steps, "10 steps")
    expect(again).to_be_focused()
    expect(part.locator(".outcome")).to_contain_text("50 steps are the most")
    page.keyboard.press("Enter")
    expect(part.locator(".outcome")).to_have_attribute("data-steps", "0")
    expect(step).to_be_focused()
    layer = part.locator(".gradient-table th").get_by_role("button", name="logits", exact=True)
    layer.focus()
    page.keyboard.press("Enter")
    expect(part.locator(".opened .crumbs span")).to_be_focused()
    part.locator(".gradients .notes .link").first.focus()
    page.keyboard.press("Enter")
    expect(part.locator(".opened .crumbs span")).to_contain_text("kernel")
    expect(part.locator(".opened .crumbs span")).to_be_focused()
    part.get_by_role("button", name="All layers").focus()
    page.keyboard.press("Enter")
    expect(layer).to_be_focused()


@DESK
def test_empty_surface_has_no_right_label(page: Page) -> None:
    """Without a digit no label can be chosen, and the next digit gets none."""
    part = _open(page)
    _step(part, 1)
    page.get_by_role("button", name="Clear").click()
    expect(part.locator(".outcome")).to_contain_text("Draw a digit")
    expect(part.locator(".labels button").nth(4)).to_be_disabled()
    expect(part.locator(".labels [aria-pressed=true]")).to_have_count(0)
    expect(part.get_by_role("button", name="Start again")).to_be_disabled()
    expect(part).not_to_have_attribute("aria-busy", "true")
    choose_sample(page, 5)
    expect(part.locator(".outcome")).to_contain_text("The network reads a 5. What is it really?")
    expect(part.locator(".labels button").nth(4)).to_be_enabled()


@DESK
def test_old_gradients_fade_until_those_of_the_new_label_are_there(page: Page) -> None:
    """Until another label's gradients arrive, the map's are marked as those of the old one."""
    part = _open(page)
    stay_lost(page)
    page.route("**/learn/step*", lambda route: route.abort())
    part.locator(".labels button").nth(4).click()
    expect(page.locator("body")).to_have_attribute("data-other-gradients", "")
    expect(part).to_contain_text("This part did not arrive.")
    expect(page.locator("body")).to_have_attribute("data-other-gradients", "")
    page.unroute("**/learn/step*")
    part.get_by_role("button", name="Try again").click()
    expect(part.locator(".outcome")).to_contain_text("your label, 4")
    expect(page.locator("body")).not_to_have_attribute("data-other-gradients", "")


@DESK
def test_gradients_flow_back_over_the_map(page: Page) -> None:
    """Gradients flow back over the map, which says so until the mode is left."""
    part = _open(page, None)
    page.emulate_media(reduced_motion="no-preference")
    usual = page.locator("#map-says").text_content() or ""
    part.locator(".labels button").nth(LABEL).click()
    slider = part.get_by_role("slider", name="Layers")
    columns = page.locator("#map-heads li").count()
    expect(slider).to_have_value(str(columns))
    stop_clock(page)
    part.locator(".flow button").click()
    for reached in range(1, columns + 1):
        shown = [at >= columns - reached for at in range(1, columns - 1)]
        assert page.evaluate(MAP) == {"meaning": "gradient", "shown": shown}
        page.clock.run_for(FLOW_MS)
    expect(slider).to_have_value(str(columns))
    assert page.evaluate(MAP) == {"meaning": "gradient", "shown": [True] * (columns - 2)}
    expect(page.locator("#map-says")).to_contain_text("The map now shows gradients")
    expect(page.locator("#map-title")).to_contain_text("gradients")
    slider.focus()
    page.keyboard.press("Home")
    expect(slider).to_have_attribute(
        "aria-valuetext", re.compile(r"come back to outputs\. Its length: softmax")
    )
    assert page.evaluate(MAP)["shown"] == [False] * (columns - 2)
    page.locator("#modes [data-mode=look]").click()
    expect(page.locator("#map-says")).to_have_text(usual)
    assert page.evaluate(MAP) == {"meaning": None, "shown": [True] * (columns - 2)}


def _expect_sum(page: Page, answer: dict[str, Any]) -> None:
    """Compare the opened sum with the API's."""
    view = page.locator(".gradient-sum")
    gradient = _written(page, answer["gradient"], digits=6)[0]
    expect(view.locator("h3").first).to_contain_text(gradient)
    expect(view).to_contain_text(
        f"The value is {_written(page, answer['value'])[0]} before the first step. "
    )
    expect(view).to_contain_text(answer["sentence"])
    expect(view.locator(".products .total code")).to_have_text(gradient)
    shown = answer["terms"][:8]
    products = view.locator(".products li:not(.total) > code").all_text_contents()
    assert products[: len(shown)] == _written(page, *(term["product"] for term in shown))
    factors = view.locator(".factor code").all_text_contents()
    assert factors == _written(page, *(one["value"] for term in shown for one in term["factors"]))
    difference = answer["finite_difference"]
    figures = view.locator(".difference dd").all_text_contents()
    losses = [answer["loss"], difference["loss_plus"], difference["loss_minus"]]
    assert figures[:3] == _written(page, *losses, digits=10)
    assert figures[3:5] == [*_written(page, difference["gradient"], digits=6), gradient]
    if not difference["kink"]:
        assert difference["gradient"] == pytest.approx(answer["gradient"], rel=1e-3)


def test_weight_is_followed_to_probability_minus_label(page: Page, site: Running) -> None:
    """A weight opens as the sum of its products, and its gradients lead to the outputs."""
    part = _open(page)
    part.locator(".gradient-table").get_by_role("button", name="conv_2_2", exact=True).click()
    part.get_by_role("grid", name="Gradient of kernel to output").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("t=3&at=conv_2_2&w=kernel:0,0,0,"))
    index = page.url.rsplit("kernel:", 1)[-1]
    route = "layers/conv_2_2/gradient-unit"
    _expect_sum(page, _ask(page, site, route, label=LABEL, weight="kernel", index=index))
    page.get_by_role("button", name="conv_2_2", exact=True).click()
    part.locator(".gradients .notes .link").first.click()
    kinds: list[str] = []
    for _ in range(30):
        view = page.locator(".gradient-sum")
        expect(view).to_be_visible()
        kinds = [str(one.get_attribute("data-kind")) for one in view.locator(".factor").all()]
        follow = view.locator("button.factor[data-kind=gradient]")
        if not follow.count():
            break
        url = page.url
        follow.first.click()
        expect(page).not_to_have_url(url)
        layer, *unit = re.split("[:,]", page.url.rsplit("at=", 1)[-1])
        query = dict(zip(("channel", "y", "x"), unit, strict=False))
        expect(view).to_have_attribute("data-layer", layer)
        _expect_sum(page, _ask(page, site, f"layers/{layer}/gradient-unit", label=LABEL, **query))
    assert set(kinds) == {"probability", "label"}
    page.go_back()
    expect(page.locator("button.factor[data-kind=gradient]").first).to_be_visible()


@DESK
def test_picture_of_the_map_opens_its_gradient(page: Page) -> None:
    """A click on a picture opens its gradient; a square of it the sum; Escape goes a level up."""
    part = _open(page)
    click_on_map(page, "conv 2·1", 9)
    expect(part).to_contain_text("Gradient of channel 9 of relu_2_1")
    page.get_by_role("grid", name="relu_2_1, channel 9").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".gradient-sum")).to_be_visible()
    for _ in range(3):
        page.keyboard.press("Escape")
    expect(part.locator(".gradient-table")).to_be_visible()
    assert "v=learn" in page.url


@DESK
def test_too_large_a_rate_fails_visibly(page: Page, site: Running) -> None:
    """With the largest learning rate the copy misreads the other digits, and the page says why."""
    part = _open(page)
    part.get_by_role("slider", name="Learning rate").focus()
    page.keyboard.press("End")
    part.get_by_role("button", name="10 steps").click()
    expect(part).to_contain_text("The learning rate is too large")
    expect(part.locator(".outcome")).to_have_class(re.compile("warm"))
    samples = _ask(page, site, "learn/step", label=LABEL, learning_rate=1, steps=10)["samples"]
    assert 2 * samples["right_after"] < samples["right_before"]
    expect(part).to_contain_text(f"the copy reads {samples['right_after']} right")
    part.get_by_role("slider", name="Learning rate").focus()
    page.keyboard.press("Home")
    expect(part.locator(".outcome")).not_to_have_class(re.compile("warm"))


@DESK
def test_loss_that_rises_is_named(page: Page, site: Running) -> None:
    """For a picture between two digits, one step too far makes even its own loss larger."""
    part = _open(page, None)
    mean = np.mean([sample_pixels(digit) for digit in (6, 2)], axis=0).round().astype(np.uint8)
    file = {"name": "mean.png", "mimeType": "image/png", "buffer": to_png(mean)}
    page.locator("#file").set_input_files(files=[file])
    expect(part.locator(".outcome")).not_to_contain_text("The network reads a 7.")
    part.locator(".labels button").nth(LABEL).click()
    part.get_by_role("slider", name="Learning rate").focus()
    for key in ("ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    _step(part, 1)
    answer = _ask(page, site, "learn/step", label=LABEL, learning_rate=0.01, steps=1)
    assert answer["diverged"]
    assert answer["loss"][1] > answer["loss"][0]
    expect(part).to_contain_text("each step goes past the lowest point of the loss")
    expect(part.locator(".outcome")).to_contain_text(_written(page, answer["loss"][1])[0])


@DESK
def test_another_digit_network_or_label_starts_again(page: Page) -> None:
    """Another label or network starts at step 0; a new digit needs a label of its own."""
    part = _open(page)
    said = part.locator(".outcome")
    _step(part, 1)
    part.locator(".labels button").nth(4).click()
    expect(said).to_have_attribute("data-steps", "0")
    expect(said).to_contain_text("your label, 4")
    _step(part, 1)
    choose_network(page, "other")
    expect(said).to_have_attribute("data-steps", "0")
    expect(said).to_contain_text("your label, 4")
    choose_sample(page, 5)
    expect_digit(page, 5)
    expect(said).to_contain_text("The network reads a 5. What is it really?")
    assert page.evaluate(MAP)["meaning"] is None
    expect(page).not_to_have_url(re.compile("t="))


@DESK
def test_step_that_failed_is_tried_again(page: Page) -> None:
    """A step that fails says so in its place, offers to try again, and does not count."""
    part = _open(page)
    # An answer, because the page itself tries again when there is none.
    page.route("**/learn/step*", lambda route: route.fulfill(status=500, body="{}"))
    part.get_by_role("button", name="10 steps").click()
    expect(part).to_contain_text("status 500")
    page.unroute("**/learn/step*")
    part.get_by_role("button", name="Try again").click()
    expect(part.locator(".outcome")).to_have_attribute("data-steps", "10")
    page.route("**/learn/step*", lambda route: route.fulfill(status=500, body="{}"))
    part.get_by_role("button", name="10 steps").click()
    expect(part).to_contain_text("status 500")
    page.unroute("**/learn/step*")
    _step(part, 11)


def test_link_opens_a_gradient(page: Page, site: Running) -> None:
    """A link holds label and weight; what the network does not have is named."""
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{site.address}/#m=classic&v=learn&t=3&at=logits&w=kernel:5,3")
    expect(page.locator(".gradient-sum")).to_be_visible()
    expect(page.locator(".opened .crumbs")).to_contain_text("kernel[5, 3]")
    page.goto(f"{site.address}/#m=classic&v=learn&t=12&at=logits&w=kernel:5,13")
    expect(page.locator("#banner")).to_contain_text("classic has no class 12.")
    expect(page.locator("#banner")).to_contain_text("logits has no weight “kernel:5,13”.")
    expect(page.locator(".opened")).to_contain_text("Choose the right label")
    page.goto(f"{site.address}/#m=classic&v=learn&t=abc")
    expect(page.locator("#banner")).to_contain_text("classic has no class “abc”.")
