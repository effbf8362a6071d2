"""Statistics, dead and saturated channels, and sheets of what layers hold."""

import numpy as np
import pytest

from app.inference.model import Model
from app.inspection.activations import dead, inspect_image, make_sheet, saturated, statistics
from app.recognise import Options
from app.samples import sample_png
from tests.conftest import Digits


def test_look_is_what_the_network_received(classic: Model) -> None:
    """The first layers hold the prepared image, and the last the prediction."""
    seen = inspect_image(sample_png(8), classic, Options())
    np.testing.assert_allclose(seen.outputs["softmax"], seen.prediction.probabilities, atol=1e-6)
    np.testing.assert_array_equal(seen.image[..., 0], seen.prediction.prepared.pixels)


def test_statistics_of_each_channel() -> None:
    """Least, largest, mean, spread, share of zeros and place of the largest, by channel."""
    values = np.zeros((2, 3, 2), np.float32)
    values[1, 2, 0], values[0, 1, 1] = 6, -2
    got = statistics(values)
    np.testing.assert_array_equal(got.low, [0, -2])
    np.testing.assert_array_equal(got.high, [6, 0])
    np.testing.assert_allclose(got.mean, [1, -1 / 3])
    np.testing.assert_allclose(got.std, [values[..., 0].std(), values[..., 1].std()])
    np.testing.assert_allclose(got.zeros, [5 / 6, 5 / 6])
    np.testing.assert_array_equal(got.strongest, [[1, 2], [0, 0]])


def test_dead_channels_are_those_without_a_value() -> None:
    """A channel is dead if every value is 0, a unit if it is."""
    values = np.zeros((2, 2, 3), np.float32)
    values[1, 1, 1] = 1e-9
    assert dead(values) == [0, 2]
    assert dead(np.array([0, 3, 0], np.float32)) == [0, 2]


def test_only_bounded_activations_saturate(kinds_model: Model, classic: Model) -> None:
    """Values at an end of tanh or of a capped ReLU saturate a channel; a plain ReLU cannot."""
    wide, capped = (kinds_model.network.find(name) for name in ("wide", "capped"))
    values = np.zeros((4, 4, 3), np.float32)
    values[..., 1], values[..., 2] = 0.999, -0.999
    assert saturated(wide, values) == [1, 2]
    assert saturated(capped, values) == [1]
    assert saturated(classic.network.find("relu_1_1"), values * 100) == []


def test_sheet_gives_the_values_back(digits: Digits) -> None:
    """From a sheet's tiles, its range and layout, each channel comes back within half a step."""
    rng = np.random.default_rng(5)
    values = rng.normal(0, 3, (5, 7, 10)).astype(np.float32)
    for scale in ("layer", "channel"):
        made = make_sheet(values, scale)
        assert (made.tile, made.columns, made.gap) == ((5, 7), 4, 1)
        assert made.pixels.shape == (3 * 6 - 1, 4 * 8 - 1)
        assert made.low.size == (1 if scale == "layer" else 10)
        for channel in range(10):
            row, column = divmod(channel, made.columns)
            top, left = row * 6, column * 8
            tile = made.pixels[top : top + 5, left : left + 7]
            at = channel if scale == "channel" else 0
            low, high = float(made.low[at]), float(made.high[at])
            back = low + tile / 255 * (high - low)
            np.testing.assert_allclose(
                back, values[..., channel], rtol=0, atol=0.51 * (high - low) / 255
            )


@pytest.mark.parametrize("size", [1, 10, 512])
def test_sheet_of_a_layer_without_places_is_one_tile(size: int) -> None:
    """Units stand row by row in about a square; what is left over is black."""
    values = np.linspace(-1, 2, size, dtype=np.float32)
    made = make_sheet(values)
    assert made.pixels.shape == made.tile
    flat = made.pixels.reshape(-1)
    expected = np.rint(np.linspace(0, 255, size)) if size > 1 else [0]
    np.testing.assert_array_equal(flat[:size], expected)
    assert not flat[size:].any()


def test_constant_layer_has_a_black_sheet() -> None:
    """Where all values are the same there is no range, and no warning."""
    assert not make_sheet(np.full((3, 3, 2), 4.0, np.float32)).pixels.any()
