"""Explanation maps agree with tf.GradientTape and keep the promises of their methods."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.errors import InvalidInputError
from app.inference.model import Model
from app.inference.registry import Registry
from app.inspection.attribution import METHODS, attribute
from app.inspection.checks import deletion, deletion_scores, rank_correlation
from app.inspection.cost_limits import max_gradients, max_scores
from app.inspection.explanation import ExplainRequest, explain
from app.inspection.methods.grad_cam import last_convolutions
from app.inspection.methods.integrated_gradients import (
    INTEGRATED_GRADIENTS,
    MAX_STEPS,
    MIN_STEPS,
    TOLERANCE,
)
from app.inspection.methods.method import MapRequest, Method
from app.inspection.methods.occlusion import occlusion
from app.inspection.methods.smoothgrad import NOISE, SMOOTHGRAD
from app.inspection.score import Question, input_gradients, model_score, network_score
from app.recognise import Options
from app.samples import sample_png
from tests.conftest import Digits
from tests.inspection.networks import as_network, votes


def _tape_gradient(
    model: keras.Model, images: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return values `[N]` and gradients `[N, 28, 28]` of a weighted sum of logits."""
    view = keras.Model(model.inputs[0], model.get_layer("logits").output)
    with tf.GradientTape() as tape:
        tape.watch(batch := tf.constant(images[..., None], tf.float32))
        values = tf.linalg.matvec(view(batch, training=False), tf.constant(weights))
    return values.numpy(), tape.gradient(values, batch).numpy()[..., 0]


def _assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("question", [Question(4), Question(4, 9)])
def test_gradient_and_grad_cam_agree_with_gradient_tape(
    classic: Model, classic_keras: keras.Model, digits: Digits, question: Question
) -> None:
    """Both maps agree with their definitions written with tf.GradientTape."""
    pixels = digits.grainy[2]
    weights = np.zeros(10, np.float32)
    weights[question.target] = 1
    if question.contrast is not None:
        weights[question.contrast] = -1
    _, expected = _tape_gradient(classic_keras, pixels[None], weights)
    score = model_score(classic, question)
    gradient = attribute(classic.network, score, pixels, question, "gradient")
    _assert_close(gradient.values, expected[0])

    layer = classic_keras.get_layer("relu_2_2")
    view = keras.Model(classic_keras.inputs[0], layer.output)
    later = classic_keras.layers[classic_keras.layers.index(layer) + 1 : -1]
    with tf.GradientTape() as tape:
        tape.watch(maps := view(pixels[None, ..., None].astype(np.float32), training=False))
        value = maps
        for step in later:
            value = step(value, training=False) if "drop" in step.name else step(value)
        value = tf.linalg.matvec(value, tf.constant(weights))
    alpha = tf.reduce_mean(tape.gradient(value, maps), axis=(1, 2))
    expected_cam = tf.nn.relu(tf.einsum("nyxc,nc->nyx", maps, alpha))[0].numpy()
    cam = attribute(classic.network, score, pixels, question, "grad-cam")
    assert cam.layer == "relu_2_2"
    assert cam.coarse is not None
    _assert_close(cam.coarse, expected_cam)


def test_integrated_gradients_are_complete(
    classic: Model, classic_keras: keras.Model, digits: Digits
) -> None:
    """The map adds up to the change of the logit from black, and is the tape's sum of gradients."""
    pixels, question = digits.images[3], Question(int(digits.labels[3]))
    attribution = attribute(
        classic.network,
        model_score(classic, question),
        pixels,
        question,
        "integrated-gradients",
        steps=128,
    )
    weights = question.weights(10)
    ends, _ = _tape_gradient(
        classic_keras, np.stack([np.zeros_like(pixels), pixels]).astype(np.float32), weights
    )
    completeness = attribution.completeness
    assert completeness is not None
    assert completeness.difference == pytest.approx(float(ends[1] - ends[0]), abs=1e-3)
    assert completeness.map_sum == pytest.approx(completeness.difference, rel=0.02)
    assert completeness.map_sum == pytest.approx(float(attribution.values.sum()), abs=1e-3)
    path = ((np.arange(128) + 0.5) / 128)[:, None, None] * pixels
    _, gradients = _tape_gradient(classic_keras, path, weights)
    _assert_close(attribution.values, pixels * gradients.mean(axis=0))


