"""Steps of learning against Keras: gradients, steps, shared weights, ensembles and divergence."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.cancellation import WorkCancelled, cancel_scope
from app.errors import InvalidInputError, UnsupportedLayerError
from app.inference.model import Model
from app.inference.registry import Registry
from app.inspection.backpropagation import backpropagate, gradient_of
from app.inspection.descent import MOMENTUM, LearnRequest, Optimizer
from app.inspection.learning import learn
from app.network.layers.passthrough import Identity
from app.network.network import Layer, Network
from app.network.weight_gradients import calls_by_store, in_float64, weight_gradients
from app.recognise import Options
from app.samples import sample_pixels, sample_png
from tests.conftest import Digits
from tests.inspection import networks, zoo
from tests.inspection.networks import as_model

TOLERANCE = 1e-4  # of the largest gradient of an array


@pytest.fixture(scope="module")
def image(digits: Digits) -> np.ndarray:
    """Return a digit on a noisy background, float64 `[1, 28, 28, 1]`."""
    return digits.grainy[:1, ..., None].astype(np.float64)


def _tape(
    model: keras.Model, image: np.ndarray, label: int, layers: list, variables: list
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return Keras's gradient of the loss for the outputs of layers, and for variables."""
    with tf.GradientTape() as tape:
        *outputs, last = _run(model, tf.constant(image, tf.float32), layers)
        if isinstance(_operations(model)[-1], keras.layers.Softmax):
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits([label], last)
        else:
            loss = -tf.math.log(last[0, label])
    values = [variable.value for variable in variables]
    found = [np.asarray(part) for part in tape.gradient(loss, [*outputs, *values])]
    return found[: len(outputs)], found[len(outputs) :]


def _run(model: keras.Model, pixels: tf.Tensor, layers: list) -> list[tf.Tensor]:
    """Return the outputs of layers, then what the loss is computed from.

    These are the logits of a model that ends in a softmax, because in float32 a probability may be
    0, else the model's outputs.
    """
    *_, last = operations = _operations(model)
    before = isinstance(last, keras.layers.Softmax)
    if not isinstance(model, keras.Sequential):
        ends = [last.input if before else last.output]
        probe = keras.Model(model.inputs, [*(layer.output for layer in layers), *ends])
        return keras.tree.flatten(probe(pixels, training=False))
    made = {}
    for layer in operations:
        made[layer.name] = pixels = layer(pixels, training=False)
    return [made[layer.name] for layer in (*layers, operations[-2 if before else -1])]


def _close(got: np.ndarray, want: np.ndarray, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * max(np.abs(want).max(), 1e-6))


def _find(model: keras.Model, layer: Layer) -> keras.layers.Layer:
    """Return the Keras layer of a path."""
    found = model
    for part in layer.name.partition("@")[0].split("/"):
        found = found.get_layer(part)
    return found


def _operations(model: keras.Model) -> list:
    """Return the layers and operators of a model."""
    return model.layers if isinstance(model, keras.Sequential) else model.operations


def _compare(keras_model: keras.Model, network: Network, image: np.ndarray) -> None:
    """Hold the gradients of all weights, and of the outputs of outer layers, to the tape."""
    wide = in_float64(network)
    # Not the least probable class: in float32, Keras's probability of that may be 0.
    label = int(wide.forward(image)[wide.output][0].argsort()[-2])
    found = backpropagate(wide, image, label)
    got, variables = [], []
    for calls in calls_by_store(found.network).values():
        grads = weight_gradients(calls, image, found.outputs, found.gradients)
        trained = _find(keras_model, calls[0]).trainable_variables
        assert len(grads) == len(trained)
        got += grads.values()
        variables += trained
    operations = {operation.name: operation for operation in _operations(keras_model)}
    # The tape follows what depends on a variable; Keras's identities return their input itself.
    first = min(calls[0].index for calls in calls_by_store(network).values())
    outer = [
        layer
        for layer in network.layers[first:]
        if layer.index in found.gradients
        and layer.index != network.output
        and layer.name in operations
        and not isinstance(layer.operation, Identity)
    ]
    layers = [operations[layer.name] for layer in outer]
    right, right_weights = _tape(keras_model, image, label, layers, variables)
    for layer, want in zip(outer, right, strict=True):
        _close(found.gradients[layer.index], want)
    for one, want in zip(got, right_weights, strict=True):
        _close(one, want)


@pytest.mark.parametrize("name", ["classic", "compact", "dropconnect"])
def test_gradients_of_the_published_networks_agree_with_the_tape(
    registry: Registry, image: np.ndarray, name: str
) -> None:
    """Every weight and every layer's output has Keras's gradient."""
    model = registry.get(name).in_float32
    stored = keras.models.load_model(model.bundle.folder / model.bundle.source, compile=False)
    _compare(stored, model.network, image)


