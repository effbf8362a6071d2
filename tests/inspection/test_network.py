"""The network in NumPy against Keras: every layer's output, gradients and resumed runs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.errors import NotFoundError, UnsupportedLayerError
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import KerasRuntime, layer_outputs
from app.inference.litert_runtime import LiteRtRuntime
from app.inference.model import Model
from app.network.functions import FUNCTIONS
from app.network.graph import IMAGE
from app.network.network import Network, read_network
from app.verdict import energy
from tests.conftest import Digits
from tests.inspection import networks
from tests.inspection.networks import as_network, pixels, votes


def _assert_close(got: np.ndarray, expected: np.ndarray, share: float = 1e-5) -> None:
    """Assert that two arrays differ by at most a share of the largest value."""
    scale = max(float(np.abs(expected).max()), 1e-3)
    np.testing.assert_allclose(got, expected, rtol=0, atol=share * scale)


def _keras_outputs(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return every layer's output by Keras's own means; for models without inner models."""
    view = keras.Model(model.inputs[0], {layer.name: layer.output for layer in model.layers})
    return {name: np.asarray(out) for name, out in view(images, training=False).items()}


def test_compiled_model_gives_every_activation_of_keras(
    classic: Model, classic_keras: keras.Model, digits: Digits
) -> None:
    """The compiled classic model gives every layer's output as Keras does, within 1e-5."""
    expected = _keras_outputs(classic_keras, pixels(digits, 8))
    got = classic.runtime.inspect(digits.images[:8])
    assert {layer.name for layer in classic.network.layers} == set(got) == set(expected)
    for name, values in expected.items():
        _assert_close(got[name], values)


def test_numpy_network_gives_every_activation_of_keras(
    classic: Model, classic_keras: keras.Model, digits: Digits
) -> None:
    """The NumPy network gives every layer's output as Keras does, from the Keras file."""
    expected = _keras_outputs(classic_keras, pixels(digits, 8))
    for layer, out in zip(
        classic.network.layers, classic.network.forward(pixels(digits, 8)), strict=True
    ):
        _assert_close(out, expected[layer.name])


def test_many_kinds_of_layer_agree_with_keras(
    kinds_model: Model, many_kinds: keras.Model, digits: Digits
) -> None:
    """Strided, grouped, dilated and depthwise convolutions, poolings and merges match Keras."""
    expected = _keras_outputs(many_kinds, pixels(digits, 4))
    network = kinds_model.network
    assert {layer.name for layer in network.layers} == set(expected) - {"image"}
    for layer, out in zip(network.layers, network.forward(pixels(digits, 4)), strict=True):
        _assert_close(out, expected[layer.name])


