"""Networks of public tutorials are imported, served and inspected.

Five run with `make test`, all with `make test-all`.
"""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy import special

from app.inference.keras_runtime import layer_outputs, load_keras
from app.inspection.activations import inspect_image
from app.inspection.provenance import explain_unit
from app.inspection.score import Question, input_gradients
from app.recognise import Options
from app.samples import sample_png
from tests.training.importing.conftest import Imported
from tests.training.importing.networks import TUTORIALS
from training.importing.digits import load_digits

FEW = ("quickstart", "augmented", "legacy", "permuted", "sixty-two")
NAMES = [
    pytest.param(name, marks=[] if name in FEW else [pytest.mark.tutorials]) for name in TUTORIALS
]
Make = Callable[[str], Imported]


def _expected(network: Imported, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what the tutorial's own network answers, with the tutorial's own preparation."""
    answers = network.original.predict(network.tutorial.prepare(images), verbose=0)
    answers = special.softmax(answers, axis=1) if network.tutorial.logits else answers
    if network.tutorial.order:
        answers = answers[:, list(network.tutorial.order)]
    return np.asarray(answers, np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_the_networks_own(imported: Make, name: str) -> None:
    """The service answers as `keras.predict` with the right preparation, on 100 digits."""
    network = imported(name)
    images = load_digits().measured.images[:100]
    answers = network.model.runtime.predict(images).probabilities
    tolerance = 5e-3 if name == "mixed" else 1e-5  # its own network computes in half precision
    np.testing.assert_allclose(answers, _expected(network, images), atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_the_scale_is_found(imported: Make, name: str) -> None:
    """The range of the pixels is that of the tutorial; the metadata keep all trials."""
    network = imported(name)
    details = network.result.metadata.imported
    assert details is not None
    assert details.scale == network.tutorial.scale
    losses = [trial.negative_log_likelihood for trial in details.trials]
    assert len(losses) >= 7
    assert losses[0] <= 1.1 * min(losses) + 0.02


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_shown_and_followed(imported: Make, name: str) -> None:
    """Activations equal Keras's, equations are right within 1e-4 where the layer is known."""
    model = imported(name).model
    inspected = inspect_image(sample_png(4), model, Options())
    pixels = inspected.prediction.prepared.pixels[None]
    outputs = model.runtime.inspect(pixels)
    assert set(outputs) == {layer.name for layer in model.network.layers}
    rng = np.random.default_rng(1)
    for layer in model.network.layers:
        if layer.operation is None:
            continue
        for _ in range(2):
            unit = tuple(int(rng.integers(size)) for size in layer.shape)
            provenance = explain_unit(inspected, layer, unit)
            tolerance = 1e-4 * max(1.0, abs(provenance.observed))
            assert provenance.abs_error <= tolerance, (layer.name, unit)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_the_tape_s(imported: Make, name: str) -> None:
    """The gradient of a logit equals `tf.GradientTape`'s, if every layer is known."""
    network = imported(name)
    layers = network.model.network
    if any(layer.operation is None for layer in layers.layers):
        assert network.result.notes  # the import said which layers are not followed
        return
    keras_file = network.model.bundle.read("model.keras")
    # Equal pixels have no single gradient after max pooling, so the paper gets a grain.
    grain = np.random.default_rng(5).uniform(0, 20, (2, 28, 28))
    images = (load_digits().measured.images[:2] + grain).astype(np.float32)
    logits = _logits(load_keras(keras_file), layers.layers[layers.scores].name)
    values = tf.constant(images[..., None])
    with tf.GradientTape() as tape:
        tape.watch(values)
        target = logits(values)[:, 3]
    expected = tape.gradient(target, values).numpy()[..., 0]
    actual = input_gradients(layers, images, Question(3))
    np.testing.assert_allclose(actual, expected, atol=1e-4 * max(1e-3, np.abs(expected).max()))


def _logits(model: keras.Model, layer: str) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda values: layer_outputs(model, values)[layer]


@pytest.mark.parametrize("name", NAMES)
def test_digits_are_measured(imported: Make, name: str) -> None:
    """Errors, temperature and thresholds are of 1,000 digits; the temperature is not applied."""
    metadata = imported(name).result.metadata
    assert metadata.validation is not None
    assert metadata.validation.digits == 1000
    assert metadata.validation.error_rate < 0.6
    assert metadata.fitted_temperature is not None
    assert metadata.temperature == 1.0
    assert metadata.verdict.not_a_digit_below > -1e8
    assert metadata.recipe == {}
