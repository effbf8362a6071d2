"""Ablations, neighbours and comparisons agree with direct calculations."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from app.embeddings import Embeddings, distances, read_embeddings
from app.errors import BundleError, InvalidInputError, NotFoundError
from app.inference.model import Model
from app.inspection.ablation import ablate
from app.inspection.activations import inspect_image
from app.inspection.comparison import compare
from app.inspection.neighbours import find_neighbours
from app.recognise import Options
from app.samples import sample_png


def test_ablation_agrees_with_keras(classic: Model, classic_keras: keras.Model) -> None:
    """Switching channels off gives what Keras gives with their outputs set to 0."""
    inspected = inspect_image(sample_png(4), classic, Options())
    layer = classic.network.find("relu_1_2")
    ablations = ablate(inspected, layer, [[], [3], [3, 17]])
    at = [layer.name for layer in classic_keras.layers].index("relu_1_2")
    for ablation, channels in zip(ablations, ([], [3], [3, 17]), strict=True):
        values = inspected.of(layer)[None].copy()
        values[..., channels] = 0
        for step in classic_keras.layers[at + 1 :]:
            values = step(values)
        np.testing.assert_allclose(ablation.probabilities, np.asarray(values)[0], atol=1e-5)
        assert ablation.channels == tuple(channels)


def test_ablating_no_channels_changes_nothing(classic: Model) -> None:
    """With all channels on, every layer gives the network's logits, and later runs do too."""
    inspected = inspect_image(sample_png(7), classic, Options())
    for layer in classic.network.layers[:-1]:
        (unchanged,) = ablate(inspected, layer, [[]])
        np.testing.assert_allclose(unchanged.logits, inspected.outputs["logits"], atol=2e-5)
    np.testing.assert_array_equal(
        inspect_image(sample_png(7), classic, Options()).outputs["softmax"],
        inspected.outputs["softmax"],
    )


def test_ablation_in_one_branch_keeps_the_other(ensemble_model: Model, classic: Model) -> None:
    """In an ensemble, the branches without the layer keep their outputs."""
    inspected = inspect_image(sample_png(7), ensemble_model, Options())
    network = ensemble_model.network
    layer = network.find("member_2/relu")
    off = list(range(layer.channels))
    (ablation,) = ablate(inspected, layer, [off])
    mask = np.zeros(layer.channels, np.float32)
    expected = network.resume(inspected.image[None], {}, {layer.index: mask})
    np.testing.assert_allclose(ablation.probabilities, expected[-1][0], atol=1e-5)


def test_an_unknown_channel_is_rejected(classic: Model) -> None:
    """A channel that the layer does not have raises an error that lists the valid ones."""
    inspected = inspect_image(sample_png(7), classic, Options())
    with pytest.raises(NotFoundError, match="no channel 32") as caught:
        ablate(inspected, classic.network.find("relu_1_1"), [[1, 32]])
    assert caught.value.fields["valid"] == ["channel 0..31"]


def test_a_layer_after_the_logits_cannot_be_ablated(classic: Model) -> None:
    """The logits do not depend on the softmax, so ablating it is an error."""
    inspected = inspect_image(sample_png(7), classic, Options())
    with pytest.raises(InvalidInputError, match="'softmax'"):
        ablate(inspected, classic.network.find("softmax"), [[1]])


def test_neighbours_are_the_nearest_training_digits(classic: Model) -> None:
    """They agree with distances computed one by one, and most show the same digit."""
    found = find_neighbours(sample_png(3), classic, Options(), 5)
    embeddings = classic.embeddings
    assert embeddings is not None
    features = classic.runtime.predict(found.prediction.prepared.pixels[None]).features[0]
    own = features / np.linalg.norm(features)
    away = np.array([np.linalg.norm(own - row) for row in embeddings.directions])
    order = np.argsort(away)[:5]
    assert [one.index for one in found.nearest] == embeddings.indices[order].tolist()
    np.testing.assert_allclose([one.distance for one in found.nearest], away[order], rtol=1e-3)
    assert [one.label for one in found.nearest].count(3) >= 4
    assert found.searched == len(embeddings.labels)