@pytest.mark.parametrize("contrast", [None, 5])
def test_steps_are_added_until_the_map_s_sum_is_right(
    registry: Registry, digits: Digits, contrast: int | None
) -> None:
    """Without a number of steps, the sum is right to 0.5 %, and the map like that of 128 steps."""
    network = registry.get("compact").network
    for pixels, label in zip(digits.images[:2], digits.labels[:2], strict=True):
        question = Question(int(label), contrast if contrast != label else None)
        score = network_score(network, question)
        refined, even = (
            attribute(network, score, pixels, question, "integrated-gradients", steps=steps)
            for steps in (None, 128)
        )
        assert refined.completeness is not None
        assert even.completeness is not None
        assert refined.completeness.relative_error <= TOLERANCE
        assert refined.completeness.difference == pytest.approx(even.completeness.difference)
        assert refined.completeness.map_sum == pytest.approx(float(refined.values.sum()), abs=1e-3)
        assert refined.steps is not None
        assert refined.steps < 128
        apart = np.linalg.norm(refined.values - even.values) / np.linalg.norm(even.values)
        assert apart < 0.1


@pytest.mark.parametrize("method", [INTEGRATED_GRADIENTS, SMOOTHGRAD])
def test_a_slow_network_ends_the_search_for_a_better_map(
    classic: Model, digits: Digits, method: Method
) -> None:
    """A method computes as many gradients as the network's cost allows, and at least a few."""
    pixels, question = digits.images[0].astype(np.float32), Question(int(digits.labels[0]))
    score = network_score(classic.network, question)
    steps = [
        method.compute(
            MapRequest(classic.network, score, pixels, question, None, None, limit)
        ).steps
        for limit in (20, 1)
    ]
    assert MIN_STEPS <= (steps[0] or 0) <= 20
    assert steps[1] == MIN_STEPS


def test_slow_networks_get_fewer_gradients(registry: Registry, classic: Model) -> None:
    """The bounds follow from the network's size; the fast network is not bounded by them."""
    ensemble = registry.get("ensemble").network
    assert max_gradients(classic.network) > MAX_STEPS
    assert MIN_STEPS < max_gradients(ensemble) < MAX_STEPS / 4
    assert max_scores(ensemble) < max_scores(classic.network)


def test_a_slow_network_gets_fewer_random_orders(digits: Digits) -> None:
    """The deletion check scores no more images than it may, but never without random orders."""
    scored = list[int]()

    def total(images: np.ndarray) -> np.ndarray:
        scored.append(len(images))
        return images.sum(axis=(1, 2))

    pixels = digits.images[0]
    orders = [
        deletion(total, pixels, pixels.astype(np.float32), max_scores=most).random_orders
        for most in (1000, 100, 1)
    ]
    assert orders == [8, 4, 2]
    assert scored[1] <= 100


@pytest.mark.parametrize("max_scores", [10, 60, 1000])
def test_the_scores_of_the_deletion_check_are_known_before(digits: Digits, max_scores: int) -> None:
    """The estimate of an explanation counts the images that its check scores."""
    scored = list[int]()

    def score(images: np.ndarray) -> np.ndarray:
        scored.append(len(images))
        return np.zeros(len(images), np.float32)

    image = digits.images[0]
    deletion(score, image, image.astype(np.float32), max_scores=max_scores)
    assert sum(scored) == deletion_scores(max_scores)


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_most_maps_cost_what_their_method_says(
    classic: Model, digits: Digits, method: Method
) -> None:
    """A map of a digit takes no more gradients and scores than estimated, and not much fewer."""
    scored = list[int]()

    def score(images: np.ndarray) -> np.ndarray:
        scored.append(len(images))
        return np.zeros(len(images), np.float32)

    question, image = Question(int(digits.labels[0])), digits.images[0].astype(np.float32)
    request = MapRequest(classic.network, score, image, question, None, None, 1000)
    found, cost = method.compute(request), method.cost(None, 1000)
    gradients = found.steps or int(method.needs_gradients)
    assert cost.gradients / 3 <= gradients <= cost.gradients
    assert cost.scores / 3 <= sum(scored) <= cost.scores


