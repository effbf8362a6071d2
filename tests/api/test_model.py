"""A loaded model: its layers, its results, and the messages for wrong arguments."""

import inspect
import io
import pickle
import shutil
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image, ImageSequence

import digitscope
from app.api.arguments import ExplainMethod
from app.inspection.attribution import DEFAULT_METHOD, METHODS
from app.samples import sample_pixels, sample_png, sample_sheet_png
from app.settings import REPOSITORY
from digitscope import errors
from tests.api.typed_use import use

FOUR = sample_png(4)
DIGITS = np.stack([sample_pixels(digit) for digit in range(10)])


def test_names_folders_and_the_default_load(model: digitscope.Model, tmp_path: Path) -> None:
    """A model loads by its name, by its folder, as the default, and by a copy of its folder."""
    assert digitscope.model_names() == ["classic", "compact", "dropconnect", "ensemble"]
    folder = tmp_path / "compact"
    shutil.copytree(REPOSITORY / "model" / "compact", folder)
    for address in (None, folder, str(folder)):
        again = digitscope.load(address)
        assert (again.name, again.version) == ("compact", model.version)
        assert again.classes == tuple("0123456789")
        assert again.predict(FOUR).digit == 4
    assert digitscope.load(folder).folder == folder


def test_settings_of_the_service_apply(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folder of models, the default and the largest image are those of the settings."""
    shutil.copytree(REPOSITORY / "model" / "classic", tmp_path / "classic")
    monkeypatch.setenv("DIGITSCOPE_MODEL_DIR", str(tmp_path))
    monkeypatch.setenv("DIGITSCOPE_DEFAULT_MODEL", "classic")
    monkeypatch.setenv("DIGITSCOPE_MAX_PIXELS", "1000")
    classic = digitscope.load()
    assert (classic.name, digitscope.model_names()) == ("classic", ["classic"])
    with pytest.raises(errors.TooLargeError, match="the limit is 1000"):
        classic.predict(np.zeros((28, 280), np.uint8))
    monkeypatch.setenv("DIGITSCOPE_THREADS", "none")
    with pytest.raises(errors.InvalidInputError, match="DIGITSCOPE_THREADS is invalid"):
        digitscope.load()


def test_wrong_models_get_a_plain_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown name lists the names; a wrong path says what it is."""
    (tmp_path / "net.keras").write_bytes(b"")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "metadata.json").write_text("{}")
    for address, message in (
        ("clasic", "choose one of classic, compact, dropconnect, ensemble, or give the path"),
        (tmp_path, "is no bundle: it has no metadata.json"),
        (tmp_path / "missing", "is no bundle"),
        (str(tmp_path / "net.keras"), "digitscope import"),
        (tmp_path / "damaged", "is not valid bundle metadata"),
    ):
        with pytest.raises(digitscope.DigitscopeError, match=message):
            digitscope.load(address)
    monkeypatch.setenv("DIGITSCOPE_MODEL_DIR", str(tmp_path / "missing"))
    with pytest.raises(errors.BundleError, match="holds no model bundle"):
        digitscope.load("compact")


def test_layers_are_found_by_index_and_name(model: digitscope.Model) -> None:
    """Layers are a sequence, and a mapping by name."""
    assert model.layers[1] is model.layers["conv_1"]
    assert model.layers[-1].name == model.layers.names[-1] == "softmax"
    assert [layer.index for layer in model.layers[3:6]] == [3, 4, 5]
    layer = model.layers["conv_1"]
    assert (layer.type, layer.shape, layer.inputs) == ("Conv2D", (14, 14, 32), ("normalise",))
    assert layer.receptive_field == (5, 5)
    assert layer.parameters == sum(values.size for values in layer.weights.values())
    assert sum(each.parameters for each in model.layers) == model.metadata.parameters
    assert "conv_1" in model.layers
    assert model.layers[1] in model.layers
    assert "conv" not in model.layers
    assert 1 not in model.layers
    with pytest.raises(errors.NotFoundError, match="Valid names: normalise, conv_1"):
        model.layers["conv"]
    with pytest.raises(IndexError, match="no layer 25; the indices are 0 to 24"):
        model.layers[25]


