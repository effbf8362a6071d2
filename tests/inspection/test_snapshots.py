"""The network with the weights of its saved epochs."""

import numpy as np
import pytest

from app.bundle import PRE_REFIT_FILE
from app.errors import NotFoundError
from app.inference.keras_runtime import KerasRuntime, load_keras
from app.inference.model import Model
from app.inspection.activations import inspect_image
from app.inspection.snapshots import follow, network_at, saved_epochs
from app.recognise import Options
from app.samples import sample_png
from training.snapshots import load


def test_epochs_are_those_of_the_bundle(classic: Model) -> None:
    """The first and the last epoch are kept, and what lies between is in order."""
    epochs = saved_epochs(classic.bundle)
    assert (epochs[0], epochs[-1]) == (1, len(classic.bundle.metadata.epochs))
    assert epochs == sorted(set(epochs))


def test_weights_are_those_that_training_stored(classic: Model) -> None:
    """Every layer's weights are what `training` reads from the same file, to the bit."""
    stored = load(classic.bundle.folder / "snapshots" / "epoch-002.npz")
    network = network_at(classic, 2)
    seen = {
        f"{layer.name}/{name}": values
        for layer in network.layers
        for name, values in layer.weights.items()
    }
    assert set(seen) == set(stored)
    for name, values in stored.items():
        np.testing.assert_array_equal(seen[name], values)


def test_the_published_epoch_sees_what_came_before_the_refit(classic: Model) -> None:
    """Its snapshot gives the activations of that network, but for its 8 bits."""
    seen = inspect_image(sample_png(7), classic, Options())
    layer = classic.network.find("relu_1_2")
    moments = {moment.epoch: moment for moment in follow(seen, layer)}
    published = moments[classic.bundle.metadata.published_epoch]
    before = KerasRuntime(load_keras(classic.bundle.read(PRE_REFIT_FILE)))
    (expected,) = before.inspect(seen.prediction.prepared.pixels[None])[layer.name]
    assert np.abs(published.values - expected).max() < 0.03 * np.abs(expected).max()
    assert np.abs(moments[1].values - expected).max() > 0.3 * np.abs(expected).max()
    assert all(abs(float(one.probabilities.sum()) - 1) < 1e-5 for one in moments.values())


def test_unknown_epoch_names_those_there_are(classic: Model) -> None:
    """An epoch that is not kept is an error that lists the others."""
    with pytest.raises(NotFoundError) as caught:
        network_at(classic, 6)
    assert caught.value.fields["valid"] == [str(one) for one in saved_epochs(classic.bundle)]


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
def test_convolution_behind_a_layer(classic: Model, layer: str, expected: str | None) -> None:
    """A layer's channels are those of the last convolution before it, itself included."""
    found = classic.network.convolution_of(classic.network.find(layer))
    assert (None if found is None else found.name) == expected
