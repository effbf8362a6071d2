"""What results show in a notebook: pictures and text, no scripts, and names that are no markup."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

import digitscope
from app.samples import sample_pixels, sample_png, sample_sheet_png

FOUR = sample_png(4)
EVIL = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """Collects the tags, attributes and text of HTML, and checks that all tags are closed."""

    def __init__(self, text: str) -> None:
        """Read HTML."""
        super().__init__()
        self.tags, self.attributes, self.text = list[str](), list[tuple[str, str]](), ""
        self._open = list[str]()
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and its attributes."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag != "img":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that a tag closes the last open one."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.text += data


def results(model: digitscope.Model) -> dict[str, Any]:
    """Return each kind of result."""
    return {
        "Model": model,
        "Layers": model.layers,
        "Layer": model.layers["conv_1"],
        "Layer without weights": model.layers["pool"],
        "Prediction": model.predict(FOUR),
        "Page": model.read(sample_sheet_png()),
        "Preparation": model.preprocess(np.pad(sample_pixels(4), 30)),
        "Activations": model.activations(FOUR, "relu_1"),
        "Activations of units": model.activations(FOUR, "logits"),
        "Unit": model.unit(FOUR, "conv_3"),
        "Explanation": model.explain(FOUR, method="gradient", contrast=9),
    }


def test_results_are_pictures_and_text(model: digitscope.Model) -> None:
    """Each result is valid HTML of its own, with pictures, and small."""
    for name, result in results(model).items():
        page = Page(result._repr_html_())
        assert set(page.tags) <= {
            *("div", "figure", "figcaption", "img", "p", "pre"),
            *("table", "thead", "tbody", "tr", "th", "td"),
        }, name
        sources = [value for key, value in page.attributes if key == "src"]
        assert bool(sources) == (name != "Layer without weights"), name
        for source in sources:
            head, data = source.split(",")
            assert head in ("data:image/png;base64", "data:image/jpeg;base64")
            _open(base64.b64decode(data, validate=True))
        assert all(key not in ("href", "onload", "onclick") for key, _ in page.attributes)
        assert len(result._repr_html_()) < 30_000, name
        assert len(repr(result)) < 3_000, name
        if png := getattr(result, "_repr_png_", lambda: None)():
            assert min(_open(png).size) > 20, name


def _open(picture: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(picture), formats=("PNG", "JPEG"))
    image.load()
    return image


def test_prediction_shows_its_numbers(model: digitscope.Model) -> None:
    """The probabilities, the verdict and the warnings of a prediction are shown."""
    text = Page(model.predict(FOUR)._repr_html_()).text
    assert "4 (100.0%), digit" in text
    warned = model.predict(sample_sheet_png())
    assert f"Warning: {warned.warnings[0]}" in Page(warned._repr_html_()).text


def test_names_are_escaped(model: digitscope.Model) -> None:
    """Names of classes, layers and stages, texts and warnings are no markup."""
    prediction = model.predict(FOUR)
    evil = replace(
        prediction,
        label=EVIL,
        classes=(EVIL,) * 10,
        input=replace(prediction.input, warnings=(EVIL,)),
    )
    layer = replace(model.layers["conv_1"], name=EVIL, type=EVIL, description=EVIL, formula=EVIL)
    preparation = model.preprocess(np.pad(sample_pixels(4), 30))
    stages = tuple(replace(each, name=EVIL, description=EVIL) for each in preparation.stages)
    unit, explanation = (
        model.unit(FOUR, "conv_1"),
        model.explain(FOUR, method="gradient", checks=False),
    )
    page = model.read(FOUR)
    for result in (
        evil,
        layer,
        replace(page, text=EVIL, input=evil.input),
        replace(preparation, prediction=evil, stages=stages, without={EVIL: evil}),
        replace(model.activations(FOUR, "conv_1"), layer=layer),
        replace(unit, layer=layer, formula=EVIL, equation=replace(unit.equation, text=EVIL)),
        replace(explanation, text=EVIL),
    ):
        shown = Page(result._repr_html_())
        assert "script" not in shown.tags
        assert EVIL in shown.text or EVIL in repr(shown.text), type(result)


def test_page_has_a_frame_around_each_digit(model: digitscope.Model) -> None:
    """The picture of a page has a box in the colour of its verdict at the digit's place."""
    page = model.read(sample_sheet_png())
    picture = np.asarray(_open(page.png()))
    scale = picture.shape[1] / page.input.width
    box = page.digits[3].box
    edge = picture[round(scale * box.bottom) - 3, round(scale * box.x)]
    assert edge.tolist() == [0x1B, 0x78, 0x37]


def test_photos_take_little_of_a_notebook(model: digitscope.Model) -> None:
    """A page of 1200x900 noisy pixels is shown in less than 400 kB."""
    noise = np.random.default_rng(0).integers(200, 256, (900, 1200, 3), np.uint8)
    noise[300:600, 500:520] = 0
    page = model.read(noise)
    assert len(page._repr_html_()) < 400_000
    assert _open(page._repr_jpeg_()).size == (800, 600)
    assert _open(page.png()).size == (800, 600)


def test_sheet_has_a_tile_for_each_channel(model: digitscope.Model) -> None:
    """The sheet of 32 channels of 14x14 has 6 columns and 6 rows."""
    found = model.activations(FOUR, "relu_1")
    assert _open(found.png()).size == ((6 * 15 - 1) * 3, (6 * 15 - 1) * 3)
    assert found.png(scale="channel") != found.png()


@pytest.mark.parametrize("number", [11, 100])
def test_of_many_classes_the_most_probable_are_shown(model: digitscope.Model, number: int) -> None:
    """Of a model with many classes, a prediction lists ten."""
    probabilities = np.linspace(0, 1, number, dtype=np.float32)
    names = tuple(f"<{at}>" for at in range(number))
    many = replace(model.predict(FOUR), probabilities=probabilities, classes=names)
    shown = re.findall(r"<\d+>", Page(many._repr_html_()).text)
    assert shown == list(names[-10:])