def test_many_names_of_layers_are_not_all_listed() -> None:
    """A message about a network of hundreds of layers stays short, and its error has all names."""
    ensemble = digitscope.load("ensemble")
    for call in (lambda: ensemble.layers["x"], lambda: ensemble.unit(FOUR, "x")):
        with pytest.raises(errors.NotFoundError, match=r" and \d+ others\.$") as caught:
            call()
        assert len(str(caught.value)) < 500
        assert caught.value.fields["valid"] == list(ensemble.layers.names)


def test_weights_cannot_be_changed(model: digitscope.Model) -> None:
    """The network computes with the weights, so they are read-only."""
    with pytest.raises(ValueError, match="read-only"):
        model.layers["conv_1"].weights["kernel"][:] = 0


def test_activations_agree_with_each_other(model: digitscope.Model) -> None:
    """One layer by name, index or itself, and all layers at once, give the same values."""
    every = model.inspect(FOUR)
    assert list(every) == list(model.layers.names)
    last = 9 - len(model.layers)
    for address in ("relu_3", 9, np.int64(9), last, model.layers["relu_3"]):
        one = model.activations(FOUR, address)
        np.testing.assert_array_equal(one.values, every["relu_3"].values)
        assert one.layer is model.layers["relu_3"]
    assert np.asarray(every["relu_3"]).shape == model.layers["relu_3"].shape
    assert np.array(every["logits"], dtype=float).dtype == float
    np.testing.assert_array_equal(np.argmax(every["softmax"]), 4)


