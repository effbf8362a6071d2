"""Learning from published networks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.inference.litert import LiteRtRuntime
from app.settings import REPOSITORY
from digitscope import command
from training.batches import Batches
from training.data import Split
from training.distill import Voting
from training.fit import FitError, fit
from training.publish import multiply_adds
from training.recipe import Recipe
from training.recipes.compact import RECIPE

CLASSIC = REPOSITORY / "model" / "classic"


def test_teachers_vote_with_equal_weights(train_digits: Split) -> None:
    """A network that votes twice answers as it does alone."""
    images = train_digits.images[:5].astype(np.float32)
    alone = LiteRtRuntime((CLASSIC / "model.tflite").read_bytes(), interpreters=1).predict(images)
    np.testing.assert_allclose(Voting([CLASSIC, CLASSIC])(images), alone.probabilities, atol=1e-6)


def test_pupil_learns_the_teachers_answers(small: Recipe, train_digits: Split) -> None:
    """Targets are what the teacher says of the pixels as they are shown; outliers stay uniform."""
    recipe = replace(small, outlier_share=0.1, teachers=("classic",))
    teacher = Voting([CLASSIC])
    pixels, targets = Batches(train_digits, recipe, seed=1, epoch=0, teacher=teacher)[0]
    np.testing.assert_array_equal(targets[:100], teacher(pixels[:100, ..., 0]))
    assert (targets[100:] == np.float32(0.1)).all()


def test_teachers_are_asked_for(train_digits: Split, held_out: Split, tmp_path: Path) -> None:
    """A recipe with teachers is not trained without them; one without is not distilled."""
    with pytest.raises(FitError, match="digitscope distill"):
        fit(RECIPE, train_digits, held_out, tmp_path, seed=1)
    result = CliRunner().invoke(command, ["distill", "--recipe", "classic"])
    assert result.exit_code == 2
    assert "names no teachers" in result.stderr


def test_compact_is_small() -> None:
    """Under two million multiply-adds and a mebibyte of float32 in both signatures of its twin."""
    network = RECIPE.build(**RECIPE.options)
    assert multiply_adds(network) < 2_000_000
    assert network.count_params() * 4 * 2 < 2**20
