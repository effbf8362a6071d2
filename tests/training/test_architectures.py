"""The classic network, layer by layer."""

import keras
import numpy as np
import pytest

from training.architectures import MNIST_MEAN, MNIST_STD, classic
from training.compiled import count_multiply_adds

PLAIN = [
    ("normalise", "Normalization"),
    ("pad_1", "ZeroPadding2D"),
    ("conv_1_1", "Conv2D"),
    ("relu_1_1", "ReLU"),
    ("conv_1_2", "Conv2D"),
    ("relu_1_2", "ReLU"),
    ("pool_1", "MaxPooling2D"),
    ("pad_2", "ZeroPadding2D"),
    ("conv_2_1", "Conv2D"),
    ("relu_2_1", "ReLU"),
    ("conv_2_2", "Conv2D"),
    ("relu_2_2", "ReLU"),
    ("pool_2", "MaxPooling2D"),
    ("flatten", "Flatten"),
    ("dense", "Dense"),
    ("relu_dense", "ReLU"),
    ("logits", "Dense"),
    ("softmax", "Softmax"),
]


def test_plain_network_layer_for_layer() -> None:
    """Without options it is the Sequential model of the blog post; each step is a named layer."""
    model = classic(batch_normalization=False, conv_dropout=0, dense_dropout=0)
    assert isinstance(model, keras.Sequential)
    assert [(layer.name, type(layer).__name__) for layer in model.layers] == PLAIN
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [(layer.filters, layer.kernel_size) for layer in convolutions] == [
        (32, (3, 3)),
        (32, (3, 3)),
        (64, (3, 3)),
        (64, (3, 3)),
    ]
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)] == [
        512,
        10,
    ]


def test_options_add_only_their_layers() -> None:
    """Batch normalisation and dropout come between the layers of the plain network."""
    model = classic(batch_normalization=True, conv_dropout=0.1, dense_dropout=0.5)
    added = ("BatchNormalization", "Dropout")
    names = [(layer.name, type(layer).__name__) for layer in model.layers]
    assert [entry for entry in names if entry[1] not in added] == PLAIN
    assert [entry[1] for entry in names].count("BatchNormalization") == 5
    assert [entry[1] for entry in names].count("Dropout") == 3


def test_raw_pixels_are_normalised_inside() -> None:
    """The first layer maps pixels 0..255 to mean 0 and deviation 1 on MNIST."""
    model = classic(batch_normalization=False, conv_dropout=0, dense_dropout=0)
    pixels = np.array([0.0, MNIST_MEAN, 255.0], np.float32).reshape(1, 3, 1, 1)
    normalised = np.asarray(model.get_layer("normalise")(pixels)).ravel()
    assert normalised == pytest.approx([-MNIST_MEAN / MNIST_STD, 0, (255 - MNIST_MEAN) / MNIST_STD])


def test_multiply_adds_by_hand() -> None:
    """Multiply-adds are positions x 9 x channels in x channels out, plus those of dense layers."""
    model = classic(batch_normalization=False, conv_dropout=0, dense_dropout=0)
    by_hand = (
        28 * 28 * 9 * 32 + 26 * 26 * 9 * 32 * 32 + 13 * 13 * 9 * 32 * 64 + 11 * 11 * 9 * 64 * 64
    )
    assert count_multiply_adds(model) == by_hand + 1600 * 512 + 512 * 10
