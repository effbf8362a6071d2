"""Publish a run as a bundle that the service opens."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from app.bundle import Misread, open_bundle
from app.inference.keras_runtime import KerasRuntime
from app.inference.litert_runtime import LiteRtRuntime, open_runtime
from app.settings import REPOSITORY
from digitscope import command
from training import card, plots
from training.architectures import compact
from training.batches import one_hot
from training.data import Split
from training.distill import Answers, Copies, Voting
from training.fit import fit
from training.publish import Splits, Trained, publish
from training.recipe import Recipe
from training.recipes import RECIPES

CLASSIC = REPOSITORY / "model" / "classic"
PUBLISHED_MOST = plots.MAX_DRAWN  # before conftest.py lets cards be brief
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own


def test_published_bundle_is_complete(
    tiny: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """A published bundle opens, reads digits as evaluated, and increases its version."""
    recipe = replace(tiny, epochs=3, refit=None)
    fitted = fit(recipe, train_digits, held_out, tmp_path / "run", seed=2)
    trained = Trained(recipe, 2, fitted)
    test = train_digits.take(np.arange(200))
    metadata = publish(trained, Splits(held_out, test), tmp_path / "model" / "tiny")
    bundle = open_bundle(tmp_path / "model" / "tiny")
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
    for plot in ("curves", "confusion", "reliability", "misread"):
        assert f"plots/{plot}.png" in text
        assert bundle.read(f"plots/{plot}.png").startswith(b"\x89PNG")
    assert metadata.robustness
    corruptions, nondigits = metadata.robustness.corruptions, metadata.robustness.nondigits
    assert (len(corruptions), len(nondigits)) == (15, 6)
    for kind, error in corruptions.items():
        assert f"| {kind} | {card.percent(error)} |" in text
    for kind, area in nondigits.items():
        assert f"| {kind} | {area:.4f} |" in text
    for reading in metadata.robustness.readings:
        assert f"| {reading.name} | {reading.images} | " in text
    assert publish(trained, Splits(held_out, None), bundle.folder).version == 2
    assert sorted(path.name for path in bundle.folder.parent.iterdir()) == ["tiny"]


def test_served_in_int8(
    small: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """A recipe with int8 is served, measured and compared with float32 in int8."""
    recipe = replace(small, build=compact, options={"width": 0.25}, int8=True)
    fitted = fit(recipe, train_digits, held_out, tmp_path / "run", seed=2)
    metadata = publish(Trained(recipe, 2, fitted), Splits(held_out, None), tmp_path / "small")
    bundle = open_bundle(tmp_path / "small")
    served, exact = open_runtime(bundle), KerasRuntime(fitted.network)
    images = held_out.images
    ours, theirs = served.predict(images).probabilities, exact.predict(images).probabilities
    assert metadata.quantization
    flips = metadata.quantization.validation
    assert flips.digits == 100
    assert flips.changed == (ours.argmax(axis=1) != theirs.argmax(axis=1)).sum()
    assert flips.largest_difference == pytest.approx(np.abs(ours - theirs).max(), abs=1e-5)
    assert 0 < flips.largest_difference < 0.3
    assert metadata.validation.errors == (ours.argmax(axis=1) != held_out.labels).sum()
    layers = served.inspect(images[:3])
    np.testing.assert_allclose(layers["softmax"], theirs[:3], atol=1e-5)
    assert "## In int8" in (bundle.folder / "MODEL_CARD.md").read_text()


def test_card_of_many_misread_digits(
    train_digits: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card draws only the digits misread with most confidence; its table lists all."""
    monkeypatch.setattr(plots, "MAX_DRAWN", PUBLISHED_MOST)
    metadata = open_bundle(CLASSIC).metadata
    assert metadata.test
    misread = [Misread(index=at, label=0, digit=1, confidence=at / 400) for at in range(400)]
    evaluation = metadata.test.model_copy(update={"misread": misread})
    card.write(metadata.model_copy(update={"test": evaluation}), tmp_path, train_digits)
    with Image.open(tmp_path / "plots" / "misread.png") as drawn:
        assert 1 < drawn.height / drawn.width < 2  # ten rows of ten
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert "The 100 digits misread with the highest confidence" in text
    assert "| 0 | 0 | 1 | 0.0 % |" in text
    assert "The misread digits of the test split" in card.text(metadata)


