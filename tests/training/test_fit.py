"""The training loop: it learns, repeats, resumes and survives Ctrl-C."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.augment import Augmentation
from training.batches import Batches, one_hot
from training.data import Split
from training.errors import FitError
from training.fit import Step, fit, loss_of
from training.recipe import EnergyMargin, Finish, Recipe


def _run(recipe: Recipe, train: Split, held_out: Split, folder: Path, **options):
    fitted = fit(recipe, train, held_out, folder, seed=5, **options)
    return fitted.network.get_weights(), fitted.history


@pytest.fixture(scope="module")
def whole(small: Recipe, train_digits: Split, held_out: Split, tmp_path_factory):
    """An uninterrupted run."""
    return _run(small, train_digits, held_out, tmp_path_factory.mktemp("whole"))


def _figures(history) -> list[tuple[float, ...]]:
    return [(e.epoch, e.loss, e.accuracy, e.val_loss, e.val_accuracy) for e in history]


def test_it_learns(whole) -> None:
    """Three short epochs on 500 digits read most of the held-out ones."""
    _, history = whole
    assert [epoch.epoch for epoch in history] == [1, 2, 3]
    assert history[-1].val_accuracy > 0.5
    assert history[-1].loss < history[0].loss


def test_seed_repeats_a_run_and_resume_continues_it(
    whole, small: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """A run stopped by Ctrl-C and resumed equals an uninterrupted run to the last digit."""

    def stop_in_the_second_epoch(at: Step) -> None:
        if (at.epoch, at.step) == (1, 3):
            raise KeyboardInterrupt

    _, history = _run(small, train_digits, held_out, tmp_path, on_step=stop_in_the_second_epoch)
    assert _figures(history) == _figures(whole[1])[:1]
    weights, history = _run(small, train_digits, held_out, tmp_path, resume=True)
    assert _figures(history) == _figures(whole[1])
    for ours, theirs in zip(weights, whole[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_training_in_bfloat16(
    small: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """A network trained in bfloat16 ends with float32 weights and layers."""
    recipe = replace(small, precision="mixed_bfloat16", epochs=2)
    seen: set[str] = set()
    build = recipe.build

    def watched(**options: Any) -> keras.Sequential:
        network = build(**options)
        call = network.get_layer("conv_2_1").call

        def spy(inputs: Any) -> Any:
            outputs = call(inputs)
            seen.add(outputs.dtype.name)
            return outputs

        network.get_layer("conv_2_1").call = spy
        return network

    fitted = fit(replace(recipe, build=watched), train_digits, held_out, tmp_path, seed=5)
    assert seen == {"bfloat16"}
    assert {layer.compute_dtype for layer in fitted.network.layers} == {"float32"}
    assert {weights.dtype.name for weights in fitted.network.get_weights()} == {"float32"}
    assert fitted.history[-1].loss < fitted.history[0].loss


def test_tensorboard_logs(
    small: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """The logs have the figures of each epoch, like the history, and histograms of weights."""
    logs = tmp_path / "logs"
    _, history = _run(small, train_digits, held_out, tmp_path / "run", tensorboard=logs)
    for split, expected in (
        ("train", [epoch.loss for epoch in history]),
        ("validation", [epoch.val_loss for epoch in history]),
    ):
        read = EventAccumulator(str(logs / split)).Reload()
        found = [tf.make_ndarray(one.tensor_proto).item() for one in read.Tensors("epoch_loss")]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        if split == "train":
            assert "classic/conv_1_1/kernel/histogram" in read.Tags()["tensors"]


def test_which_epoch_is_kept(
    small: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """A whole run keeps its last epoch, a stopped one the epoch with the lowest validation loss."""
    wild = replace(small, learning_rate=0.3, epochs=4)

    def stop_in_the_last_epoch(at: Step) -> None:
        if at.epoch == 3:
            raise KeyboardInterrupt

    stopped = fit(wild, train_digits, held_out, tmp_path, seed=5, on_step=stop_in_the_last_epoch)
    best = min(stopped.history, key=lambda epoch: epoch.val_loss)
    assert (stopped.epoch, len(stopped.history)) == (best.epoch, 3)
    assert _accuracy(stopped.network, held_out) == pytest.approx(best.val_accuracy, abs=1e-6)
    whole = fit(wild, train_digits, held_out, tmp_path, seed=5, resume=True)
    assert whole.epoch == 4
    expected = whole.history[-1].val_accuracy
    assert _accuracy(whole.network, held_out) == pytest.approx(expected, abs=1e-6)


def _accuracy(network, digits: Split) -> float:
    answers = network.predict(digits.images[..., None].astype(np.float32), verbose=0)
    return (answers.argmax(axis=1) == digits.labels).mean()


def test_ctrl_c_before_the_first_epoch(
    tiny: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """Before the first epoch ends, Ctrl-C is passed on."""

    def stop(at: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(tiny, train_digits, held_out, tmp_path, on_step=stop)


def test_resume_refuses_another_run(
    tiny: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """Only an existing run of the same recipe can be resumed."""
    with pytest.raises(FitError, match="no run to resume"):
        _run(tiny, train_digits, held_out, tmp_path, resume=True)
    _run(replace(tiny, epochs=2), train_digits, held_out, tmp_path)
    with pytest.raises(FitError, match="another recipe"):
        _run(tiny, train_digits, held_out, tmp_path, resume=True)


def test_averaged_weights_have_their_own_statistics(
    small: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """Averaged weights are kept, also after a resume, with batch statistics that fit them."""
    averaging = replace(small, averaging=0.8, label_smoothing=0.1)

    def stop_in_the_last_epoch(at: Step) -> None:
        if at.epoch == 2:
            raise KeyboardInterrupt

    kept = fit(averaging, train_digits, held_out, tmp_path / "whole", seed=5)
    assert _accuracy(kept.network, held_out) > 0.5
    assert _accuracy(kept.network, held_out) != pytest.approx(kept.history[-1].val_accuracy)
    fit(averaging, train_digits, held_out, tmp_path, seed=5, on_step=stop_in_the_last_epoch)
    resumed = fit(averaging, train_digits, held_out, tmp_path, seed=5, resume=True)
    for ours, theirs in zip(resumed.network.get_weights(), kept.network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_smoothed_targets(small: Recipe, train_digits: Split) -> None:
    """A digit's target gives every class a share; a non-digit's target stays uniform."""
    recipe = replace(small, label_smoothing=0.2, outlier_share=0.1)
    _, targets = Batches(train_digits, recipe, seed=1, epoch=0)[0]
    assert np.unique(targets[:100].round(4)).tolist() == pytest.approx([0.02, 0.82])
    assert (targets[100:] == np.float32(0.1)).all()


def test_drawn_digits_join_the_batch(small: Recipe, train_digits: Split) -> None:
    """Digits that are drawn from strokes come with their labels, before the outliers."""
    recipe = replace(small, drawn_share=0.2, outlier_share=0.1)
    pixels, targets = Batches(train_digits, recipe, seed=1, epoch=0)[0]
    assert (len(pixels), len(targets)) == (130, 130)
    assert (targets[:120].max(axis=1) == 1).all()
    assert (targets[120:] == np.float32(0.1)).all()


def test_margin_adds_to_the_loss_what_a_score_lacks_or_exceeds(small: Recipe) -> None:
    """A digit's score should be above one limit, an outlier's below another."""
    uniform = np.full(10, 0.1, np.float32)
    targets = np.stack([one_hot(np.array([3]))[0], one_hot(np.array([3]))[0], uniform, uniform])
    # Scores: 2 + ln 10, 10 + ln 10 (high enough), -2 + ln 10, -9 + ln 10 (low enough).
    logits = np.repeat(np.array([[2], [10], [-2], [-9]], np.float32), 10, axis=1)
    plain, limited = (
        float(np.mean(loss_of(replace(small, margin=margin))(targets, logits)))
        for margin in (None, EnergyMargin(digits=8, outliers=-2, weight=0.1))
    )
    beyond = (6 - np.log(10)) ** 2 + np.log(10) ** 2
    assert limited - plain == pytest.approx(0.1 * beyond / 4, rel=1e-4)


def test_default_settings_are_not_described(small: Recipe) -> None:
    """A recipe describes only what it uses, so that descriptions of older recipes stay the same."""
    assert {"label_smoothing", "averaging", "warm_up", "cosine"}.isdisjoint(small.describe())
    said = replace(small, averaging=0.9, cosine=False).describe()
    assert (said["averaging"], said["cosine"]) == (0.9, False)


@pytest.mark.parametrize(
    ("settings", "shares"),
    [
        ({}, [1, 0.5, 0]),
        ({"warm_up": 2}, [0.5, 1, 0]),
        ({"warm_up": 0}, [0.75, 0.25, 0]),
        ({"cosine": False}, [1, 1, 1]),
    ],
)
def test_schedule(
    tiny: Recipe,
    train_digits: Split,
    held_out: Split,
    tmp_path: Path,
    settings: dict[str, Any],
    shares: list[float],
) -> None:
    """The learning rate rises during the warm-up, then falls, unless the recipe keeps it."""
    recipe = replace(tiny, epochs=3, **settings)
    _, history = _run(recipe, train_digits, held_out, tmp_path)
    rates = [epoch.learning_rate / recipe.learning_rate for epoch in history]
    assert rates == pytest.approx(shares, abs=1e-6)


def test_finish(tiny: Recipe, train_digits: Split, held_out: Split, tmp_path: Path) -> None:
    """The last epochs have their own learning rate and augmentation."""
    finish = Finish(epochs=2, learning_rate=1e-4, augmentation=Augmentation())
    recipe = replace(tiny, epochs=4, outlier_share=0.1, finish=finish)
    batches = Batches(train_digits, recipe, seed=1, epoch=0)
    for epoch, others, unchanged in ((1, 10, False), (2, 0, True)):
        batches.epoch = epoch
        pixels, targets = batches[0]
        assert (targets.max(axis=1) < 0.5).sum() == others
        known = {image.tobytes() for image in train_digits.images}
        came = {image.astype(np.uint8).tobytes() for image in pixels[:100, ..., 0]}
        assert (came <= known) == unchanged
    _, history = _run(recipe, train_digits, held_out, tmp_path)
    # The learning rate recorded after an epoch is that of the next step.
    assert history[0].learning_rate == pytest.approx(recipe.learning_rate)
    assert history[1].learning_rate == pytest.approx(1e-4)
    assert 0 < history[2].learning_rate < 1e-4
    assert history[3].learning_rate == pytest.approx(0, abs=1e-9)


def test_finish_that_cannot_be_trained_is_refused(small: Recipe) -> None:
    """A finish leaves epochs before it, and needs copies if there are teachers."""
    finish = Finish(epochs=1, learning_rate=1e-4, augmentation=Augmentation())
    with pytest.raises(ValueError, match="needs fewer epochs than the whole training"):
        replace(small, epochs=1, finish=finish)
    with pytest.raises(ValueError, match="needs copies"):
        replace(small, teachers=("classic",), copies=1, finish=finish)


def test_refit_starts_from_a_network(
    small: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """A refit is a run of its own that starts from trained weights."""
    refit = Finish(epochs=1, learning_rate=1e-5, augmentation=Augmentation(), outlier_share=0.2)
    recipe = replace(small, refit=refit)
    again = recipe.refitting()
    assert (again.epochs, again.learning_rate, again.outlier_share) == (1, 1e-5, 0.2)
    assert (again.augmentation, again.refit, again.build) == (Augmentation(), None, recipe.build)
    trained = fit(recipe, train_digits, held_out, tmp_path / "first", seed=5).network
    fresh = fit(again, train_digits, held_out, tmp_path / "fresh", seed=5)
    after = fit(again, train_digits, held_out, tmp_path / "after", seed=5, start=trained)
    assert after.history[0].val_loss < fresh.history[0].val_loss
    before, now = trained.get_weights()[0], after.network.get_weights()[0]
    assert 0 < np.abs(before - now).max() < 0.01
    with pytest.raises(ValueError, match="no refit"):
        small.refitting()
    with pytest.raises(ValueError, match="refit needs copies"):
        replace(small, teachers=("classic",), copies=1, refit=refit)
