"""Small networks with the layer kinds that the classic network lacks, and models of them."""

from pathlib import Path

import keras
import numpy as np

from app.inference.keras_runtime import KerasRuntime
from app.inference.model import Model
from app.network.network import Network, read_network
from tests.conftest import Digits

SHAPE = (28, 28, 1)


def many_kinds() -> keras.Model:
    """Return a Functional network of nearly every layer kind that the service supports."""
    layers = keras.layers
    image = keras.Input(SHAPE, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(image)
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="strided")(x)
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.BatchNormalization(scale=False, name="norm")(x)
    left = layers.Conv2D(8, 3, dilation_rate=2, padding="same", groups=2, name="grouped")(x)
    left = layers.LeakyReLU(0.1, name="leaky")(left)
    right = layers.Conv2D(8, (1, 2), padding="same", activation="tanh", name="wide")(x)
    x = layers.Add(name="add")([left, right])
    x = layers.AveragePooling2D(3, strides=2, padding="same", name="average")(x)
    x = layers.SpatialDropout2D(0.2, name="drop")(x)
    x = layers.Concatenate(name="join")([x, layers.ReLU(max_value=1.0, name="capped")(x)])
    x = layers.Activation("silu", name="silu")(x)
    x = layers.MaxPooling2D(2, padding="same", name="largest")(x)
    one = layers.GlobalAveragePooling2D(name="mean")(x)
    two = layers.GlobalMaxPooling2D(name="peak")(x)
    mixes = [
        layers.Maximum(name="maximum")([one, two]),
        layers.Minimum(name="minimum")([one, two]),
        layers.Multiply(name="multiply")([one, two]),
        layers.Subtract(name="subtract")([one, two]),
        layers.Average(name="mix")([one, two]),
    ]
    x = layers.Concatenate(name="all")(mixes)
    x = layers.PReLU(alpha_initializer=keras.initializers.Constant(0.3), name="prelu")(x)
    x = layers.Dense(12, activation="gelu", name="hidden")(x)
    x = layers.ELU(name="elu")(x)
    x = layers.Reshape((3, 4), name="reshape")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(10, name="logits")(x)
    return randomise(keras.Model(image, layers.Softmax(name="softmax")(x)))


def ensemble() -> keras.Model:
    """Return two Sequential members, each with a Functional block, and a layer called twice."""
    layers = keras.layers
    image = keras.Input(SHAPE, name="image")
    again = layers.Dense(10, activation="tanh", name="again")

    def block() -> keras.Model:
        inner = keras.Input((14, 14, 3), name="inner")
        same = layers.Conv2D(3, 1, name="conv")(inner)
        return keras.Model(inner, layers.Add(name="add")([same, inner]), name="block")

    def member(name: str) -> keras.Sequential:
        return keras.Sequential(
            [
                keras.Input(SHAPE),
                layers.Rescaling(1 / 255, name="rescale"),
                layers.Conv2D(3, 3, strides=2, padding="same", name="conv"),
                layers.ReLU(name="relu"),
                block(),
                layers.Flatten(name="flatten"),
                layers.Dense(10, name="scores"),
            ],
            name=name,
        )

    votes = [again(member(name)(image)) for name in ("member_1", "member_2")]
    x = layers.Average(name="mix")(votes)
    x = layers.Dense(10, name="logits")(x)
    return randomise(keras.Model(image, layers.Softmax(name="softmax")(x)))


def votes() -> keras.Model:
    """Return two members whose probabilities are averaged: a network without final softmax."""
    layers = keras.layers
    image = keras.Input(SHAPE, name="image")
    members = [
        keras.Sequential(
            [
                keras.Input(SHAPE),
                layers.Rescaling(1 / 255, name="rescale"),
                layers.Conv2D(4, 3, strides=2, activation="relu", name="conv"),
                layers.Flatten(name="flatten"),
                layers.Dense(10, kernel_initializer="he_normal", name="scores"),
                layers.Softmax(name="softmax"),
            ],
            name=name,
        )
        for name in ("member_1", "member_2")
    ]
    return keras.Model(image, layers.Average(name="vote")([one(image) for one in members]))


def randomise(model: keras.Model) -> keras.Model:
    """Set every variable, with biases and moving averages, to random values."""
    rng = np.random.default_rng(3)
    for variable in model.variables:
        if "seed_generator" in variable.path:
            continue
        values = rng.normal(0, 0.4, variable.shape)
        if "variance" in variable.path:
            values = 0.5 + np.abs(values)
        variable.assign(values)
    return model


def as_network(model: keras.Model, folder: Path) -> Network:
    """Write a model to a file and read it as the service does."""
    path = folder / "model.keras"
    model.save(path)
    outputs = KerasRuntime(model).inspect(np.zeros((1, 28, 28), np.uint8))
    shapes = {name: values.shape[1:] for name, values in outputs.items()}
    return read_network(path.read_bytes(), shapes, SHAPE)


def as_model(model: keras.Model, folder: Path, like: Model) -> Model:
    """Return a served model that runs on Keras, with the bundle of another model."""
    return Model(like.bundle, KerasRuntime(model), as_network(model, folder), None)


def pixels(digits: Digits, count: int) -> np.ndarray:
    """Return the first digits as a float32 batch `[N, 28, 28, 1]`."""
    return digits.images[:count, ..., None].astype(np.float32)