def test_card_describes_the_finish() -> None:
    """A card describes how the last epochs differed, if they did."""
    metadata = open_bundle(CLASSIC).metadata
    recipe = replace(RECIPES["kernel5"], epochs=len(metadata.epochs))
    finished = metadata.model_copy(update={"recipe": recipe.describe()})
    assert "The last 8 epochs had a learning rate of at most 0.0003" in card.text(finished)
    assert "rotation deg 7" in card.text(finished)
    assert "The last" not in card.text(metadata)


def test_refitted_network_is_measured_on_unseen_digits(
    tiny: Recipe, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """Held-out digits measure the network before its refit, the test split the published one."""
    recipe = replace(tiny, refit=None, int8=True)
    before = fit(recipe, train_digits, held_out, tmp_path / "before", seed=2)
    uncalibrated = keras.models.clone_model(before.network)  # `publish` scales the network in place
    uncalibrated.set_weights(before.network.get_weights())
    after = fit(recipe, train_digits, held_out, tmp_path / "after", seed=3).network
    test = train_digits.take(np.arange(200))
    alone = publish(Trained(recipe, 2, before), Splits(held_out, test), tmp_path / "alone")
    trained = Trained(recipe, 2, replace(before, network=uncalibrated, refitted=after))
    metadata = publish(trained, Splits(held_out, test), tmp_path / "refitted")
    assert (alone.refitted, metadata.refitted) == (False, True)
    assert metadata.validation == alone.validation
    assert (metadata.verdict, metadata.robustness) == (alone.verdict, alone.robustness)
    assert metadata.test
    assert alone.test
    assert metadata.test.confusion != alone.test.confusion
    bundle = open_bundle(tmp_path / "refitted")
    answers = open_runtime(bundle).predict(test.images).probabilities.argmax(axis=1)
    assert metadata.test.errors == (answers != test.labels).sum()
    assert "on all 60,000 digits (the\nrefit)" in (bundle.folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_runs_a_few_steps(
    train_digits: Split, held_out: Split, tmp_path: Path, name: str
) -> None:
    """Each recipe builds its network and trains for two epochs of two steps."""
    finish = RECIPES[name].finish
    shorter = replace(finish, epochs=1) if finish else None
    recipe = replace(RECIPES[name], epochs=2, finish=shorter, batch_size=16)
    digits, copies, answers = train_digits.take(np.arange(32)), None, None
    if recipe.teachers and not recipe.copies:
        answers = Answers(one_hot(digits.labels), {"classic": 1})
    elif recipe.teachers:
        copies = Copies(tmp_path / "copies", digits, recipe, Voting([open_bundle(CLASSIC)]), seed=1)
        copies.make()
    few = held_out.take(np.arange(20))
    taught = {"copies": copies, "answers": answers}
    history = fit(recipe, digits, few, tmp_path / "run", seed=1, **taught).history
    assert len(history) == 2
    assert np.isfinite([epoch.val_loss for epoch in history]).all()


def test_train_refuses_other_data(sample_path: Path, tmp_path: Path) -> None:
    """The command states what is wrong with the data, and ends with 1."""
    options = ["--data", str(sample_path), "--out", str(tmp_path), "--runs", str(tmp_path)]
    result = CliRunner().invoke(command, ["train", *options])
    assert result.exit_code == 1
    assert "expected 60000 digits" in result.stderr


def test_unknown_recipe_names_the_valid_ones() -> None:
    """An unknown recipe is refused with the list of valid ones."""
    result = CliRunner().invoke(command, ["train", "--recipe", "clasic"])
    assert result.exit_code == 2
    assert "classic" in result.stderr.replace("'clasic'", "")
