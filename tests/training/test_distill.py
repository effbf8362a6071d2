"""Distillation: learn from published networks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.bundle import open_bundle
from app.inference.litert_runtime import open_runtime
from app.settings import REPOSITORY
from digitscope import command
from training.augment import Augmentation
from training.batches import Batches
from training.compiled import count_multiply_adds
from training.data import Split
from training.distill import Copies, Voting
from training.errors import FitError
from training.fit import fit
from training.recipe import Finish, Recipe
from training.recipes.compact import RECIPE

CLASSIC = REPOSITORY / "model" / "classic"


def test_teachers_vote_with_equal_weights(train_digits: Split) -> None:
    """A network that votes twice gives its own probabilities."""
    images, bundle = train_digits.images[:5].astype(np.float32), open_bundle(CLASSIC)
    alone = open_runtime(bundle).predict(images)
    np.testing.assert_allclose(Voting([bundle, bundle])(images), alone.probabilities, atol=1e-6)


def test_pupil_learns_the_teachers_answers(
    small: Recipe, train_digits: Split, tmp_path: Path
) -> None:
    """Targets are the teacher's probabilities for the augmented pixels; outliers stay uniform."""
    recipe = replace(small, outlier_share=0.1, teachers=("classic",), copies=2)
    teacher = Voting([open_bundle(CLASSIC)])
    copies = Copies(tmp_path, train_digits, recipe, teacher, seed=1)
    copies.make()
    shown = []
    for epoch in (0, 1, 2):
        pixels, targets = Batches(train_digits, recipe, seed=1, epoch=epoch, copies=copies)[0]
        np.testing.assert_allclose(targets[:100], teacher(pixels[:100, ..., 0]), atol=1e-6)
        assert (targets[100:] == np.float32(0.1)).all()
        shown.append({image.tobytes() for image in pixels[:100]})
    every, _ = copies.take(2, np.arange(len(train_digits)))
    assert shown[2] <= {image.astype(np.float32).tobytes() for image in every}
    assert not shown[0] & shown[1]  # two copies, of which the third epoch takes the first again


def test_teachers_are_asked_before_and_after_corruption(
    small: Recipe, train_digits: Split, tmp_path: Path
) -> None:
    """A corrupted digit's target is a weighted mean of both answers; a clean one has its own."""
    bent = Augmentation(shift_px=1)
    clean = replace(small, augmentation=bent, teachers=("classic",), copies=1, clean_share=0.75)
    dirty = replace(clean, augmentation=replace(clean.augmentation, corruption=0.5))
    digits, teacher = train_digits.take(np.arange(60)), Voting([open_bundle(CLASSIC)])
    shown, learned = [], []
    for name, recipe in (("clean", clean), ("dirty", dirty)):
        copies = Copies(tmp_path / name, digits, recipe, teacher, seed=1)
        copies.make()
        pixels, answers = copies.take(0, np.arange(len(digits)))
        shown.append(pixels.astype(np.float32))
        learned.append(answers)
    changed = (shown[0] != shown[1]).any(axis=(1, 2))
    assert 15 < changed.sum() < 45
    both = 0.75 * teacher(shown[0]) + 0.25 * teacher(shown[1])
    assert np.abs(teacher(shown[0]) - both).max() > 0.1
    np.testing.assert_allclose(learned[0], teacher(shown[0]), atol=1e-6)
    np.testing.assert_allclose(learned[1], both, atol=1e-6)


def test_finish_has_copies_of_its_own(small: Recipe, train_digits: Split, tmp_path: Path) -> None:
    """The last epochs of a pupil show copies made with the augmentation of the finish."""
    finish = Finish(epochs=2, learning_rate=1e-4, augmentation=Augmentation(), copies=1)
    recipe = replace(small, teachers=("classic",), copies=2, finish=finish)  # 1 epoch and 2
    digits, teacher = train_digits.take(np.arange(20)), Voting([open_bundle(CLASSIC)])
    copies = Copies(tmp_path, digits, recipe, teacher, seed=1)
    copies.make()
    rows = np.arange(20)
    assert (copies.take(0, rows)[0] != digits.images).any()
    for epoch in (1, 2):
        pixels, answers = copies.take(epoch, rows)
        np.testing.assert_array_equal(pixels, digits.images)
        np.testing.assert_allclose(answers, teacher(digits.images.astype(np.float32)), atol=1e-6)


def test_copies_are_made_once(small: Recipe, train_digits: Split, tmp_path: Path) -> None:
    """Another run reuses the copies, unless the augmentation differs."""
    recipe = replace(small, copies=2)
    digits, teacher = train_digits.take(np.arange(20)), Voting([open_bundle(CLASSIC)])
    made: list[int] = []
    Copies(tmp_path, digits, recipe, teacher, seed=1).make(made.append)
    Copies(tmp_path, digits, recipe, teacher, seed=1).make(made.append)
    assert made == [0, 1]
    other = replace(recipe, augmentation=Augmentation(rotation_deg=1))
    Copies(tmp_path, digits, other, teacher, seed=1).make(made.append)
    assert made == [0, 1, 0, 1]


def test_teachers_are_required(train_digits: Split, held_out: Split, tmp_path: Path) -> None:
    """A recipe with teachers cannot be trained without them; one without cannot be distilled."""
    with pytest.raises(FitError, match="digitscope distill"):
        fit(RECIPE, train_digits, held_out, tmp_path, seed=1)
    result = CliRunner().invoke(command, ["distill", "--recipe", "classic"])
    assert result.exit_code == 2
    assert "names no teachers" in result.stderr


def test_compact_is_small() -> None:
    """The weights of compact fit into one mebibyte as float32."""
    network = RECIPE.build(**RECIPE.options)
    assert count_multiply_adds(network) < 9_000_000
    assert network.count_params() * 4 < 2**20