def test_smoothgrad_adds_pairs_of_copies_until_the_mean_is_precise(
    registry: Registry, digits: Digits
) -> None:
    """The map of 16 to 32 copies is like the mean over many."""
    network = registry.get("compact").network
    pixels, question = digits.images[0], Question(int(digits.labels[0]))
    found = attribute(network, network_score(network, question), pixels, question, "smoothgrad")
    assert found.steps in range(16, 33, 4)
    noise = np.random.default_rng(3).normal(0, NOISE * 255, (128, 28, 28))
    many = input_gradients(network, (pixels + noise).astype(np.float32), question).mean(axis=0)
    assert np.linalg.norm(found.values - many) < 0.5 * np.linalg.norm(many)


def test_occlusion_is_the_loss_under_each_patch(classic: Model, digits: Digits) -> None:
    """A pixel's value is the mean loss of score over the patches that cover it."""
    pixels, question = digits.images[1].astype(np.float32), Question(int(digits.labels[1]))
    score = model_score(classic, question)
    values = occlusion(score, pixels, patch=14, stride=14)
    for top in (0, 14):
        for left in (0, 14):
            occluded = pixels.copy()
            occluded[top : top + 14, left : left + 14] = 0
            loss = score(pixels[None])[0] - score(occluded[None])[0]
            patch = values[top : top + 14, left : left + 14]
            np.testing.assert_allclose(patch, loss, atol=1e-4)


def test_compiled_model_and_numpy_network_score_alike(classic: Model, digits: Digits) -> None:
    """The compiled model and the NumPy network give the same differences of logits."""
    images, question = digits.images[:20].astype(np.float32), Question(3, 5)
    np.testing.assert_allclose(
        network_score(classic.network, question)(images),
        model_score(classic, question)(images),
        atol=1e-3,
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["blank", "full", "digit"])
def test_maps_are_always_finite(kinds_model: Model, digits: Digits, method: str, kind: str) -> None:
    """No map has a NaN, for any image, in a network with every kind of layer."""
    pixels = {
        "blank": np.zeros((28, 28), np.uint8),
        "full": np.full((28, 28), 255, np.uint8),
        "digit": digits.images[0],
    }[kind]
    question = Question(2, 7)
    score = network_score(kinds_model.network, question)
    attribution = attribute(kinds_model.network, score, pixels, question, method, steps=8)
    assert attribution.values.shape == (28, 28)
    assert np.isfinite(attribution.values).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_fills_the_fields_that_it_declares(
    classic: Model, digits: Digits, name: str
) -> None:
    """`response_fields` names exactly the optional parts of a method's result."""
    question = Question(int(digits.labels[0]))
    score = model_score(classic, question)
    attribution = attribute(classic.network, score, digits.images[0], question, name, steps=8)
    optional = ("layer", "coarse", "completeness", "steps")
    filled = {field for field in optional if getattr(attribution, field) is not None}
    assert filled == set(METHODS[name].response_fields)


def test_an_unknown_method_is_rejected(classic: Model, digits: Digits) -> None:
    """A direct call with an unknown method raises an error that lists the valid names."""
    score = model_score(classic, Question(3))
    with pytest.raises(InvalidInputError, match="method 'lime'") as caught:
        attribute(classic.network, score, digits.images[0], Question(3), "lime")
    assert caught.value.fields["valid"] == list(METHODS)
    with pytest.raises(InvalidInputError, match="integrated-gradients"):
        explain(sample_png(4), classic, Options(), ExplainRequest("lime"))


def test_grad_cam_uses_every_branch(ensemble_model: Model, digits: Digits) -> None:
    """In an ensemble, Grad-CAM uses the last convolution of each member."""
    network, question = ensemble_model.network, Question(1)
    names = [layer.name for layer in last_convolutions(network)]
    assert names == ["member_1/block/conv", "member_2/block/conv"]
    score = network_score(network, question)
    attribution = attribute(network, score, digits.images[0], question, "grad-cam")
    assert attribution.layer == "member_1/block/conv, member_2/block/conv"
    with pytest.raises(InvalidInputError) as caught:
        attribute(
            network,
            score,
            digits.images[0],
            question,
            "grad-cam",
            layer=network.find("member_1/scores"),
        )
    assert "member_1/conv" in caught.value.fields["valid"]