@pytest.mark.parametrize("build", list(zoo.COMPUTABLE.values()))
def test_gradients_of_every_layer_kind_agree_with_the_tape(
    build, image: np.ndarray, classic: Model, tmp_path
) -> None:
    """The gradient flows through all kinds at once."""
    keras_model = build()
    model = as_model(keras_model, tmp_path, classic)
    _compare(keras_model, model.network, image)


@pytest.mark.parametrize("build", [networks.ensemble, networks.votes, zoo.flat_input])
def test_gradients_flow_into_models_inside_a_model(
    build, image: np.ndarray, classic: Model, tmp_path
) -> None:
    """Members of an ensemble share the gradient; calls of one layer add theirs up."""
    keras_model = build()
    model = as_model(keras_model, tmp_path, classic)
    _compare(keras_model, model.network, image)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_steps_are_those_of_keras(
    classic: Model, classic_keras: keras.Model, image: np.ndarray, optimizer: Optimizer
) -> None:
    """Four steps give the losses and the changes that Keras's optimizer gives."""
    pixels = image[0, ..., 0].astype(np.uint8)
    label = _runner_up(classic, pixels)
    learned = learn(pixels, classic, Options(), LearnRequest(label, 1e-4, optimizer, 4))
    copy = keras.models.clone_model(classic_keras)
    copy.set_weights(classic_keras.get_weights())
    momentum = MOMENTUM if optimizer == "momentum" else 0.0
    keras_optimizer = keras.optimizers.SGD(1e-4, momentum=momentum)
    losses = []
    for _ in range(5):
        with tf.GradientTape() as tape:
            *_, logits = _run(copy, tf.constant(image, tf.float32), [])
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits([label], logits)
        losses.append(float(loss[0]))
        if len(losses) < 5:
            variables = copy.trainable_variables
            keras_optimizer.apply(tape.gradient(loss, variables), variables)
    np.testing.assert_allclose(learned.losses, losses, rtol=1e-3)
    assert learned.losses[-1] < learned.losses[0]
    for one in learned.layers:
        for weight, after, before in zip(
            one.weights,
            *(
                net.get_layer(one.layer.name).trainable_variables if one.weights else []
                for net in (copy, classic_keras)
            ),
            strict=True,
        ):
            change = np.linalg.norm(np.asarray(after) - np.asarray(before))
            assert weight.change_norm == pytest.approx(change, rel=1e-2, abs=1e-6)


def _runner_up(model: Model, pixels: np.ndarray) -> int:
    return int(model.runtime.predict(pixels[None]).probabilities[0].argsort()[-2])


