"""Cropping2D, the example of a layer kind: one class, one line in the registry, this test."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.inference.model import Model
from app.inspection.activations import InspectedImage, inspect_image
from app.inspection.describe import Description, describe_layers
from app.inspection.provenance import explain_unit
from app.inspection.receptive_field import trace
from app.network.geometry import ReceptiveField
from app.network.graph import IMAGE
from app.recognise import Options
from app.samples import sample_png
from tests.conftest import Digits
from tests.inspection.networks import as_model, pixels


@pytest.fixture(scope="module")
def keras_model() -> keras.Model:
    """Return a network that crops its image and the maps of a convolution."""
    keras.utils.set_random_seed(7)
    layers = keras.layers
    image = keras.Input((28, 28, 1))
    x = layers.Cropping2D(((3, 1), (0, 2)), name="crop")(image)
    x = layers.Conv2D(4, 3, strides=2, activation="relu", name="conv")(x)
    x = layers.Cropping2D(1, name="crop_maps")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(10, name="logits")(x)
    return keras.Model(image, layers.Softmax(name="softmax")(x))


@pytest.fixture(scope="module")
def model(keras_model: keras.Model, classic: Model, tmp_path_factory) -> Model:
    """Return the network as the service holds it."""
    folder: Path = tmp_path_factory.mktemp("cropping")
    return as_model(keras_model, folder, classic)


@pytest.fixture(scope="module")
def descriptions(model: Model) -> dict[str, Description]:
    """Return what the service says about each layer, by name."""
    return {entry.layer.name: entry for entry in describe_layers(model.network)}


def test_values_agree_with_keras(model: Model, keras_model: keras.Model, digits: Digits) -> None:
    """Every layer's output is Keras's."""
    images = pixels(digits, 4)
    view = keras.Model(
        keras_model.inputs[0], {layer.name: layer.output for layer in keras_model.layers[1:]}
    )
    expected = view(images, training=False)
    for layer, output in zip(model.network.layers, model.network.forward(images), strict=True):
        np.testing.assert_allclose(output, expected[layer.name], rtol=1e-4, atol=1e-3)


def test_gradients_agree_with_gradient_tape(
    model: Model, keras_model: keras.Model, digits: Digits
) -> None:
    """The gradient of each label's logit is that of tf.GradientTape; 0 in removed rows."""
    images = digits.grainy[:4, ..., None].astype(np.float32)
    seed = np.eye(10, dtype=np.float32)[digits.labels[:4]]
    view = keras.Model(keras_model.inputs[0], keras_model.get_layer("logits").output)
    with tf.GradientTape() as tape:
        tape.watch(batch := tf.constant(images))
        value = tf.reduce_sum(view(batch, training=False) * seed)
    expected = tape.gradient(value, batch).numpy()
    network = model.network
    outputs = network.forward(images)
    got = network.gradients(images, outputs, {network.find("logits").index: seed})[IMAGE]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert np.abs(got[:, 3:-1, :-2]).max() > 0
    assert not got[:, :3].any()
    assert not got[:, -1:].any()
    assert not got[:, :, -2:].any()


def test_equation_is_the_value_and_where_it_comes_from(model: Model) -> None:
    """A unit equals the input unit in a row and column that the equation names."""
    read = inspect_image(sample_png(4), model, Options())
    inspected = InspectedImage(model, read.prediction, read.outputs)
    provenance = explain_unit(inspected, model.network.find("crop"), (9, 12, 0))
    assert provenance.equation.operands["place"] == [12, 12]
    assert provenance.equation.value == read.image[12, 12, 0] == provenance.observed
    assert provenance.equation.text.endswith("from row 12, column 12")
    maps = explain_unit(inspected, model.network.find("crop_maps"), (0, 0, 2))
    assert maps.equation.value == pytest.approx(read.outputs["conv"][1, 1, 2])


def test_receptive_field_and_trace_are_shifted(
    model: Model, descriptions: dict[str, Description]
) -> None:
    """Cropped rows and columns move the field; its size and stride stay."""
    assert descriptions["crop"].receptive_field == ReceptiveField((1, 1), (1, 1), (3, 0))
    assert descriptions["crop_maps"].receptive_field == ReceptiveField((3, 3), (2, 2), (5, 2))
    box = trace(model.network, model.network.find("crop_maps"), (1, 2, 0))[IMAGE]
    assert (box.y, box.x, box.height, box.width) == (7, 6, 3, 3)


def test_description_states_every_fact(descriptions: dict[str, Description]) -> None:
    """Formula, sentence, costs and the treatment of channels are those of a cropping."""
    crop = descriptions["crop"]
    assert crop.formula == "y[i, j, c] = x[i + 3, j, c]"
    assert crop.sentence == "Cuts off the border of each channel: 28x28 becomes 24x26."
    assert (crop.multiply_adds, crop.parameters) == (0, 0)
    assert crop.keeps_channels
    assert not crop.changes_values
    assert descriptions["crop_maps"].convolution == "conv"