def test_averaged_probabilities_are_explained_by_their_logarithms(
    digits: Digits, tmp_path: Path
) -> None:
    """Without a softmax at the end, the map explains the logarithm of the probability."""
    keras.utils.set_random_seed(5)
    model = votes()
    network, question, pixels = as_network(model, tmp_path), Question(3, 8), digits.images[1]
    with tf.GradientTape() as tape:
        tape.watch(batch := tf.constant(pixels[None, ..., None], tf.float32))
        logarithms = tf.math.log(model(batch, training=False))[0]
        value = logarithms[3] - logarithms[8]
    score = network_score(network, question)
    assert score(pixels[None].astype(np.float32))[0] == pytest.approx(float(value), abs=1e-4)
    gradient = attribute(network, score, pixels, question, "gradient")
    _assert_close(gradient.values, tape.gradient(value, batch).numpy()[0, ..., 0])
    integrated = attribute(network, score, pixels, question, "integrated-gradients", steps=128)
    completeness = integrated.completeness
    assert completeness is not None
    assert completeness.map_sum == pytest.approx(completeness.difference, rel=0.02)


def test_contrast_with_the_same_digit_is_rejected() -> None:
    """A contrast must be another digit."""
    with pytest.raises(InvalidInputError, match="both 4"):
        Question(4, 4)


def test_explanation_includes_its_checks(classic: Model) -> None:
    """A map comes with a deletion curve below the random one, and a map of shuffled kernels."""
    request = ExplainRequest("integrated-gradients", steps=32)
    explanation = explain(sample_png(4), classic, Options(), request)
    curve, randomised = explanation.deletion, explanation.randomised
    assert explanation.question == Question(4)
    assert curve is not None
    assert randomised is not None
    assert curve.by_map[0] == pytest.approx(explanation.value, abs=1e-3)
    assert curve.by_map[-1] == pytest.approx(curve.at_random[-1], rel=1e-6)
    assert curve.area_by_map < curve.area_at_random
    assert curve.better_than_random
    assert randomised.similarity is not None
    assert -1 <= randomised.similarity <= 1
    again = explain(sample_png(4), classic, Options(), request)
    assert again.deletion is not None
    np.testing.assert_array_equal(explanation.attribution.values, again.attribution.values)
    assert np.array_equal(curve.at_random, again.deletion.at_random)


def test_unchecked_and_empty_explanations_have_no_checks(classic: Model) -> None:
    """Checks can be left out; integrated gradients of a black image are 0 everywhere."""
    unchecked = explain(sample_png(4), classic, Options(), ExplainRequest("gradient", checks=False))
    assert (unchecked.deletion, unchecked.randomised, unchecked.empty) == (None, None, False)
    black = np.zeros((28, 28), np.uint8)
    empty = explain(
        black, classic, Options(preprocess="none"), ExplainRequest("integrated-gradients", 3)
    )
    assert empty.empty
    assert (empty.deletion, empty.randomised) == (None, None)


def test_deletion_follows_the_order_of_the_map() -> None:
    """A map that ranks pixels by what they add to a sum lowers the sum fastest."""
    pixels = np.zeros((28, 28), np.uint8)
    pixels[5:15, 5:15] = np.arange(100).reshape(10, 10) + 1

    def total(images: np.ndarray) -> np.ndarray:
        return images.sum(axis=(1, 2))

    best = deletion(total, pixels, pixels.astype(np.float32))
    worst = deletion(total, pixels, -pixels.astype(np.float32))
    assert best.area_by_map < best.area_at_random < worst.area_by_map
    assert (best.by_map[0], best.by_map[-1]) == (pixels.sum(), 0)
    assert (np.diff(best.by_map) < 0).all()


def test_rank_correlation_is_spearman_s_of_magnitudes() -> None:
    """Maps with the same order of magnitudes correlate, whatever their signs."""
    values = np.array([[-3.0, 1.0], [0.5, 2.0]], np.float32)
    reversed_order = np.array([[0.0, 2.0], [3.0, 1.0]], np.float32)
    assert rank_correlation(values, np.abs(values) ** 3) == pytest.approx(1)
    assert rank_correlation(values, reversed_order) == pytest.approx(-1)
    assert rank_correlation(values, np.ones_like(values)) is None
    ties = np.array([0.0, 0.0, 1.0, 2.0]), np.array([5.0, 4.0, 6.0, 6.0])
    expected = np.corrcoef([1.5, 1.5, 3, 4], [2, 1, 3.5, 3.5])[0, 1]
    assert rank_correlation(*ties) == pytest.approx(expected)


def test_a_score_of_no_images_is_empty(classic: Model) -> None:
    """Scoring an empty batch returns an empty array."""
    none = np.zeros((0, 28, 28), np.float32)
    assert model_score(classic, Question(3))(none).shape == (0,)
