"""What is written is served, and what is not is refused with the reason and the layer."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from app import bundle
from app.inference.keras_runtime import KerasRuntime
from app.network.graph import read_steps
from app.network.keras_file import check_keras_file
from tests.training.importing.conftest import load
from training.errors import ImportingError, short_reason
from training.importing import formats
from training.importing.digits import load_digits
from training.importing.network import Choice, build, rebuild
from training.importing.options import Options
from training.importing.proof import LAYER_TOLERANCE, compare_with_file, differing_from_file
from training.importing.run import import_file
from training.importing.scale import parse_scale
from training.importing.served import check_served

IMAGES = load_digits().measured.images[:20]
SAMPLE = IMAGES.astype(np.float32)[..., None]


class Nameless(layers.Layer):
    """A class whose configuration Keras writes without the name."""

    def __init__(self, **options: Any) -> None:
        """Take any options."""
        super().__init__(**options)

    def call(self, values: Any) -> Any:
        """Double the values."""
        return 2 * values


def _choice() -> Choice:
    scale = parse_scale("0..1")
    assert scale is not None
    return Choice(scale, "same", range(10))


def test_a_layer_that_stores_a_weight_twice_is_served(tmp_path: Path) -> None:
    """The parameters of the bundle are what its file holds; a bundle with fewer is refused."""
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.SpectralNormalization(layers.Conv2D(4, 3, strides=3)),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    network.save(tmp_path / "net.keras")
    options = Options("net", input="0..1")
    result = import_file(tmp_path / "net.keras", options, tmp_path / "models")
    stored = check_keras_file((result.folder / bundle.KERAS_FILE).read_bytes())
    assert result.metadata.parameters == stored > network.count_params()
    assert load(tmp_path / "models", "net").runtime.predict(IMAGES).probabilities.shape == (20, 10)
    path = result.folder / bundle.METADATA
    metadata = json.loads(path.read_text()) | {"parameters": stored - 1}
    path.write_text(json.dumps(metadata))
    with pytest.raises(ImportingError, match=f"^The service would not .* have {stored} weights"):
        check_served(result.folder)


def test_a_layer_without_a_name_in_its_configuration_is_read() -> None:
    """Its entry in the model has one; a Sequential model has none, which is said plainly."""
    image = keras.Input((28, 28, 1))
    model = keras.Model(image, layers.Flatten()(Nameless(name="doubled")(image)))
    steps, _ = read_steps(json.loads(model.to_json()))
    assert next(step.name for step in steps) == "doubled"
    sequential = keras.Sequential([image, Nameless(name="doubled")])
    with pytest.raises(ValueError, match="a layer of the class Nameless has no name"):
        read_steps(json.loads(sequential.to_json()))


def test_the_output_with_ten_classes_is_served() -> None:
    """The changes name it, and the proof compares it with the same output of the file."""
    image = keras.Input((28, 28, 1))
    flat = layers.Flatten()(image)
    heads = [layers.Dense(2, "softmax", name="parity"), layers.Dense(10, "softmax", name="digit")]
    core = rebuild(keras.Model(image, [head(flat) for head in heads]), SAMPLE)
    assert core.classes == 10
    assert any("2 outputs; 'digit' is served" in change for change in core.changes)
    answers = KerasRuntime(build(core, _choice())).predict(IMAGES).probabilities
    assert compare_with_file(core, _choice(), IMAGES, answers).holds


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (lambda values: keras.ops.argmax(values, axis=-1), "single number .*leave out the argmax"),
        (layers.Dense(1, "sigmoid"), r"shape 1; .*Dense\(2, activation='softmax'\)"),
    ],
)
def test_an_output_that_is_no_row_of_classes_gets_advice(output: Any, sentence: str) -> None:
    """The message says what the output is, and what to do."""
    image = keras.Input((28, 28, 1))
    scores = layers.Dense(10)(layers.Flatten()(image))
    with pytest.raises(ImportingError, match=sentence):
        rebuild(keras.Model(image, output(scores)), SAMPLE)


@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_a_masked_recurrent_layer_answers_as_in_the_file() -> None:
    """It is not unrolled, because Keras then treats the masked steps differently."""
    image = keras.Input((28, 28))
    rows = layers.Bidirectional(layers.GRU(4, return_sequences=True))(layers.Masking()(image))
    scores = layers.Dense(10, activation="softmax")(layers.GlobalMaxPooling1D()(rows))
    core = rebuild(keras.Model(image, scores), SAMPLE)
    answers = KerasRuntime(build(core, _choice())).predict(IMAGES).probabilities
    assert compare_with_file(core, _choice(), IMAGES, answers).holds


def test_the_first_layer_that_differs_is_named() -> None:
    """Layers before it, and a last layer whose softmax was split off, are not."""
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(2, 3, activation="relu", name="first"),
            layers.Conv2D(2, 3, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    core = rebuild(network, SAMPLE)
    built = build(core, _choice())

    def differing() -> str:
        return differing_from_file(core, _choice(), built, IMAGES[:5], LAYER_TOLERANCE)

    assert differing() == ""
    layer = built.get_layer("second")
    layer.set_weights([values + 0.1 for values in layer.get_weights()])
    assert differing() == "second (Conv2D)"


def test_the_reason_at_the_end_of_an_error_of_keras_is_kept() -> None:
    """The configuration that Keras writes before it is not."""
    text = f"X cannot be read.\n\nconfig={'y' * 900}.\n\nException encountered: no 'dtype'"
    assert short_reason(ValueError(text), 300) == "no 'dtype'"
    shortened = short_reason(ValueError("begin" + "y" * 900 + "end"), 300)
    assert len(shortened) <= 300
    assert shortened.startswith("begin")
    assert shortened.endswith("end")


def test_a_large_file_gets_advice_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras ignores `include_optimizer` for `.keras` files; loading without it works."""
    monkeypatch.setattr(formats, "MAX_FILE_BYTES", 3)
    (tmp_path / "net.keras").write_bytes(b"PK34")
    with pytest.raises(ImportingError, match=r"load_model\(path, compile=False\).save\("):
        formats.read_source(tmp_path / "net.keras")
