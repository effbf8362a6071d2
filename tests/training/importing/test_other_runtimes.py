"""Networks that LiteRT does not compile: `.tflite` files, SavedModels, and what Keras serves.

Most run with `make test-all` only.
"""

import importlib
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from fastapi.testclient import TestClient
from keras import layers

from app.main import create_app
from app.samples import sample_pixels, sample_png
from app.settings import Settings
from tests.training.importing.conftest import load
from tests.training.importing.networks import Tutorial, _many, unit, write_tflite
from training.errors import ImportingError
from training.importing import run
from training.importing.digits import load_digits
from training.importing.options import Options
from training.importing.run import import_file

IMAGES = load_digits().measured.images[:100]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A small network, trained for a moment."""
    return Tutorial(_many(10), epochs=2).train()


def _answers(path: Path) -> np.ndarray:
    """Return what a plain interpreter answers, with the network's own preparation."""
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    taken, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for image in unit(IMAGES):
        values = image[None]
        if taken["dtype"] == np.uint8:
            scale, zero = taken["quantization"]
            values = np.clip(np.rint(values / scale + zero), 0, 255).astype(np.uint8)
        interpreter.set_tensor(taken["index"], values)
        interpreter.invoke()
        output = interpreter.get_tensor(made["index"])[0].astype(np.float32)
        scale, zero = made["quantization"]
        rows.append((output - zero) * scale if scale else output)
    return np.stack(rows)


@pytest.mark.parametrize("quantised", [True, pytest.param(False, marks=pytest.mark.tutorials)])
def test_tflite_file_is_served_as_it_is(
    tmp_path: Path, network: keras.Model, quantised: bool
) -> None:
    """Answers equal the file's interpreter's; layers are shown; what needs more gets 501."""
    path = tmp_path / "net.tflite"
    write_tflite(network, path, quantised=quantised)
    result = import_file(path, Options("net"), tmp_path / "models")
    assert result.metadata.runtime == "tflite"
    assert result.metadata.imported is not None
    assert result.metadata.imported.scale == "0..1"
    model = load(tmp_path / "models", "net")
    outputs = model.runtime.predict(IMAGES)
    np.testing.assert_allclose(outputs.probabilities, _answers(path), atol=1e-6)
    assert np.ptp(outputs.logits.max(axis=1)) > 1  # the input of the softmax, not its logarithm
    shown = model.runtime.inspect(IMAGES[:2])
    assert shown["conv_2d"].shape == (2, 26, 26, 16)
    assert shown["conv_2d"].max() > 0
    settings = Settings(model_dir=tmp_path / "models", default_model="net")
    with TestClient(create_app(settings)) as client:
        assert client.post("/predict", content=sample_png(7)).json()["label"] == "7"
        assert client.post("/inspect", content=sample_png(7)).status_code == 200
        refused = client.post("/explain", content=sample_png(7))
        assert refused.status_code == 501
        assert "'" in refused.json()["detail"]
        assert client.get("/models").json()["models"][0]["runtime"] == "tflite"


@pytest.mark.tutorials
def test_saved_model_needs_trust(tmp_path: Path, network: keras.Model) -> None:
    """A SavedModel holds a program: without --trust it is refused, with what to do."""
    network.export(tmp_path / "saved", verbose=False)
    with pytest.raises(ImportingError, match="--trust savedmodel"):
        import_file(tmp_path / "saved", Options("saved"), tmp_path / "models")
    options = Options("saved", trust=("savedmodel",))
    result = import_file(tmp_path / "saved", options, tmp_path / "models")
    answers = load(tmp_path / "models", "saved").runtime.predict(IMAGES).probabilities
    expected = network.predict(unit(IMAGES), verbose=0)
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    assert result.metadata.imported is not None
    assert result.metadata.imported.trusted == ["savedmodel"]