def test_models_inside_a_model_are_flattened(
    ensemble_model: Model, ensemble: keras.Model, digits: Digits
) -> None:
    """Inner layers are named by path, repeated calls by number, and their values are Keras's."""
    network = ensemble_model.network
    names = [layer.name for layer in network.layers]
    assert {"member_1/conv", "member_2/conv", "member_1/block/conv", "again", "again@1"} <= set(
        names
    )
    outputs = network.forward(pixels(digits, 4))
    expected = layer_outputs(ensemble, pixels(digits, 4))
    assert set(names) == set(expected)
    for layer, out in zip(network.layers, outputs, strict=True):
        _assert_close(out, np.asarray(expected[layer.name]))
    _assert_close(outputs[network.output], np.asarray(ensemble(pixels(digits, 4), training=False)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised in TensorFlow's LiteRT converter
def test_compiled_model_flattens_inner_models(ensemble: keras.Model, digits: Digits) -> None:
    """The compiled signature `inspect` has the paths and values of Keras."""
    compiled = LiteRtRuntime(compile_model(ensemble), interpreters=1)
    got = compiled.inspect(digits.images[:3])
    expected = KerasRuntime(ensemble).inspect(digits.images[:3])
    assert set(got) == set(expected)
    for name, values in expected.items():
        _assert_close(got[name], values)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised in TensorFlow's LiteRT converter
def test_logits_of_averaged_probabilities(digits: Digits) -> None:
    """Averaged members give logits whose softmax is the average and whose energy is their mean."""
    keras.utils.set_random_seed(5)
    model, images = votes(), digits.images[:6]
    compiled = LiteRtRuntime(compile_model(model), interpreters=1)
    for runtime in (KerasRuntime(model), compiled):
        got = runtime.predict(images)
        expected = np.asarray(model(images[..., None].astype(np.float32), training=False))
        _assert_close(got.probabilities, expected)
        layers = runtime.inspect(images)
        energies = [energy(layers[f"member_{index}/scores"]) for index in (1, 2)]
        _assert_close(got.logits, np.log(expected) + np.mean(energies, axis=0)[:, None])
        members = [layers[f"member_{index}/flatten"] for index in (1, 2)]
        _assert_close(got.features, np.concatenate(members, axis=1))


@pytest.mark.parametrize("name", ["classic", "kinds"])
def test_gradients_agree_with_gradient_tape(
    classic: Model,
    classic_keras: keras.Model,
    kinds_model: Model,
    many_kinds: keras.Model,
    digits: Digits,
    name: str,
) -> None:
    """The gradient of the logit of each image's label is that of tf.GradientTape."""
    model, reference = {
        "classic": (classic, classic_keras),
        "kinds": (kinds_model, many_kinds),
    }[name]
    images, labels = digits.grainy[:5, ..., None].astype(np.float32), digits.labels[:5]
    view = keras.Model(reference.inputs[0], reference.get_layer("logits").output)
    chosen = tf.one_hot(labels, 10)
    with tf.GradientTape() as tape:
        tape.watch(batch := tf.constant(images))
        value = tf.reduce_sum(view(batch, training=False) * chosen)
    expected = tape.gradient(value, batch).numpy()
    network = model.network
    outputs = network.forward(images)
    assert network.logits is not None
    got = network.gradients(images, outputs, {network.logits: chosen.numpy()})[IMAGE]
    _assert_close(got, expected, 1e-4)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_activation_functions_agree_with_keras(name: str) -> None:
    """Value and slope of each named activation agree with Keras and tf.GradientTape."""
    x = np.linspace(-7.05, 7.05, 96, dtype=np.float32)
    with tf.GradientTape() as tape:
        tape.watch(values := tf.constant(x))
        expected = keras.activations.get(name)(values)
    slope = tape.gradient(expected, values)
    y = FUNCTIONS[name].value(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, expected.numpy(), rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(FUNCTIONS[name].slope(x, y), slope.numpy(), rtol=1e-4, atol=1e-5)


def test_resumed_run_equals_a_whole_run(classic: Model, digits: Digits) -> None:
    """A run resumed from known outputs gives the same values; a mask sets channels to 0."""
    network, images = classic.network, pixels(digits, 2)
    full = network.forward(images)
    known = {at: full[at] for at in range(8)}
    resumed = network.resume(images, known)
    np.testing.assert_array_equal(resumed[-1], full[-1])
    layer = network.find("relu_1_1")
    mask = np.ones(layer.channels, np.float32)
    mask[[2, 5]] = 0
    masked = network.resume(images, {}, {layer.index: mask})[layer.index]
    np.testing.assert_array_equal(masked, full[layer.index] * mask)


def test_randomised_network_is_fixed_and_leaves_the_original_alone(
    classic: Model, digits: Digits
) -> None:
    """Shuffling kernels gives the same network each time and does not change the original."""
    network, images = classic.network, pixels(digits, 2)
    before = network.forward(images)[-1]
    randomised = network.randomised
    assert randomised is network.randomised
    assert np.abs(randomised.forward(images)[-1] - before).max() > 0.1
    np.testing.assert_array_equal(network.forward(images)[-1], before)


def test_unsupported_layer_can_be_shown_but_not_computed(digits: Digits, tmp_path) -> None:
    """An unsupported layer has a shape; computing it raises an error that names it."""
    layers = keras.layers
    image = keras.Input((28, 28, 1))
    x = layers.AdaptiveMaxPooling2D(28, name="unsupported")(image)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(10, name="logits")(x)
    network = as_network(keras.Model(image, layers.Softmax(name="softmax")(x)), tmp_path)
    assert network.find("unsupported").shape == (28, 28, 1)
    with pytest.raises(UnsupportedLayerError, match=r"'unsupported' \(AdaptiveMaxPooling2D\)"):
        network.forward(pixels(digits, 1))


def test_layers_are_found_by_name_and_index(classic: Model) -> None:
    """An address is a name or an index; the error for an unknown address lists all layers."""
    network: Network = classic.network
    assert network.find("conv_1_2") is network.find("5")
    with pytest.raises(NotFoundError) as caught:
        network.find("26")
    assert caught.value.fields["valid"][2] == "conv_1_1"


def test_unreadable_files_are_refused(tmp_path) -> None:
    """A file that is not a Keras file, or whose layers lack a shape, raises ValueError."""
    path = tmp_path / "model.keras"
    networks.ensemble().save(path)
    with pytest.raises(ValueError, match="member_1/rescale"):
        read_network(path.read_bytes(), {}, (28, 28, 1))
    with pytest.raises(ValueError, match=r"not a readable \.keras file"):
        read_network(b"nothing", {}, (28, 28, 1))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_slope_that_needs_no_input_follows_from_the_output(name: str) -> None:
    """Where a function says so, its slope is the same from its output alone, also at its edges."""
    function = FUNCTIONS[name]
    x = np.array([-7, -3, -1, -1e-3, 0, 1e-3, 0.5, 1, 3, 6, 7], np.float32)
    y = function.value(x)
    if not function.slope_needs_input:
        np.testing.assert_allclose(function.slope(y, y), function.slope(x, y), rtol=1e-6)