def test_unit_explains_its_value(model: digitscope.Model) -> None:
    """The equation's value is the layer's, at the address that is asked for or the strongest."""
    values = model.activations(FOUR, "conv_2").values
    unit = model.unit(FOUR, "conv_2", channel=3, y=2, x=4)
    assert (unit.channel, unit.y, unit.x) == (3, 2, 4)
    assert unit.observed == values[2, 4, 3]
    assert unit.abs_error < 1e-4
    assert unit.image
    assert unit.places["conv_2"].width == 1
    strongest = model.unit(FOUR, "conv_2")
    assert strongest.observed == values.max()
    logit = model.unit(FOUR, "logits", channel=4)
    assert (logit.y, logit.x) == (None, None)
    assert logit.reconstructed == pytest.approx(logit.observed, abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_explanations_answer_the_question(model: digitscope.Model, method: str) -> None:
    """Each method maps the difference of the two logits that are named."""
    logits = model.activations(FOUR, "logits").values
    found = model.explain(FOUR, method=method, target=4, contrast=9, checks=False)
    assert found.value == pytest.approx(logits[4] - logits[9], abs=1e-3)
    same = model.explain(
        FOUR, method=method, target=np.uint8(4), contrast=np.int64(9), checks=False
    )
    np.testing.assert_array_equal(same.map, found.map)
    assert same.target.__class__ is int
    assert found.map.shape == (28, 28)
    assert found.map.dtype == np.float32
    assert (found.deletion, found.randomised) == (None, None)


def test_type_of_methods_names_them() -> None:
    """Type checkers know the names of the explanation methods, and the default."""
    assert get_args(ExplainMethod) == tuple(METHODS)
    default = inspect.signature(digitscope.Model.explain).parameters["method"].default
    assert default == DEFAULT_METHOD


def test_explanations_are_checked(model: digitscope.Model) -> None:
    """By default, an explanation comes with two checks of its map."""
    found = model.explain(FOUR, method="gradient", checks=False)
    checked = model.explain(FOUR, method="gradient")
    np.testing.assert_array_equal(checked.map, found.map)
    assert checked.deletion
    assert checked.randomised
    assert checked.text.startswith(found.text)


def test_page_is_read_line_by_line(model: digitscope.Model) -> None:
    """The sheet of ten digits is one line, with a box for each digit."""
    page = model.read(sample_sheet_png())
    assert page.text == "0123456789"
    assert [line.text for line in page.lines] == ["0123456789"]
    assert [digit.digit for digit in page.digits] == list(range(10))
    assert page.picture.shape == (28, 280)
    assert repr(page.lines[0]) == "Line(text='0123456789', digits=10)"
    assert "array" not in repr(page.digits)
    assert len(set(page.digits)) == 10


def test_messages_speak_of_python(model: digitscope.Model) -> None:
    """What the service says of routes and bodies becomes advice for a program in Python."""
    sheet = sample_sheet_png()
    assert model.predict(sheet).warnings[0].endswith(" digits; 'read' reads \"0123456789\".")
    many = model.predict_many([sheet, np.roll(DIGITS[4], 9)], preprocess="none", on_error="return")
    assert str(many[0]).startswith("Image 0: ")
    assert isinstance(many[1], digitscope.Prediction)
    assert "may be misread; preprocess='auto' prepares it." in many[1].warnings[0]
    saved = io.BytesIO()
    np.save(saved, DIGITS[4])
    for content, advice in ((saved.getvalue(), "give what numpy.load returns"), (b"{}", "JSON")):
        with pytest.raises(errors.UndecodableError, match=advice) as caught:
            model.predict(content)
        assert "send" not in str(caught.value)


def test_preparation_lists_its_stages(model: digitscope.Model) -> None:
    """The stages of a digit on a large image lead to what the network received."""
    report = model.preprocess(np.pad(DIGITS[4], 30))
    names = [stage.name for stage in report.stages]
    assert names[0] == "grey"
    assert not report.passthrough
    assert set(report.without) < set(names)
    np.testing.assert_array_equal(report.pixels, report.prediction.pixels)
    assert report.prediction.digit == 4
    assert model.preprocess(FOUR).passthrough


def test_many_images_are_the_same_as_one_by_one(model: digitscope.Model, tmp_path: Path) -> None:
    """A list, a generator and an array of images give the answers of each image."""
    right = np.array([model.predict(digit).probabilities for digit in DIGITS])
    for images in (
        list(DIGITS),
        (sample_png(digit) for digit in range(10)),
        DIGITS,
        DIGITS[..., None] / 255,
        DIGITS.reshape(10, 784).astype(np.float32),
        [sample_png(0), DIGITS[1], DIGITS[2] / 255, *DIGITS[3:]],
    ):
        found = model.predict_many(images)
        assert [each.digit for each in found] == list(range(10))
        got = np.array([each.probabilities for each in found])
        np.testing.assert_allclose(got, right, atol=1e-6)  # of a batch, sums may differ
    paths = [str(tmp_path / f"{digit}.png") for digit in range(10)]
    for digit, path in enumerate(paths):
        Path(path).write_bytes(sample_png(digit))
    for column in (np.array(paths), np.array(list(map(Path, paths)))):
        assert [each.digit for each in model.predict_many(column)] == list(range(10))
    assert model.predict_many([]) == []
    assert model.predict_many(np.zeros((0, 28, 28))) == []
    assert len(model.predict_many(np.tile(DIGITS, (7, 1, 1)))) == 70


def test_wrong_images_among_many(model: digitscope.Model, tmp_path: Path) -> None:
    """The first wrong image ends the batch, or its error takes the place of its prediction."""
    images = [FOUR, b"rubbish", DIGITS[7], tmp_path / "missing.png"]
    with pytest.raises(errors.UndecodableError, match=r"^Image 1: The image cannot be read"):
        model.predict_many(images)
    one, two, three, four = model.predict_many(images, on_error="return")
    assert isinstance(one, digitscope.Prediction)
    assert isinstance(three, digitscope.Prediction)
    assert (one.digit, three.digit) == (4, 7)
    assert isinstance(two, errors.UndecodableError)
    assert str(four).startswith(f"{tmp_path}/missing.png: ")


def test_array_that_may_be_one_image_is_refused(model: digitscope.Model) -> None:
    """Many images with one axis of 1, 3 or 4 at the end may be one in colour."""
    for channels in (1, 3, 4):
        photo = np.pad(DIGITS[4], 40)[..., None].repeat(channels, axis=2)
        with pytest.raises(errors.UndecodableError, match=r"as \[1, H, W, C\].*\[N, H, W, 1\]"):
            model.predict_many(photo)
        assert [each.digit for each in model.predict_many(photo[None, ..., :3])] == [4]


def test_iterator_may_reuse_its_image(model: digitscope.Model) -> None:
    """Pages of a TIFF and a buffer that is filled again give the answers of each image."""
    stream, buffer = io.BytesIO(), np.zeros((28, 28), np.uint8)
    first, *others = map(Image.fromarray, DIGITS)
    first.save(stream, "TIFF", save_all=True, append_images=others)

    def refilled() -> Iterator[np.ndarray]:
        for digit in DIGITS:
            buffer[:] = digit
            yield buffer

    for images in (ImageSequence.Iterator(Image.open(stream)), refilled()):
        found = model.predict_many(images)
        assert [each.digit for each in found] == list(range(10))
        np.testing.assert_array_equal([each.pixels for each in found], DIGITS)


@pytest.mark.parametrize("content", [np.pad(DIGITS[4], 30), np.zeros((90, 90), np.uint8)])
def test_many_images_are_not_kept(model: digitscope.Model, content: np.ndarray) -> None:
    """Of many images at most two exist at a time, also if they are refused."""
    made: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    def images() -> Iterator[np.ndarray]:
        for _ in range(40):
            image = content.copy()
            made.append(weakref.ref(image))
            yield image
            alive.append(sum(each() is not None for each in made))

    assert len(model.predict_many(images(), on_error="return")) == 40
    assert max(alive) <= 2


WRONG: dict[str, Callable[[digitscope.Model], Any]] = {
    "'predict' takes one": lambda model: model.predict_many("4.png"),
    "got int": lambda model: model.predict_many(4),
    r"got \[28, 28\]": lambda model: model.predict_many(DIGITS[0]),
    "'on_error' is 'skip'": lambda model: model.predict_many([FOUR], on_error="skip"),
    "'polarity' is 'dark'; expected": lambda model: model.predict(FOUR, polarity="dark"),
    "'preprocess' is 'no'; expected": lambda model: model.predict(FOUR, preprocess="no"),
    "must be 28 x 28 pixels": lambda model: model.predict(sample_sheet_png(), preprocess="none"),
    "no layer 'x'.*Valid: normalise": lambda model: model.activations(FOUR, "x"),
    "no layer '-99'": lambda model: model.activations(FOUR, -99),
    "no layer '25'": lambda model: model.activations(FOUR, np.int64(25)),
    "'layer' is True; expected a name or an index": lambda model: model.activations(FOUR, True),
    "'polarity' is array": lambda model: model.predict(FOUR, polarity=np.zeros(2)),
    "'channel' is '7'; expected an integer": lambda model: model.unit(FOUR, 1, channel="7"),
    "'channel' is 1.0; expected an integer": lambda model: model.unit(FOUR, 1, channel=1.0),
    "'channel' is True; expected": lambda model: model.unit(FOUR, 1, channel=True),
    r"'channel' is \[1\]; expected": lambda model: model.unit(FOUR, 1, channel=[1]),
    "'y' is 1.5; expected an integer": lambda model: model.unit(FOUR, 1, y=1.5, x=1),
    "'target' is True; expected": lambda model: model.explain(FOUR, target=True),
    "'contrast' is True; expected": lambda model: model.explain(FOUR, contrast=True),
    r"'target' is \[4\]; expected": lambda model: model.explain(FOUR, target=[4]),
    "'steps' is 8.5; expected an integer": lambda model: model.explain(FOUR, steps=8.5),
    r"no explanation method \"\['x'\]\"": lambda model: model.explain(FOUR, method=["x"]),
    "'checks' is 'no'; expected True": lambda model: model.explain(FOUR, checks="no"),
    "'layer' is for the method 'grad-cam'; 'integrated-gradients' does not use it": (
        lambda model: model.explain(FOUR, layer="conv_1")
    ),
    "'steps' is for the method 'integrated-gradients'; 'gradient' does not": (
        lambda model: model.explain(FOUR, method="gradient", steps=8)
    ),
    "path of its folder, got 5": lambda model: digitscope.load(5),
    "path of its folder, got b'compact'": lambda model: digitscope.load(b"compact"),
    r"Valid: y 0\.\.13, x": lambda model: model.unit(FOUR, "conv_1", channel=32),
    "Give both y and x": lambda model: model.unit(FOUR, "conv_1", y=3),
    "by 'channel' alone": lambda model: model.unit(FOUR, "logits", y=3, x=3),
    "choose one of gradient": lambda model: model.explain(FOUR, method="x"),
    "'target' is 10": lambda model: model.explain(FOUR, target=10),
    "'contrast' is -1": lambda model: model.explain(FOUR, contrast=-1),
    "both 4": lambda model: model.explain(FOUR, target=4, contrast=4),
    "'steps' is 7": lambda model: model.explain(FOUR, steps=7),
    "scale": lambda model: model.activations(FOUR, "relu_1").png(scale="x"),
    r"has no weights \['x'\]; it has": lambda model: model.layers["conv_1"].png(["x"]),
    "has no weights 'x'; it has kernel": lambda model: model.layers["conv_1"].png("x"),
    r"'relu_1' \(ReLU\) has no weights\.": lambda model: model.layers["relu_1"].png(),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments_get_a_plain_message(model: digitscope.Model, message: str) -> None:
    """Each wrong argument has an error that says what is expected."""
    with pytest.raises(digitscope.DigitscopeError, match=message):
        WRONG[message](model)


def test_threads_share_a_model(model: digitscope.Model) -> None:
    """Sixteen threads that use all methods at the same time get the right answers."""
    right = model.inspect(FOUR)["relu_2"].values

    def use(turn: int) -> bool:
        digit = turn % 10
        return (
            model.predict(sample_png(digit)).digit == digit
            and model.read(DIGITS[digit]).text == str(digit)
            and np.array_equal(model.activations(FOUR, "relu_2").values, right)
            and model.unit(FOUR, "relu_2").observed == right.max()
        )

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(use, range(64)))


def test_models_and_results_travel_to_other_processes(model: digitscope.Model) -> None:
    """A pickled model is loaded again from its folder, once; results are copied."""
    content = pickle.dumps(model.predict)
    assert len(content) < 1000
    again, once_more = pickle.loads(content), pickle.loads(content)
    assert again.__self__ is once_more.__self__
    assert again(FOUR).digit == 4
    results = [
        model.predict(FOUR),
        model.read(FOUR),
        model.preprocess(FOUR),
        model.activations(FOUR, "relu_1"),
        model.unit(FOUR, "relu_1"),
        model.explain(FOUR, checks=False),
    ]
    for result, copy in zip(results, pickle.loads(pickle.dumps(results)), strict=True):
        assert repr(copy) == repr(result)


def test_program_that_mypy_checks_runs(model: digitscope.Model, tmp_path: Path) -> None:
    """The program whose types mypy checks runs."""
    (tmp_path / "7.png").write_bytes(sample_png(7))
    use(model, tmp_path / "7.png")