def test_the_served_network_never_changes(classic: Model) -> None:
    """Weights and answers are the same bits after steps that destroy the copy."""
    before = [
        (layer.name, name, values.copy())
        for layer in classic.network.layers
        for name, values in layer.weights.items()
    ]
    digit = sample_png(4)
    outputs = classic.network.forward(np.ones((1, 28, 28, 1), np.float32))
    learn(digit, classic, Options(), LearnRequest(3, 1e6, "momentum", 3))
    for layer, name, values in before:
        now = classic.network.by_name[layer].weights[name]
        assert now.dtype == np.float32
        np.testing.assert_array_equal(now, values)
    again = classic.network.forward(np.ones((1, 28, 28, 1), np.float32))
    for one, other in zip(outputs, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_numbers_that_end_end_the_rows(classic: Model, tmp_path) -> None:
    """A rate that is much too large gives finite rows, no warnings, and says so."""
    image = keras.Input((28, 28, 1))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Dense(20, use_bias=False)(x)
    x = keras.layers.Softmax()(keras.layers.Dense(10, use_bias=False)(x))
    model = as_model(networks.randomise(keras.Model(image, x)), tmp_path, classic)
    label = int(learn(sample_png(4), model, Options(), LearnRequest(0)).probabilities[0].argmin())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learned = learn(sample_png(4), model, Options(), LearnRequest(label, 1e6, "sgd", 50))
    assert learned.diverged
    assert learned.ended
    assert 0 < learned.steps < 50
    assert learned.losses[-1] > learned.losses[0]
    assert np.isfinite(learned.losses).all()
    assert np.isfinite(learned.probabilities).all()
    assert all(np.isfinite(w.change_norm) for one in learned.layers for w in one.weights)


def test_a_certain_ensemble_has_no_negative_loss(ensemble_model: Model) -> None:
    """A loss that reaches 0 is 0, not -0, also without logits."""
    pixels = sample_pixels(7)
    losses = learn(pixels, ensemble_model, Options(), LearnRequest(7, 1e6, "sgd", 8)).losses
    assert 0 in losses
    assert not np.signbit(losses).any()


def test_calls_of_one_layer_share_their_weights(ensemble_model: Model) -> None:
    """The second call names the first, and weights are listed once."""
    learned = learn(sample_png(4), ensemble_model, Options(), LearnRequest(3))
    by_name = {one.layer.name: one for one in learned.layers}
    assert [weight.name for weight in by_name["again"].weights] == ["kernel", "bias"]
    assert by_name["again@1"].weights == ()
    assert by_name["again@1"].shares_weights_with is by_name["again"].layer
    assert "again@1" not in [layer.name for layer in learned.most_changed]


def test_a_layer_that_cannot_be_computed_is_named(classic: Model, tmp_path) -> None:
    """Recurrent layers and attention have no gradient here: the error names the first of them."""
    model = as_model(zoo.sequences(), tmp_path, classic)
    with pytest.raises(UnsupportedLayerError, match="'both'"):
        learn(sample_png(4), model, Options(), LearnRequest(3))


def test_a_layer_that_the_loss_ignores_stays(classic: Model, tmp_path) -> None:
    """Its gradient is 0, and its weights stay as they are."""
    image = keras.Input((28, 28, 1))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    aside = keras.layers.Dense(10, name="aside")(flat)
    none = keras.layers.Rescaling(0.0, name="none")
    x = keras.layers.Dense(10, name="logits")(flat)
    x = keras.layers.Softmax(name="softmax")(keras.layers.Add(name="sum")([x, none(aside)]))
    model = as_model(keras.Model(image, x), tmp_path, classic)
    learned = learn(sample_png(4), model, Options(), LearnRequest(3))
    aside_layer = next(one for one in learned.layers if one.layer.name == "aside")
    assert (aside_layer.gradient_norm, aside_layer.largest) == (0.0, 0.0)
    assert all(weight.change_norm == 0 for weight in aside_layer.weights)


def test_a_network_of_very_many_weights_is_refused(
    classic: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says how many it has and how many are allowed, before the image is read."""
    monkeypatch.setattr("app.inspection.backpropagation.MAX_WEIGHTS", 1000)
    for call in (
        lambda: learn(b"", classic, Options(), LearnRequest(3)),
        lambda: gradient_of(b"", classic, Options(), 3, classic.network.layers[0], None),
    ):
        with pytest.raises(InvalidInputError, match=r"has 891946 weights; .* at most 1000"):
            call()


def test_a_slow_network_gets_fewer_steps(classic: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of steps follows from the size of the network."""
    monkeypatch.setattr("app.inspection.cost_limits.MAX_GRADIENT_PRODUCTS", 600_000_000)
    learned = learn(sample_png(4), classic, Options(), LearnRequest(3, 1e-4, "sgd", 50))
    assert learned.steps == 2
    assert not learned.diverged


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_networks_without_logits_learn(
    activation: str, image: np.ndarray, classic: Model, tmp_path
) -> None:
    """The loss is `-log(p)` of what a network gives as the label's probability."""
    pixels = keras.Input((28, 28, 1))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels))
    x = keras.layers.Dense(10, activation=activation)(keras.layers.Dense(8, "tanh")(flat))
    keras_model = keras.Model(pixels, x)
    model = as_model(keras_model, tmp_path, classic)
    assert model.network.logits is None
    _compare(keras_model, model.network, image)
    learned = learn(sample_png(4), model, Options(), LearnRequest(3))
    assert learned.losses[0] == pytest.approx(-np.log(learned.probabilities[0][3]))
    assert learned.losses[1] < learned.losses[0]


def test_learning_ends_when_nobody_waits(classic: Model) -> None:
    """A request that is cancelled stops before the next layer."""
    cancelled = threading.Event()

    def hold(size: int) -> AbstractContextManager[None]:
        cancelled.set()  # after the image was read, before the first step
        return nullcontext()

    options = Options(working_memory=hold)
    with cancel_scope(cancelled), pytest.raises(WorkCancelled):
        learn(sample_png(4), classic, options, LearnRequest(3, steps=50))


def test_copies_of_the_weights_count_as_memory(classic: Model) -> None:
    """A float64 copy of all weights, and one more with momentum."""
    held: list[int] = []

    @contextmanager
    def hold(size: int) -> Iterator[None]:
        held.append(size)
        yield

    options = Options(working_memory=hold)
    for optimizer in get_args(Optimizer):
        learn(sample_png(4), classic, options, LearnRequest(3, optimizer=optimizer))
    plain, momentum = (size for size in held if size > 8 * 891_946)
    assert momentum - plain == 8 * 891_946
