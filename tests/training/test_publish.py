"""From a run to a bundle that the service opens."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from app.bundle import open_bundle
from app.inference.litert import LiteRtRuntime
from digitscope import command
from training import card
from training.batches import one_hot
from training.data import Split
from training.fit import fit
from training.publish import Trained, publish
from training.recipe import Recipe
from training.recipes import RECIPES

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own


def test_published_bundle_is_complete(
    small: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """A run ends in a bundle that opens, reads digits as evaluated, and grows its version."""
    fitted = fit(small, train_digits, held_out, tmp_path / "run", seed=2)
    trained = Trained(small, 2, fitted)
    test = train_digits.take(np.arange(200))
    metadata = publish(trained, held_out, test, tmp_path / "model" / "small")
    bundle = open_bundle(tmp_path / "model" / "small")
    assert bundle.metadata == metadata
    assert metadata.version == 1
    answers = LiteRtRuntime(bundle.read("model.tflite"), interpreters=1).predict(test.images)
    wrong = (answers.probabilities.argmax(axis=1) != test.labels).sum()
    assert metadata.test is not None
    assert (metadata.test.errors, metadata.test.digits) == (wrong, 200)
    text = (bundle.folder / "MODEL_CARD.md").read_text()
    assert f"| test | 200 | {wrong} | {card.percent(wrong / 200)} |" in text
    assert [name for name in metadata.files if name.startswith("snapshots/")] == [
        f"snapshots/epoch-00{epoch}.npz" for epoch in (1, 2, 3)
    ]
    for plot in ("curves", "confusion", "misread"):
        assert f"plots/{plot}.png" in text
        assert bundle.read(f"plots/{plot}.png").startswith(b"\x89PNG")
    assert publish(trained, held_out, None, bundle.folder).version == 2
    assert sorted(path.name for path in bundle.folder.parent.iterdir()) == ["small"]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_runs_a_few_steps(
    train_digits: Split, held_out: Split, tmp_path: Path, name: str
) -> None:
    """Each recipe builds its network and trains on its augmentation for two epochs of two steps."""
    recipe = replace(RECIPES[name], epochs=2, batch_size=64)
    history = fit(
        recipe,
        train_digits.take(np.arange(128)),
        held_out,
        tmp_path,
        seed=1,
        teacher=(lambda pixels: one_hot(np.zeros(len(pixels), np.uint8)))
        if recipe.teachers
        else None,
    ).history
    assert len(history) == 2
    assert np.isfinite([epoch.val_loss for epoch in history]).all()


def test_train_refuses_what_is_not_mnist(sample_path: Path, tmp_path: Path) -> None:
    """The command says what is wrong with the data, and ends with 1."""
    options = ["--data", str(sample_path), "--out", str(tmp_path), "--runs", str(tmp_path)]
    result = CliRunner().invoke(command, ["train", *options])
    assert result.exit_code == 1
    assert "expected 60000 digits" in result.stderr


def test_unknown_recipe_names_the_valid_ones() -> None:
    """The command lists the recipes that exist."""
    result = CliRunner().invoke(command, ["train", "--recipe", "clasic"])
    assert result.exit_code == 2
    assert "classic" in result.stderr.replace("'clasic'", "")
