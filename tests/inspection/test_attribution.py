"""Maps of what mattered, against tf.GradientTape and against what they promise."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.errors import InvalidInputError
from app.inference.model import Model
from app.inspection import attribution
from app.inspection.attribution import METHODS, Question, attribute, model_score, network_score
from app.inspection.checks import deletion, similarity
from app.inspection.explanation import ExplainRequest, explain
from app.recognise import Options
from app.samples import sample_png
from tests.conftest import Digits
from tests.inspection.networks import as_network, votes


def _tape_gradient(
    model: keras.Model, images: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values and gradients of a weighted sum of logits, `[N]` and `[N, 28, 28]`."""
    view = keras.Model(model.inputs[0], model.get_layer("logits").output)
    with tf.GradientTape() as tape:
        tape.watch(batch := tf.constant(images[..., None], tf.float32))
        values = tf.linalg.matvec(view(batch, training=False), tf.constant(weights))
    return values.numpy(), tape.gradient(values, batch).numpy()[..., 0]


def _close(got: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("question", [Question(4), Question(4, 9)])
def test_gradient_and_grad_cam_are_the_tape_s(
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
    got = attribute(classic.network, score, pixels, question, "gradient")
    _close(got.values, expected[0])

    layer = classic_keras.get_layer("relu_2_2")
    view = keras.Model(classic_keras.inputs[0], layer.output)
    behind = classic_keras.layers[classic_keras.layers.index(layer) + 1 : -1]
    with tf.GradientTape() as tape:
        tape.watch(maps := view(pixels[None, ..., None].astype(np.float32), training=False))
        value = maps
        for step in behind:
            value = step(value, training=False) if "drop" in step.name else step(value)
        value = tf.linalg.matvec(value, tf.constant(weights))
    alpha = tf.reduce_mean(tape.gradient(value, maps), axis=(1, 2))
    cam = tf.nn.relu(tf.einsum("nyxc,nc->nyx", maps, alpha))[0].numpy()
    got = attribute(classic.network, score, pixels, question, "grad-cam")
    assert got.layer == "relu_2_2"
    assert got.coarse is not None
    _close(got.coarse, cam)


def test_integrated_gradients_are_complete(
    classic: Model, classic_keras: keras.Model, digits: Digits
) -> None:
    """The map adds up to the change of the logit from black, and is the tape's sum of gradients."""
    pixels, question = digits.images[3], Question(int(digits.labels[3]))
    got = attribute(
        classic.network,
        model_score(classic, question),
        pixels,
        question,
        "integrated-gradients",
        steps=128,
    )
    weights = question.weights()
    ends, _ = _tape_gradient(
        classic_keras, np.stack([np.zeros_like(pixels), pixels]).astype(np.float32), weights
    )
    assert got.reached is not None
    assert got.expected == pytest.approx(float(ends[1] - ends[0]), abs=1e-3)
    assert got.reached == pytest.approx(got.expected, rel=0.02)
    assert got.reached == pytest.approx(float(got.values.sum()), abs=1e-3)
    along = ((np.arange(128) + 0.5) / 128)[:, None, None] * pixels
    _, gradients = _tape_gradient(classic_keras, along, weights)
    _close(got.values, pixels * gradients.mean(axis=0))


def test_occlusion_is_the_loss_under_each_patch(classic: Model, digits: Digits) -> None:
    """A pixel's value is the mean loss over the patches that hide it."""
    pixels, question = digits.images[1].astype(np.float32), Question(int(digits.labels[1]))
    score = model_score(classic, question)
    got = attribution.occlusion(score, pixels, patch=14, stride=14)
    for top in (0, 14):
        for left in (0, 14):
            hidden = pixels.copy()
            hidden[top : top + 14, left : left + 14] = 0
            loss = score(pixels[None])[0] - score(hidden[None])[0]
            patch = got[top : top + 14, left : left + 14]
            np.testing.assert_allclose(patch, loss, atol=1e-4)


def test_two_ways_to_score_agree(classic: Model, digits: Digits) -> None:
    """The compiled twin and the arithmetic in NumPy give the same differences of logits."""
    images, question = digits.images[:20].astype(np.float32), Question(3, 5)
    np.testing.assert_allclose(
        network_score(classic.network, question)(images),
        model_score(classic, question)(images),
        atol=1e-3,
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["blank", "full", "digit"])
def test_maps_are_always_finite(
    kinds_model: Model, digits: Digits, method: attribution.Method, kind: str
) -> None:
    """Whatever the image, no map has a NaN; networks with any kind of layer can be explained."""
    pixels = {
        "blank": np.zeros((28, 28), np.uint8),
        "full": np.full((28, 28), 255, np.uint8),
        "digit": digits.images[0],
    }[kind]
    question = Question(2, 7)
    score = network_score(kinds_model.network, question)
    got = attribute(kinds_model.network, score, pixels, question, method, steps=8)
    assert got.values.shape == (28, 28)
    assert np.isfinite(got.values).all()


def test_grad_cam_looks_at_every_branch(ensemble_model: Model, digits: Digits) -> None:
    """In an ensemble the last convolution of each member counts."""
    network, question = ensemble_model.network, Question(1)
    found = [layer.name for layer in attribution.last_maps(network)]
    assert found == ["member_1/block/conv", "member_2/block/conv"]
    score = network_score(network, question)
    got = attribute(network, score, digits.images[0], question, "grad-cam")
    assert got.layer == "member_1/block/conv, member_2/block/conv"
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
    """Where no softmax comes last, a map is that of the logarithm, as the tape has it."""
    keras.utils.set_random_seed(5)
    model = votes()
    network, question, pixels = as_network(model, tmp_path), Question(3, 8), digits.images[1]
    with tf.GradientTape() as tape:
        tape.watch(batch := tf.constant(pixels[None, ..., None], tf.float32))
        logarithms = tf.math.log(model(batch, training=False))[0]
        value = logarithms[3] - logarithms[8]
    score = network_score(network, question)
    assert score(pixels[None].astype(np.float32))[0] == pytest.approx(float(value), abs=1e-4)
    got = attribute(network, score, pixels, question, "gradient")
    _close(got.values, tape.gradient(value, batch).numpy()[0, ..., 0])
    found = attribute(network, score, pixels, question, "integrated-gradients", steps=128)
    assert found.expected is not None
    assert found.reached == pytest.approx(found.expected, rel=0.02)


def test_question_of_a_digit_against_itself_is_refused() -> None:
    """A contrast must be another digit."""
    with pytest.raises(InvalidInputError, match="both 4"):
        Question(4, 4)


def test_explanation_carries_its_checks(classic: Model) -> None:
    """A map comes with a deletion curve that beats random ones, and its randomised likeness."""
    found = explain(
        sample_png(4), classic, Options(), ExplainRequest("integrated-gradients", steps=32)
    )
    assert found.question == Question(4)
    assert found.deletion is not None
    assert found.randomised is not None
    assert found.deletion.by_map[0] == pytest.approx(found.value, abs=1e-3)
    assert found.deletion.by_map[-1] == pytest.approx(found.deletion.at_random[-1], rel=1e-6)
    assert found.deletion.area_by_map < found.deletion.area_at_random
    assert found.randomised.similarity is not None
    assert -1 <= found.randomised.similarity <= 1
    again = explain(
        sample_png(4), classic, Options(), ExplainRequest("integrated-gradients", steps=32)
    )
    np.testing.assert_array_equal(found.attribution.values, again.attribution.values)
    assert np.array_equal(found.deletion.at_random, again.deletion.at_random)


def test_unchecked_and_empty_explanations_say_so(classic: Model) -> None:
    """Checks can be left out; integrated gradients of a black image are 0 everywhere."""
    found = explain(sample_png(4), classic, Options(), ExplainRequest("gradient", checks=False))
    assert (found.deletion, found.randomised, found.empty) == (None, None, False)
    black = np.zeros((28, 28), np.uint8)
    empty = explain(
        black, classic, Options(preprocess="none"), ExplainRequest("integrated-gradients", 3)
    )
    assert empty.empty
    assert (empty.deletion, empty.randomised) == (None, None)


def test_deletion_takes_ink_in_the_map_s_order() -> None:
    """A map that ranks pixels by what they add to a sum lowers it fastest."""
    pixels = np.zeros((28, 28), np.uint8)
    pixels[5:15, 5:15] = np.arange(100).reshape(10, 10) + 1

    def total(images: np.ndarray) -> np.ndarray:
        return images.sum(axis=(1, 2))

    best = deletion(total, pixels, pixels.astype(np.float32))
    worst = deletion(total, pixels, -pixels.astype(np.float32))
    assert best.area_by_map < best.area_at_random < worst.area_by_map
    assert (best.by_map[0], best.by_map[-1]) == (pixels.sum(), 0)
    assert (np.diff(best.by_map) < 0).all()


def test_similarity_is_spearman_s_of_sizes() -> None:
    """Maps of the same order of sizes are alike, whatever their signs; a constant one has none."""
    values = np.array([[-3.0, 1.0], [0.5, 2.0]], np.float32)
    assert similarity(values, np.abs(values) ** 3) == pytest.approx(1)
    assert similarity(values, np.array([[0.0, 2.0], [3.0, 1.0]], np.float32)) == pytest.approx(-1)
    assert similarity(values, np.ones_like(values)) is None
    ties = np.array([0.0, 0.0, 1.0, 2.0]), np.array([5.0, 4.0, 6.0, 6.0])
    expected = np.corrcoef([1.5, 1.5, 3, 4], [2, 1, 3.5, 3.5])[0, 1]
    assert similarity(*ties) == pytest.approx(expected)


def test_no_images_have_no_scores(classic: Model) -> None:
    """Occlusion of a picture without ink covers nothing that would have to be scored."""
    none = np.zeros((0, 28, 28), np.float32)
    assert model_score(classic, Question(3))(none).shape == (0,)
