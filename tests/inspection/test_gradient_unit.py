"""Gradients as sums of products: complete, followed to the softmax, and measured."""

import math
from collections.abc import Iterator

import keras
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from app.errors import InvalidInputError, NotFoundError, UnsupportedLayerError
from app.inference.model import Model
from app.inference.registry import Registry
from app.inspection import finite_difference
from app.inspection.backpropagation import backpropagate
from app.inspection.gradient_unit import GradientUnit, Wanted, explain_gradient
from app.network.network import Layer
from app.network.weight_gradients import in_float64, learned_weights
from app.recognise import Options
from tests.conftest import Digits
from tests.inspection import networks, zoo
from tests.inspection.networks import as_model

LABEL = 9
AS_IT_IS = Options(preprocess="none")
MAX_FACTOR_TERMS = 60  # terms of each sum whose factors are followed


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Compute in one thread, as the service does."""
    with threadpool_limits(1, "blas"):
        yield


@pytest.fixture(scope="module")
def image(digits: Digits) -> np.ndarray:
    """Return a digit on a noisy background, uint8 `[28, 28]`."""
    return digits.grainy[0]


def _explain(image: np.ndarray, model: Model, layer: Layer, **wanted) -> GradientUnit:
    return explain_gradient(image, model, AS_IT_IS, layer, Wanted(LABEL, **wanted))


def _check(found: GradientUnit, gradients: dict[int, np.ndarray], outputs) -> None:
    """Check that the sum is complete, and that its factors are what they say."""
    total = sum(term.product for term in found.terms) + found.omitted
    assert total == pytest.approx(found.gradient, rel=1e-9, abs=1e-12)
    sizes = [abs(term.product) for term in found.terms]
    assert sizes == sorted(sizes, reverse=True)
    assert 0 not in sizes
    for term in found.terms:
        assert math.prod(one.value for one in term.factors) == pytest.approx(term.product)
        for one in term.factors:
            if one.kind == "gradient":
                assert one.layer is not None
                right = gradients[one.layer.index][one.unit]
                assert one.value == pytest.approx(right, rel=1e-9, abs=1e-12)
            if one.kind == "input" and one.layer is not None:
                right = outputs[one.layer.index][0][one.unit]
                assert one.value == pytest.approx(right, rel=1e-9, abs=1e-12)
    if not found.difference.kink:
        assert found.difference.relative_error(found.gradient) < 1e-5


SLOW = [pytest.param(build, marks=pytest.mark.slow) for build in zoo.COMPUTABLE.values()]


@pytest.mark.parametrize("build", [networks.many_kinds, networks.ensemble, networks.votes, *SLOW])
def test_every_sum_is_complete(build, image: np.ndarray, classic: Model, tmp_path) -> None:
    """In every layer, the largest gradients are the sums of their products."""
    model = as_model(build(), tmp_path, classic)
    pixels = image[None, ..., None].astype(np.float64)
    found = backpropagate(in_float64(model.network), pixels, LABEL)
    gradients = {at: values[0] for at, values in found.gradients.items()}
    kinks = checked = 0
    for layer in model.network.layers:
        if len(layer.shape) > 3:
            continue
        for weight in [None, *learned_weights(layer)]:
            explained = _explain(image, model, layer, weight=weight, terms=MAX_FACTOR_TERMS)
            _check(explained, gradients, found.outputs)
            kinks += explained.difference.kink
            checked += 1
    assert kinks <= 0.1 * checked


@pytest.mark.parametrize("name", ["compact", "classic", "dropconnect", "ensemble"])
def test_a_path_ends_at_the_softmax(registry: Registry, image: np.ndarray, name: str) -> None:
    """Each largest gradient leads to a later one, and the last is probability minus label."""
    model = registry.get(name).in_float32
    layer = next(one for one in model.network.layers if one.kind == "Conv2D")
    found = _explain(image, model, layer, weight="kernel")
    assert found.difference.relative_error(found.gradient) < 1e-5
    steps = 0
    while True:
        after = [one for one in found.terms[0].factors if one.kind == "gradient"]
        if not after:
            break
        (factor,) = after
        assert factor.layer is not None
        assert factor.unit is not None
        *place, channel = factor.unit
        y, x = [*place, None, None][:2]
        layer, steps = factor.layer, steps + 1
        found = _explain(image, model, layer, channel=channel, y=y, x=x)
        assert found.gradient == pytest.approx(factor.value)
    kinds = [one.kind for term in found.terms for one in term.factors]
    if model.network.logits is None:  # an average of probabilities ends at -log(p)
        assert kinds == ["derivative"]
        assert found.gradient == pytest.approx(-1 / found.value)
    else:
        assert set(kinds) <= {"probability", "label"}
        assert layer.index == model.network.logits
    assert steps > 10


def test_the_gradient_of_a_logit_is_probability_minus_label(
    classic: Model, image: np.ndarray
) -> None:
    """The right class has two terms, every other one."""
    logits = classic.network.layers[classic.network.logits or 0]
    for channel in (LABEL, 3):
        found = _explain(image, classic, logits, channel=channel)
        probability = math.exp(-found.loss) if channel == LABEL else found.gradient
        assert found.gradient == pytest.approx(probability - (channel == LABEL))
        kinds = {one.kind for term in found.terms for one in term.factors}
        assert kinds == ({"probability", "label"} if channel == LABEL else {"probability"})


def test_a_kink_is_named(image: np.ndarray, classic: Model, tmp_path) -> None:
    """Where two values tie for a maximum, the loss has two slopes."""
    pixels = keras.Input((28, 28, 1))
    x = keras.layers.Rescaling(0.0, offset=1.0, name="flat")(pixels)
    x = keras.layers.MaxPooling2D(2, name="pool")(x)
    x = keras.layers.Dense(10, name="logits")(keras.layers.Flatten()(x))
    network = networks.randomise(keras.Model(pixels, keras.layers.Softmax()(x)))
    model = as_model(network, tmp_path, classic)
    found = _explain(image, model, model.network.by_name["flat"], channel=0, y=0, x=0)
    assert found.difference.kink
    assert min(abs(found.difference.left), abs(found.difference.right)) < 1e-9
    assert found.gradient == pytest.approx(found.difference.right, rel=1e-2)
    assert not _explain(image, model, model.network.by_name["pool"]).difference.kink


def test_differences_of_known_functions() -> None:
    """A smooth function is measured to nine digits; an absolute value at 0 has a kink."""
    smooth = finite_difference.measure(math.exp, 1.0, math.e, 1.0)
    assert smooth.relative_error(math.e) < 1e-9
    assert not smooth.kink
    kink = finite_difference.measure(abs, 0.0, 0.0, 1.0)
    assert (kink.left, kink.right, kink.gradient, kink.kink) == (-1, 1, 0, True)
    flat = finite_difference.measure(lambda value: 2.0, 1.0, 2.0, 1.0)
    assert (flat.gradient, flat.kink, flat.relative_error(0.0)) == (0, False, 0)
    broken = finite_difference.measure(lambda value: math.nan, 1.0, 2.0, 1.0)
    assert (broken.gradient, broken.kink) == (0, False)


def test_wrong_addresses_are_named(classic: Model, image: np.ndarray) -> None:
    """Weights and units that a layer lacks, and an index of the wrong length."""
    conv = classic.network.by_name["conv_1_2"]
    norm = classic.network.by_name["bn_1_1"]
    with pytest.raises(NotFoundError, match="no weight 'gamma'"):
        _explain(image, classic, conv, weight="gamma")
    with pytest.raises(NotFoundError, match="no weight 'moving_mean'"):
        _explain(image, classic, norm, weight="moving_mean")
    with pytest.raises(InvalidInputError, match="its index has 4 numbers, not 2"):
        _explain(image, classic, conv, weight="kernel", index=(0, 0))
    with pytest.raises(NotFoundError, match="no number at"):
        _explain(image, classic, conv, weight="kernel", index=(0, 0, 0, 32))
    with pytest.raises(NotFoundError, match="no such unit"):
        _explain(image, classic, conv, channel=32, y=0, x=0)


def test_a_network_with_a_layer_that_cannot_be_computed(
    image: np.ndarray, classic: Model, tmp_path
) -> None:
    """The error names the layer."""
    model = as_model(zoo.sequences(), tmp_path, classic)
    with pytest.raises(UnsupportedLayerError, match="'both'"):
        _explain(image, model, model.network.by_name["logits"])
