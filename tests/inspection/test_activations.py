"""Statistics, dead and saturated channels, and sheets of the layers' activations."""

from pathlib import Path

import keras
import numpy as np
import pytest

from app.errors import UnsupportedLayerError
from app.inference.model import Model
from app.inspection.activations import dead, inspect_image, make_sheet, saturated, statistics
from app.inspection.explanation import ExplainRequest, explain
from app.recognise import Options
from app.samples import sample_png
from tests.conftest import Digits
from tests.inspection.networks import as_model


def test_inspected_image_holds_input_and_prediction(classic: Model) -> None:
    """The image is the prepared one, and the last layer's output is the prediction."""
    inspected = inspect_image(sample_png(8), classic, Options())
    np.testing.assert_allclose(
        inspected.outputs["softmax"], inspected.prediction.probabilities, atol=1e-6
    )
    np.testing.assert_array_equal(inspected.image[..., 0], inspected.prediction.prepared.pixels)


def test_statistics_of_each_channel() -> None:
    """Minimum, maximum, mean, deviation, zeros and position of the maximum, by channel."""
    values = np.zeros((2, 3, 2), np.float32)
    values[1, 2, 0], values[0, 1, 1] = 6, -2
    got = statistics(values)
    np.testing.assert_array_equal(got.low, [0, -2])
    np.testing.assert_array_equal(got.high, [6, 0])
    np.testing.assert_allclose(got.mean, [1, -1 / 3])
    np.testing.assert_allclose(got.std, [values[..., 0].std(), values[..., 1].std()])
    np.testing.assert_allclose(got.zeros, [5 / 6, 5 / 6])
    np.testing.assert_array_equal(got.strongest, [[1, 2], [0, 0]])


def test_dead_channels_are_zero_everywhere() -> None:
    """A channel is dead if every value is 0, a unit if its value is 0."""
    values = np.zeros((2, 2, 3), np.float32)
    values[1, 1, 1] = 1e-9
    assert dead(values) == [0, 2]
    assert dead(np.array([0, 3, 0], np.float32)) == [0, 2]


def test_only_bounded_activations_saturate(kinds_model: Model, classic: Model) -> None:
    """Values at an end of tanh or at the cap of a ReLU saturate; a plain ReLU does not."""
    wide, capped = (kinds_model.network.find(name) for name in ("wide", "capped"))
    values = np.zeros((4, 4, 3), np.float32)
    values[..., 1], values[..., 2] = 0.999, -0.999
    assert saturated(wide, values) == [1, 2]
    assert saturated(capped, values) == [1]
    assert saturated(classic.network.find("relu_1_1"), values * 100) == []


def test_values_can_be_recovered_from_a_sheet(digits: Digits) -> None:
    """Tiles, range and layout give back each channel within half a grey level."""
    rng = np.random.default_rng(5)
    values = rng.normal(0, 3, (5, 7, 10)).astype(np.float32)
    for scale in ("layer", "channel"):
        drawn = make_sheet(values, scale)
        assert (drawn.tile, drawn.columns, drawn.gap) == ((5, 7), 4, 1)
        assert drawn.pixels.shape == (3 * 6 - 1, 4 * 8 - 1)
        assert drawn.low.size == (1 if scale == "layer" else 10)
        for channel in range(10):
            row, column = divmod(channel, drawn.columns)
            top, left = row * 6, column * 8
            tile = drawn.pixels[top : top + 5, left : left + 7]
            at = channel if scale == "channel" else 0
            low, high = float(drawn.low[at]), float(drawn.high[at])
            recovered = low + tile / 255 * (high - low)
            np.testing.assert_allclose(
                recovered, values[..., channel], rtol=0, atol=0.51 * (high - low) / 255
            )


@pytest.mark.parametrize("size", [1, 10, 512])
def test_sheet_of_a_layer_without_rows_and_columns_is_one_tile(size: int) -> None:
    """Units fill about a square row by row; the remaining pixels are black."""
    values = np.linspace(-1, 2, size, dtype=np.float32)
    drawn = make_sheet(values)
    assert drawn.pixels.shape == drawn.tile
    flat = drawn.pixels.reshape(-1)
    expected = np.rint(np.linspace(0, 255, size)) if size > 1 else [0]
    np.testing.assert_array_equal(flat[:size], expected)
    assert not flat[size:].any()


def test_constant_layer_has_a_black_sheet() -> None:
    """A layer of equal values is drawn black, without a division warning."""
    assert not make_sheet(np.full((3, 3, 2), 4.0, np.float32)).pixels.any()


def test_values_that_are_not_finite_are_refused(classic: Model, tmp_path: Path) -> None:
    """The error names the layer, in place of a response that JSON cannot write."""
    layers = keras.layers
    image = keras.Input((28, 28, 1))
    x = layers.Activation("tanh")(layers.Activation("exponential", name="huge")(image))
    x = layers.Dense(10, name="logits")(layers.Flatten()(x))
    model = as_model(keras.Model(image, layers.Softmax()(x)), tmp_path, classic)
    with pytest.raises(UnsupportedLayerError, match=r"'huge'.* infinite or not a number"):
        inspect_image(sample_png(8), model, Options())
    with np.errstate(all="ignore"), pytest.raises(UnsupportedLayerError, match="'logits'"):
        explain(sample_png(8), model, Options(), ExplainRequest("gradient"))


def test_an_output_of_rows_and_channels_is_a_picture_of_rows_and_columns() -> None:
    """Each row of the picture is a row, each column a channel; ranges may be those of channels."""
    values = np.array([[0.0, 5.0], [1.0, 7.0], [2.0, 9.0]], np.float32)
    whole, each = make_sheet(values), make_sheet(values, "channel")
    assert whole.tile == each.tile == (3, 2)
    np.testing.assert_array_equal(whole.pixels, np.rint(values / 9 * 255))
    np.testing.assert_array_equal(each.pixels, [[0, 0], [128, 128], [255, 255]])
    assert (each.low.tolist(), each.high.tolist()) == ([0.0, 5.0], [2.0, 9.0])
    figures = statistics(values)
    np.testing.assert_array_equal(figures.high, [2, 9])
    np.testing.assert_array_equal(figures.strongest, [[2, 0], [2, 0]])
