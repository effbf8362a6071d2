"""DropConnect, and folding it into stock layers."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from training.architectures import dropconnect
from training.data import Split
from training.fit import fit
from training.layers import DropConnect, fold
from training.recipes.dropconnect import RECIPE


@pytest.fixture
def layer() -> DropConnect:
    """A layer that maps 6 values to 5, with a bias."""
    keras.utils.set_random_seed(3)
    made = DropConnect(5, rate=0.5, masks=4, bias_initializer="ones")
    made.build((None, 6))
    return made


def test_weights_are_dropped_in_training_only(layer: DropConnect) -> None:
    """At inference it is a dense layer; in training it changes from call to call."""
    inputs = np.ones((8, 6), np.float32)
    plain = inputs @ np.asarray(layer.kernel) + 1
    np.testing.assert_allclose(layer(inputs), plain, rtol=1e-5)
    first, second = (np.asarray(layer(inputs, training=True)) for _ in range(2))
    assert not np.allclose(first, plain)
    assert not np.allclose(first, second)


def test_examples_share_the_masks_of_their_group(layer: DropConnect) -> None:
    """Nine examples under four masks form groups of three; the last group is empty."""
    outputs = np.asarray(layer(np.ones((9, 6), np.float32), training=True))
    assert outputs.shape == (9, 5)
    assert len(np.unique(outputs.round(5), axis=0)) == 3
    np.testing.assert_array_equal(outputs[0::3], outputs[2::3])


def test_each_output_is_a_sum_of_kept_weights(layer: DropConnect) -> None:
    """With one input of 1, an output is 0 or twice the weight, plus 0 or twice the bias."""
    inputs = np.eye(6, dtype=np.float32)[:1]
    output = np.asarray(layer(inputs, training=True))[0]
    kernel = np.asarray(layer.kernel)[0]
    choices = np.stack([0 * kernel, 2 * kernel, 0 * kernel + 2, 2 * kernel + 2])
    assert np.abs(choices - output).min(axis=0) == pytest.approx(0, abs=1e-5)


def test_mean_over_masks_is_inference(layer: DropConnect) -> None:
    """The mean of masked outputs equals the output at inference."""
    inputs = np.random.default_rng(0).normal(size=(1, 6)).astype(np.float32)
    drawn = np.concatenate(
        [layer(np.repeat(inputs, 4, axis=0), training=True) for _ in range(2000)]
    )
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(axis=0) - np.asarray(layer(inputs))[0]) < 5 * error).all()


def test_folding_gives_stock_layers_and_the_same_outputs() -> None:
    """The folded network has the same layer names, weights and outputs, without DropConnect."""
    network = dropconnect(rate=0.5, masks=4, conv_dropout=0.1)
    folded = fold(network)
    assert [layer.name for layer in folded.layers] == [layer.name for layer in network.layers]
    assert type(folded.get_layer("dense")) is keras.layers.Dense
    assert [v.path.split("/", 1)[1] for v in folded.weights] == [
        v.path.split("/", 1)[1] for v in network.weights
    ]
    images = np.random.default_rng(1).uniform(0, 255, (3, 28, 28, 1)).astype(np.float32)
    np.testing.assert_allclose(folded(images), network(images), rtol=1e-5)
    assert fold(folded) is folded


def test_run_ends_in_stock_layers(train_digits: Split, held_out: Split, tmp_path: Path) -> None:
    """A trained network can be loaded without this package's layers."""
    recipe = replace(RECIPE, epochs=1, batch_size=64)
    fitted = fit(recipe, train_digits.take(np.arange(128)), held_out, tmp_path, seed=1)
    assert {type(layer).__module__.split(".")[0] for layer in fitted.network.layers} == {"keras"}
    stored = np.load(fitted.snapshots / "epoch-001.npz")
    names = {v.path.split("/", 1)[1] for v in fitted.network.weights}
    assert {name.removesuffix(":scale") for name in stored} == names
