"""Activation maximisation: the picture that a channel answers strongly."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from app.cancellation import WorkCancelled, cancel_scope
from app.errors import InvalidInputError, NotFoundError, UnsupportedLayerError
from app.inference.model import Model
from app.inspection import cost_limits
from app.inspection.maximisation import CACHE_SIZE, Maximised, MaximisedPictures, maximise


def test_each_digit_is_read_on_its_own_picture(classic: Model) -> None:
    """The picture of a logit is read as its digit, and has a far higher logit than the noise."""
    network = classic.network
    logits = network.layers[network.scores]
    for digit in (0, 3, 8):
        found = maximise(network, logits, digit, steps=24)
        assert (found.pixels.dtype, found.pixels.shape) == (np.uint8, (28, 28))
        assert classic.runtime.predict(found.pixels[None]).probabilities[0].argmax() == digit
        assert found.after > found.before + 5
        own = network.forward(found.pixels[None, ..., None].astype(np.float32))
        assert found.after == pytest.approx(float(own[logits.index][0, digit]), rel=1e-4)


def test_functions_that_pass_no_gradient_are_climbed_before_them(classic: Model) -> None:
    """A ReLU that is 0 everywhere at first, and a softmax that is sure, still find a picture."""
    network = classic.network
    softmax = maximise(network, network.find("softmax"), 4, steps=24)
    assert softmax.after > 0.9
    relu = network.find("relu_2_2")
    pictures = [maximise(network, relu, channel, steps=8) for channel in range(0, 64, 16)]
    assert all(found.after > found.before for found in pictures)


def test_one_unit_changes_only_what_it_sees(classic: Model) -> None:
    """The picture of one unit has no ink outside the unit's receptive field."""
    network = classic.network
    found = maximise(network, network.find("conv_1_2"), 3, (13, 13), steps=24)
    rows, columns = np.nonzero(found.pixels > 60)
    assert found.after > found.before
    assert 8 <= rows.min() <= rows.max() <= 20
    assert 8 <= columns.min() <= columns.max() <= 20


def test_the_same_request_gives_the_same_picture(classic: Model) -> None:
    """The noise at the start and the moves are the same each time."""
    layer = classic.network.find("relu_1_2")
    one, other = (maximise(classic.network, layer, 5, steps=6) for _ in range(2))
    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert (one.before, one.after) == (other.before, other.after)


def test_members_of_an_ensemble_are_computed_alone(ensemble_model: Model) -> None:
    """A layer is climbed although layers that it does not depend on cannot be computed."""
    network = ensemble_model.network
    layer = next(one for one in reversed(network.layers) if len(one.shape) == 3)
    others = {one.index for one in network.layers[: layer.index]} - _before(network, layer)
    assert others
    layers = tuple(
        replace(one, operation=None) if one.index in others else one for one in network.layers
    )
    found = maximise(replace(network, layers=layers), layer, 0, steps=3)
    np.testing.assert_array_equal(found.pixels, maximise(network, layer, 0, steps=3).pixels)
    first = replace(network.layers[layer.inputs[0]], operation=None)
    layers = tuple(first if one.index == first.index else one for one in network.layers)
    with pytest.raises(UnsupportedLayerError):
        maximise(replace(network, layers=layers), layer, 0, steps=3)


def _before(network, layer) -> set[int]:
    needed, todo = set(), [layer.index]
    while todo:
        at = todo.pop()
        if at >= 0 and at not in needed:
            needed.add(at)
            todo += network.layers[at].inputs
    return needed


@pytest.mark.parametrize(
    ("name", "channel", "place", "error"),
    [
        ("relu_1_1", 32, None, NotFoundError),
        ("relu_1_1", 10**9, None, NotFoundError),
        ("relu_1_1", -1, None, NotFoundError),
        ("relu_1_1", 0, (28, 0), NotFoundError),
        ("relu_1_1", 0, (0, 10**9), NotFoundError),
        ("relu_1_1", 0, (3,), InvalidInputError),
        ("dense", 0, (0, 0), InvalidInputError),
    ],
)
def test_units_that_do_not_exist_are_refused(
    classic: Model, name: str, channel: int, place: tuple[int, ...] | None, error: type
) -> None:
    """An unknown channel or place is refused before anything is computed."""
    with pytest.raises(error):
        maximise(classic.network, classic.network.find(name), channel, place)


def test_large_networks_get_fewer_steps(classic: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps are bounded by the size of the network, so that the deadline holds."""
    monkeypatch.setattr(cost_limits, "MAX_GRADIENT_PRODUCTS", 3 * 10**8)
    layer = classic.network.find("relu_1_1")
    assert 1 <= maximise(classic.network, layer, 0, steps=256).steps < 20


def test_the_ascent_ends_when_nobody_waits(classic: Model) -> None:
    """A cancelled request stops at the next step."""
    cancelled = threading.Event()
    cancelled.set()
    with cancel_scope(cancelled), pytest.raises(WorkCancelled):
        maximise(classic.network, classic.network.find("relu_1_1"), 0)


def test_pictures_are_kept_up_to_a_number() -> None:
    """A picture is made once; the one that was asked for longest ago is forgotten first."""
    made, kept = [], MaximisedPictures()

    def get(key: int) -> Maximised:
        def make() -> Maximised:
            made.append(key)
            return Maximised(np.zeros((28, 28), np.uint8), 0.0, float(key), 1)

        return kept.get(key, make)

    for key in range(CACHE_SIZE):
        get(key)
    assert get(0).after == 0
    assert len(made) == CACHE_SIZE
    get(CACHE_SIZE)  # the oldest is now 1
    get(0)
    assert len(made) == CACHE_SIZE + 1
    get(1)
    assert made[-1] == 1