def test_noise_is_far_from_all_training_digits(classic: Model) -> None:
    """Noise is farther from the training digits than nearly all held-out digits are."""
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    far = find_neighbours(noise, classic, Options(preprocess="none"), 1)
    near = find_neighbours(sample_png(3), classic, Options(), 1)
    assert far.percentile > 99.9
    assert near.percentile < 99
    assert near.nearest[0].distance < far.nearest[0].distance


def test_a_model_without_embeddings_has_no_neighbours(kinds_model: Model) -> None:
    """The error names the command that writes the embeddings."""
    with pytest.raises(InvalidInputError, match=r"training\.embeddings"):
        find_neighbours(sample_png(3), kinds_model, Options(), 3)


def test_embeddings_can_be_written_and_read() -> None:
    """Arrays survive the file, features in half precision; a damaged file raises an error."""
    rng = np.random.default_rng(1)
    made = Embeddings(
        rng.normal(size=(4, 3)).astype(np.float32),
        np.arange(4, dtype=np.uint8),
        np.arange(4, dtype=np.int32) * 7,
        rng.integers(0, 256, (4, 28, 28), dtype=np.uint8),
        np.array([1, 2], np.float32),
    )
    got = read_embeddings(made.to_bytes())
    np.testing.assert_allclose(got.directions, made.directions, rtol=1e-3)
    np.testing.assert_array_equal(got.images, made.images)
    np.testing.assert_array_equal(got.indices, made.indices)
    with pytest.raises(BundleError):
        read_embeddings(made.to_bytes()[:50])
    rows = distances(made.directions, made.directions[:2])
    assert rows.shape == (4, 2)
    assert rows[3, 1] == pytest.approx(np.linalg.norm(made.directions[3] - made.directions[1]))


def test_only_different_images_diverge(classic: Model) -> None:
    """An image is similar to itself in every layer; two digits diverge in some layer."""
    four, nine = (inspect_image(sample_png(digit), classic, Options()) for digit in (4, 9))
    same = compare(four, four)
    assert same.diverging is None
    for one in same.layers:
        assert one.cosine == pytest.approx(1)
        assert (one.relative_distance, one.max_difference, one.channels) == (0, 0, ())
        assert one.alignment is None or one.alignment == pytest.approx(1)
    other = compare(four, nine)
    assert other.diverging is not None
    last = other.layers[-1]
    expected = np.abs(four.outputs["softmax"] - nine.outputs["softmax"])
    assert last.max_difference == pytest.approx(expected.max())
    assert set(last.channels[:2]) == {4, 9}


def test_two_models_are_compared_by_layer_name(classic: Model, kinds_model: Model) -> None:
    """Layers with the same name are compared; the others are listed."""
    first, second = (
        inspect_image(sample_png(4), model, Options()) for model in (classic, kinds_model)
    )
    found = compare(first, second)
    assert [one.layer.name for one in found.layers] == ["flatten", "logits", "softmax"]
    assert found.layers[0].cosine is None  # 1600 values against 12
    assert "conv_1_1" in found.only_first
    assert "strided" in found.only_second


def test_alignment_ignores_the_order_of_channels(classic: Model) -> None:
    """Shuffling channels changes the cosine but not the alignment."""
    inspected = inspect_image(sample_png(4), classic, Options())
    order = np.random.default_rng(4).permutation(32)
    shuffled = {**inspected.outputs, "relu_1_1": inspected.outputs["relu_1_1"][..., order]}
    found = compare(inspected, replace(inspected, outputs=shuffled))
    (one,) = [one for one in found.layers if one.layer.name == "relu_1_1"]
    assert one.alignment == pytest.approx(1)
    assert one.cosine is not None
    assert one.cosine < 0.95


def test_large_networks_are_computed_in_smaller_batches(classic: Model) -> None:
    """The activations of a batch stay below a bound; one image at a time is the least."""
    network = classic.network
    assert network.batch_size == 10
    layer = network.layers[0]
    for side, expected in ((100, 5), (4000, 1)):
        shapes = replace(layer.shapes, output=(side, side, 5))
        large = replace(network, layers=(replace(layer, shapes=shapes),))
        assert large.batch_size == expected
