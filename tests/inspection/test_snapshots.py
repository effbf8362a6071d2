"""A network can be run with the weights of its saved epochs."""

from collections.abc import Iterator

import numpy as np
import pytest

from app.errors import NotFoundError
from app.inference.keras_runtime import KerasRuntime, load_keras
from app.inference.model import Model
from app.inference.registry import Registry
from app.inspection.activations import inspect_image
from app.inspection.snapshots import network_at, run_epochs, saved_epochs
from app.recognise import Options
from app.samples import sample_png
from app.settings import REPOSITORY
from training.snapshots import load


@pytest.fixture(scope="module")
def earlier() -> Iterator[Model]:
    """A model whose bundle holds the network before its refit, as digitscope 0.1 wrote it."""
    registry = Registry(REPOSITORY / "tests" / "data" / "bundles", "version-0-1", interpreters=1)
    registry.load()
    yield registry.get(None)
    registry.close()


def test_saved_epochs_are_those_of_the_bundle(classic: Model) -> None:
    """The first and the last epoch are kept, and the epochs are ascending."""
    epochs = saved_epochs(classic.bundle)
    assert (epochs[0], epochs[-1]) == (1, len(classic.bundle.metadata.epochs))
    assert epochs == sorted(set(epochs))


def test_weights_are_those_that_training_stored(classic: Model) -> None:
    """Every layer's weights equal what `training` reads from the same file, bit by bit."""
    stored = load(classic.bundle.folder / "snapshots" / "epoch-002.npz")
    network = network_at(classic, 2)
    weights = {
        f"{layer.name}/{name}": values
        for layer in network.layers
        for name, values in layer.weights.items()
    }
    assert set(weights) == set(stored)
    for name, values in stored.items():
        np.testing.assert_array_equal(weights[name], values)


def test_the_published_epoch_is_the_network_before_the_refit(earlier: Model) -> None:
    """Its snapshot gives the same activations, up to the rounding to int8."""
    inspected = inspect_image(sample_png(7), earlier, Options())
    layer = earlier.network.find("relu_2")
    results = {result.epoch: result for result in run_epochs(inspected, layer)}
    published = results[earlier.bundle.metadata.published_epoch]
    before = KerasRuntime(load_keras(earlier.bundle.read("before-refit.keras")))
    (expected,) = before.inspect(inspected.prediction.prepared.pixels[None])[layer.name]
    assert np.abs(published.values - expected).max() < 0.03 * np.abs(expected).max()
    assert np.abs(results[1].values - expected).max() > 0.3 * np.abs(expected).max()
    assert all(abs(float(one.probabilities.sum()) - 1) < 1e-5 for one in results.values())


def test_an_unknown_epoch_is_rejected(classic: Model) -> None:
    """An epoch that is not saved raises an error that lists the saved ones."""
    with pytest.raises(NotFoundError) as caught:
        network_at(classic, 6)
    assert caught.value.fields["valid"] == [str(epoch) for epoch in saved_epochs(classic.bundle)]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("pad_1", None),
        ("conv_1_1", "conv_1_1"),
        ("relu_1_1", "conv_1_1"),
        ("dropout_1", "conv_1_2"),
        ("pad_2", "conv_1_2"),
        ("dense", None),
    ],
)
def test_convolution_of_a_layer(classic: Model, layer: str, expected: str | None) -> None:
    """A layer's channels come from the last convolution up to and including the layer."""
    convolution = classic.network.convolution_of(classic.network.find(layer))
    assert (None if convolution is None else convolution.name) == expected
