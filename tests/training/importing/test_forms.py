"""Input forms, last layers and the order of classes, on small networks that learned nothing."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from scipy import special

from tests.training.importing.conftest import load
from tests.training.importing.networks import unit
from training.errors import ImportingError
from training.importing.adapter import form_of
from training.importing.classes import IDENTITY, find_order, order_of_names
from training.importing.digits import load_digits
from training.importing.options import Options
from training.importing.run import import_file
from training.importing.scale import CANDIDATES, parse_scale

IMAGES = load_digits().measured.images[:50]


@pytest.mark.parametrize(
    ("shape", "full", "fits"),
    [
        ((784,), (784,), ("same",)),
        ((1024,), (1024,), ("padded", "resized")),
        ((2352,), (2352,), ("same",)),
        ((28, 28), (28, 28), ("same",)),
        ((None, 28), (28, 28), ("same",)),
        ((784, 1), (784, 1), ("same",)),
        ((28, 28, 1), (28, 28, 1), ("same",)),
        ((None, None, 3), (28, 28, 3), ("same",)),
        ((1, 28, 28), (1, 28, 28), ("same",)),
        ((3, 32, 32), (3, 32, 32), ("padded", "resized")),
        ((64, 64, 3), (64, 64, 3), ("resized",)),
        ((8, 8, 1), (8, 8, 1), ("resized",)),
        ((28, 28, 1, 1), (28, 28, 1, 1), ("same",)),
    ],
)
def test_form_is_read_from_the_shape(
    shape: tuple[int | None, ...], full: tuple[int, ...], fits: tuple[str, ...]
) -> None:
    """Every form of an image of a digit is known, with unknown sizes filled in."""
    form = form_of(shape)
    assert form.shape == full
    assert form.fits == fits


@pytest.mark.parametrize("shape", [(28, 30, 1), (28, 28, 2), (13,), (1000, 7), (), (2, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """The message says which forms are expected."""
    with pytest.raises(ImportingError, match="expected an image such as 28x28"):
        form_of(shape)


def test_scales_are_named() -> None:
    """Each candidate can be given by its name, and a mean with a deviation by two numbers."""
    assert parse_scale("auto") is None
    assert [parse_scale(scale.name) for scale in CANDIDATES] == list(CANDIDATES)
    given = parse_scale("0.5,0.5")
    assert given is not None
    assert given.limits == pytest.approx((-1, 1))


def test_order_is_read_from_confusion_and_names() -> None:
    """Only a clear confusion is a permutation; names of all ten digits decide."""
    labels = np.arange(100, dtype=np.uint8) % 10
    moved = np.eye(10, dtype=np.float32)[(labels + 9) % 10]
    assert find_order(moved, labels, 10).digit_classes == (9, *range(9))
    rng = np.random.default_rng(1)
    assert find_order(rng.normal(size=(100, 10)).astype(np.float32), labels, 10) == IDENTITY
    named = order_of_names(["b", *"9876543210", "a"])
    assert named is not None
    assert named.sources(12) == [*range(10, 0, -1), 0, 11]
    assert order_of_names(list("abcdefghij")) is None


def _sequential(*inner: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((28, 28, 1)), *inner])


def _dense(activation: str) -> Callable[[], keras.Model]:
    return lambda: _sequential(layers.Flatten(), layers.Dense(10, activation=activation))


def _two_outputs() -> keras.Model:
    image = keras.Input((28, 28, 1))
    flat = layers.Flatten()(image)
    first, second = (layers.Dense(10, activation="softmax")(flat) for _ in range(2))
    return keras.Model(image, [first, second])


def _average() -> keras.Model:
    image = keras.Input((28, 28, 1))
    members = [_dense("softmax")() for _ in range(2)]
    return keras.Model(image, layers.Average()([member(image) for member in members]))


def _features() -> keras.Model:
    """A layer has a name that has a meaning for the compiled model."""
    convolution = layers.Conv2D(4, 3, name="features")
    return _sequential(convolution, layers.Flatten(), layers.Dense(10, activation="softmax"))


def _shared() -> keras.Model:
    image = keras.Input((28, 28, 1))
    same = layers.Conv2D(4, 3, padding="same", activation="relu")
    value = same(same(layers.Conv2D(4, 1)(image)))
    return keras.Model(image, layers.Dense(10, activation="softmax")(layers.Flatten()(value)))


def _convolutional() -> keras.Model:
    return _sequential(layers.Conv2D(10, 28), layers.Flatten(), layers.Softmax())


def _dropout_last() -> keras.Model:
    return _sequential(
        layers.Flatten(), layers.Dense(10, activation="softmax"), layers.Dropout(0.1)
    )


HEADS: dict[str, Callable[[], keras.Model]] = {
    "softmax": _dense("softmax"),
    "logits": _dense("linear"),
    "log-softmax": _dense("log_softmax"),
    "sigmoid": _dense("sigmoid"),
    "two outputs": _two_outputs,
    "average": _average,
    "features": _features,
    "shared layer": _shared,
    "convolution": _convolutional,
    "dropout last": _dropout_last,
}


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(name, marks=[] if name in ("sigmoid", "average") else pytest.mark.tutorials)
        for name in HEADS
    ],
)
def test_every_last_layer_gives_probabilities_and_logits(tmp_path: Path, head: str) -> None:
    """Answers are those of the network by the kind of its output; the score tells images apart."""
    keras.utils.set_random_seed(1)
    network = HEADS[head]()
    network.save(tmp_path / "net.keras")
    import_file(tmp_path / "net.keras", Options("net", input="0..1"), tmp_path / "models")
    model = load(tmp_path / "models", "net")
    outputs = model.runtime.predict(IMAGES)
    answers = keras.tree.flatten(network.predict(unit(IMAGES), verbose=0))[0]
    if head in ("logits", "log-softmax"):
        answers = special.softmax(answers, axis=1)
    answers = answers / answers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs.probabilities, answers, atol=1e-5)
    np.testing.assert_allclose(special.softmax(outputs.logits, axis=1), answers, atol=1e-5)
    assert outputs.features.ndim == 2
    assert all(layer.operation for layer in model.network.layers)