@pytest.mark.tutorials
def test_keras_serves_what_litert_cannot(
    tmp_path: Path, network: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recurrent layer that is too long to unroll has no LiteRT form; Keras serves it."""
    monkeypatch.setattr("training.importing.rebuild.MAX_UNROLLED", 4)

    def build() -> keras.Model:
        image = [keras.Input((28, 28)), layers.SimpleRNN(32)]
        return keras.Sequential([*image, layers.Dense(10, activation="softmax")])

    model = Tutorial(build, lambda images: unit(images)[..., 0], epochs=4).train()
    model.save(tmp_path / "rows.keras")
    result = import_file(tmp_path / "rows.keras", Options("rows"), tmp_path / "models")
    assert result.metadata.runtime == "keras"
    assert any("Keras serves this network" in note for note in result.notes)
    settings = Settings(model_dir=tmp_path / "models", default_model="rows")
    with TestClient(create_app(settings)) as client:
        assert client.get("/models").json()["models"][0]["runtime"] == "keras"
        assert client.post("/inspect", content=sample_png(7)).status_code == 200
    answers = load(tmp_path / "models", "rows").runtime.predict(IMAGES).probabilities
    expected = model.predict(unit(IMAGES)[..., 0], verbose=0)
    np.testing.assert_allclose(answers, expected, atol=1e-5)


@pytest.mark.tutorials
def test_calibrate_applies_the_temperature(tmp_path: Path, network: keras.Model) -> None:
    """With --calibrate, the logits are divided by the temperature that fits."""
    network.save(tmp_path / "net.keras")
    models = tmp_path / "models"
    plain = import_file(tmp_path / "net.keras", Options("plain"), models).metadata
    options = Options("fitted", calibrate=True)
    fitted = import_file(tmp_path / "net.keras", options, models).metadata
    assert plain.temperature == 1
    assert fitted.temperature == pytest.approx(plain.fitted_temperature)
    assert fitted.fitted_temperature == fitted.temperature
    assert plain.validation is not None
    assert fitted.validation is not None
    assert fitted.validation.errors == plain.validation.errors
    logits = {
        name: load(models, name).runtime.predict(IMAGES).logits for name in ("plain", "fitted")
    }
    np.testing.assert_allclose(logits["plain"] / fitted.temperature, logits["fitted"], atol=1e-3)


@pytest.mark.tutorials
def test_names_tell_the_order_of_the_classes(tmp_path: Path, network: keras.Model) -> None:
    """Names that are the ten digits bring the classes into their order; other names stay."""
    network.save(tmp_path / "net.keras")
    names = tmp_path / "names.txt"
    names.write_text("\n".join(["1", "0", *"23456789"]))
    options = Options("swapped", classes=names)
    metadata = import_file(tmp_path / "net.keras", options, tmp_path / "models").metadata
    assert metadata.classes == list("0123456789")
    answers = load(tmp_path / "models", "swapped").runtime.predict(IMAGES).probabilities
    expected = network.predict(unit(IMAGES), verbose=0)[:, [1, 0, *range(2, 10)]]
    np.testing.assert_allclose(answers, expected, atol=1e-5)


@pytest.mark.tutorials
def test_a_model_that_was_trained_here_is_not_replaced(
    tmp_path: Path, network: keras.Model
) -> None:
    """An import takes the next version of an imported model, and no other's name."""
    network.save(tmp_path / "net.keras")
    models = tmp_path / "models"
    first = import_file(tmp_path / "net.keras", Options("net", input="0..1"), models).metadata
    second = import_file(tmp_path / "net.keras", Options("net", input="0..1"), models).metadata
    assert (first.version, second.version) == (1, 2)
    metadata = second.model_copy(update={"imported": None})
    run.bundle.seal(models / "net", metadata)
    with pytest.raises(ImportingError, match="choose another --name"):
        import_file(tmp_path / "net.keras", Options("net"), models)


MODULE = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, values):
        return 2 * values

def halved_relu(values):
    return keras.ops.relu(values) / 2
"""


@pytest.mark.tutorials
def test_trusted_module_defines_layers_and_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --trust and its module, a class and a function that Keras lacks are imported."""
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    mine = importlib.import_module("mine")
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            mine.Doubled(),
            layers.Flatten(),
            layers.Dense(16, activation=mine.halved_relu),
            layers.Dense(10, activation="softmax"),
        ]
    )
    for name in ("net.keras", "net.h5"):
        network.save(tmp_path / name)
        with pytest.raises(ImportingError, match="--trust MODULE"):
            import_file(tmp_path / name, Options("net"), tmp_path / "models")
        options = Options("net", input="0..1", trust=(str(tmp_path / "mine.py"),))
        import_file(tmp_path / name, options, tmp_path / "models")
        answers = load(tmp_path / "models", "net").runtime.predict(IMAGES).probabilities
        expected = network.predict(unit(IMAGES), verbose=0)
        np.testing.assert_allclose(answers, expected, atol=1e-5)


@pytest.mark.tutorials
def test_two_classes_are_named_and_their_scale_is_found(tmp_path: Path) -> None:
    """A network that tells odd from even digits is served with its own two names."""

    def build() -> keras.Model:
        dense = [layers.Dense(32, activation="relu"), layers.Dense(2, activation="softmax")]
        return keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), *dense])

    network = Tutorial(build, labels=lambda labels: labels.astype(int) % 2).train()
    network.save(tmp_path / "odd.keras")
    (tmp_path / "names.txt").write_text("even\nodd\n")
    options = Options("odd", classes=tmp_path / "names.txt")
    metadata = import_file(tmp_path / "odd.keras", options, tmp_path / "models").metadata
    assert metadata.imported is not None
    assert metadata.imported.scale == "0..1"
    assert metadata.validation is None
    settings = Settings(model_dir=tmp_path / "models", default_model="odd")
    with TestClient(create_app(settings)) as client:
        for digit in range(10):
            answer = client.post("/predict", content=sample_png(digit)).json()
            (expected,) = network.predict(unit(sample_pixels(digit)[None]), verbose=0)
            assert answer["probabilities"] == pytest.approx(expected.tolist(), abs=1e-5)
            assert answer["label"] == ("even", "odd")[expected.argmax()]
        outputs = client.get("/v2/models/odd").json()["outputs"]
        assert outputs[0]["shape"] == [-1, 2]
        assert client.post("/explain?target=2", content=sample_png(7)).status_code == 422
