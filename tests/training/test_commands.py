"""The training commands: refits, ensembles, teachers, recompilation, and Ctrl-C at any time."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from app.bundle import INT8_FILE, KERAS_FILE, Bundle, Metadata, open_bundle, seal
from app.inference.keras_runtime import load_keras
from digitscope import command
from training import recipes, snapshots
from training.augment import Augmentation
from training.checkpoints import REFIT, Checkpoints
from training.data import Split, load
from training.distill import EarlierVersions
from training.predictions import PREDICTIONS_FILE, read_predictions
from training.recipe import Ensemble, Finish, Recipe
from training.recipes import ensemble as ensembles
from training.teachers import load_teacher, stored_answers, write_answers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own


@pytest.fixture(scope="module", autouse=True)
def empty_plots() -> Iterator[None]:
    """Draw no plots: they take a quarter of a publication; test_publish.py tests them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.plots._save", lambda figure, path: path.touch())
        yield


@pytest.fixture
def run(
    sample_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Run a training command on the sample, in `tmp_path`; `recipe` may be any recipe."""
    return _runner(sample_path, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def published(tiny: Recipe, sample_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `digitscope train` with `tiny` in int8: tests copy it and do not change it."""
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        trained = _runner(sample_path, folder, patch)("train", recipe=replace(tiny, int8=True))
    assert trained.exit_code == 0, trained.output
    return folder


def _runner(sample: Path, folder: Path, patch: pytest.MonkeyPatch) -> Callable[..., Result]:
    def read(source: Path | None, part: str) -> Split:
        return load(sample, part, official=False)

    patch.setattr("training.data.load", read)
    patch.setenv("DIGITSCOPE_MODEL_DIR", str(folder / "model"))

    def invoke(name: str, *options: str, recipe: Recipe | None = None) -> Result:
        if recipe:
            patch.setitem(recipes.RECIPES, recipe.name, recipe)
            options = ("--recipe", recipe.name, *options)
        if name in {"train", "distill", "ensemble"}:
            options = (*options, "--runs", str(folder / "runs"))
        if name in {"train", "distill", "ensemble", "recompile"} and "--out" not in options:
            options = (*options, "--publish")
        return CliRunner().invoke(command, [name, *options])

    return invoke


def _weights(bundle: Bundle) -> list[Any]:
    weights: list[Any] = load_keras(bundle.read(KERAS_FILE)).get_weights()
    return weights


def test_refit_resumes_where_it_stopped(
    run: Callable[..., Result],
    published: Path,
    tiny: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C in a refit loses no epoch; a new training does not resume the refit of an old one."""
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    whole = open_bundle(tmp_path / "model" / "tiny")
    evaluated = run("evaluate", "tiny")
    assert evaluated.exit_code == 0, evaluated.output
    assert "validation: " in evaluated.output

    save = Checkpoints.save

    def stop_in_the_refit(self: Any, trainee: Any, history: list[Any]) -> None:
        if self.folder.name == REFIT and len(history) == 2:
            raise KeyboardInterrupt
        save(self, trainee, history)

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", stop_in_the_refit)
        stopped = run("train", "--seed", "2", recipe=tiny)
    assert stopped.exit_code == 130
    assert open_bundle(tmp_path / "model" / "tiny").metadata == whole.metadata
    resumed = run("train", "--seed", "2", "--resume", recipe=tiny)
    assert resumed.exit_code == 0, resumed.output
    second = open_bundle(tmp_path / "model" / "tiny")
    assert second.metadata.refitted
    history = (tmp_path / "runs" / "tiny" / "refit" / "history.json").read_text()
    assert history.count('"epoch":') == 2
    before = load_teacher(second).get_weights()
    assert any(
        (ours != others).any() for ours, others in zip(_weights(second), before, strict=True)
    )
    assert not any("before-refit" in name for name in second.metadata.files)


def test_only_tensorflow_publishes(
    run: Callable[..., Result], tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of another backend waits for the same command under TensorFlow."""
    with monkeypatch.context() as patched:
        patched.setattr("keras.backend.backend", lambda: "torch")
        trained = run("train", recipe=tiny)
    assert trained.exit_code == 0, trained.output
    assert "Under TensorFlow, --resume writes the bundle." in trained.output
    assert not (tmp_path / "model").exists()
    published = run("train", "--resume", recipe=tiny)
    assert published.exit_code == 0, published.output
    assert open_bundle(tmp_path / "model" / "tiny").metadata.refitted


def test_recompile_keeps_the_network(
    run: Callable[..., Result], published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`recompile` keeps the weights and the decisions of training and writes the next version."""
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    first = open_bundle(tmp_path / "model" / "tiny")
    weights = _weights(first)
    with monkeypatch.context() as patched:
        patched.setattr("keras.backend.backend", lambda: "torch")
        refused = run("recompile", "tiny")
    assert refused.exit_code == 1
    assert "Only TensorFlow compiles" in refused.output
    assert open_bundle(first.folder) == first

    recompiled = run("recompile", "tiny")
    assert recompiled.exit_code == 0, recompiled.output
    second = open_bundle(first.folder)
    assert (first.metadata.opened_with, second.metadata.opened_with) == (None, 1)
    assert "The weights are those of version 1" in (second.folder / "MODEL_CARD.md").read_text()
    measured_again = {"version", "created", "microseconds", "files", "opened_with"}
    assert second.metadata.version == 2
    assert second.metadata.model_dump(exclude=measured_again) == first.metadata.model_dump(
        exclude=measured_again
    )
    assert second.metadata.files.keys() == first.metadata.files.keys()
    assert second.read(INT8_FILE) == first.read(INT8_FILE)
    for ours, others in zip(_weights(second), weights, strict=True):
        np.testing.assert_array_equal(ours, others)
    assert second.read(PREDICTIONS_FILE) == first.read(PREDICTIONS_FILE)
    assert run("recompile", "another").exit_code == 1


def test_stopped_training_reads_no_test_split(
    run: Callable[..., Result], tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after an epoch keeps it, states it in the card, and leaves the test split closed."""
    longer = replace(tiny, epochs=2)
    save = Checkpoints.save

    def stop_in_the_second(self: Any, trainee: Any, history: list[Any]) -> None:
        if len(history) == 2:
            raise KeyboardInterrupt
        save(self, trainee, history)

    monkeypatch.setattr(Checkpoints, "save", stop_in_the_second)
    assert run("train", recipe=longer).exit_code == 0
    metadata = open_bundle(tmp_path / "model" / "tiny").metadata
    assert (len(metadata.epochs), metadata.published_epoch) == (1, 1)
    assert (metadata.test, metadata.refitted) == (None, False)
    text = (tmp_path / "model" / "tiny" / "MODEL_CARD.md").read_text()
    assert "2 epochs, stopped after 1," in text
    assert "a further" not in text


def test_members_teach_as_they_were_before_their_refit(
    run: Callable[..., Result], tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teachers answer for the validation as before their refit, and for the refit as published."""
    members = (replace(tiny, name="one"), replace(tiny, name="two"))
    both = Ensemble("both", "Two networks, voting.", members, seeds=(1, 2))
    monkeypatch.setattr(ensembles, "ENSEMBLE", both)
    joined = run("ensemble")
    assert joined.exit_code == 0, joined.output
    teacher = open_bundle(tmp_path / "model" / "both")
    assert teacher.metadata.seed is None
    assert [member["seed"] for member in teacher.metadata.recipe["members"]] == [1, 2]
    pupil = replace(tiny, name="pupil", teachers=("both",), copies=1, int8=True)
    learned = run("distill", recipe=pupil)
    assert learned.exit_code == 0, learned.output
    metadata = open_bundle(tmp_path / "model" / "pupil").metadata
    assert metadata.teachers == {"both": 1}
    assert "both (version 1)" in (tmp_path / "model" / "pupil" / "MODEL_CARD.md").read_text()
    runs = tmp_path / "runs" / "pupil"
    unrefitted, seeing = (
        np.load(folder / "copies" / "copy-00.npz") for folder in (runs, runs / "refit")
    )
    published = load_keras(teacher.read(KERAS_FILE))
    for answers, network in ((unrefitted, load_teacher(teacher)), (seeing, published)):
        expected = network.predict(answers["pixels"][:20, ..., None].astype("float32"), verbose=0)
        np.testing.assert_allclose(answers["answers"][:20], expected, atol=1e-4)
    table = run("evaluate", "--all")
    assert table.exit_code == 0, table.output


def test_answers_and_weights_are_taken_from_files(
    run: Callable[..., Result], published: Path, tiny: Recipe, sample_path: Path, tmp_path: Path
) -> None:
    """A pupil without copies learns stored answers, and starts from stored weights."""
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    teacher = open_bundle(tmp_path / "model" / "tiny")
    refit = Finish(epochs=1, learning_rate=1e-5, augmentation=Augmentation())
    pupil = replace(tiny, name="pupil", teachers=("tiny",), start="tiny.npz", refit=refit)
    missing = run("distill", recipe=pupil)
    assert missing.exit_code == 1
    assert "its answers on the training digits" in missing.output
    folder = tmp_path / "model" / "teachers"
    shutil.copy(teacher.folder / "snapshots" / "epoch-001.npz", folder / "tiny.npz")
    images = load(sample_path, "train", official=False).images
    network = load_teacher(teacher)
    answers = network.predict(images[..., None].astype("float32"), verbose=0)
    write_answers(teacher, answers)
    np.testing.assert_allclose(stored_answers(teacher), answers, atol=1e-3)
    (folder / "tiny.npz").rename(folder / "gone.npz")
    assert "needs the weights in" in run("distill", recipe=pupil).output
    (folder / "gone.npz").rename(folder / "tiny.npz")
    learned = run("distill", recipe=pupil)
    assert learned.exit_code == 0, learned.output
    assert open_bundle(tmp_path / "model" / "pupil").metadata.teachers == {"tiny": 1}


def test_runs_with_further_seeds_are_averaged(
    run: Callable[..., Result], published: Path, tiny: Recipe, tmp_path: Path
) -> None:
    """A recipe with seeds keeps the mean weights; half of its targets are an earlier version's."""
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    teacher = open_bundle(tmp_path / "model" / "tiny")
    folder = tmp_path / "model" / "teachers"
    shutil.copy(teacher.folder / "snapshots" / "epoch-001.npz", folder / "tiny.npz")
    write_answers(teacher, np.full((60000, 10), 0.1, np.float32))
    pupil = replace(
        tiny, name="pupil", teachers=("tiny",), refit=None, start="tiny.npz", seeds=(2, 3)
    )
    learned = run("distill", recipe=replace(pupil, earlier=("tiny.npz",)))
    assert learned.exit_code == 0, learned.output
    bundle = open_bundle(tmp_path / "model" / "pupil")
    runs = tmp_path / "runs" / "pupil"
    folders = [runs, runs / "seed-2", runs / "seed-3"]
    kernels = [
        snapshots.load(each / "snapshots" / "epoch-001.npz")["conv_1/kernel"] for each in folders
    ]
    averaged = load_keras(bundle.read(KERAS_FILE)).layers[1].get_weights()[0]
    assert max(np.abs(one - two).max() for one, two in combinations(kernels, 2)) > 0
    np.testing.assert_allclose(averaged, np.mean(kernels, axis=0), atol=1e-5)
    assert "mean of the weights of 3 runs" in (bundle.folder / "MODEL_CARD.md").read_text()


def test_earlier_versions_count_as_far_as_they_read_a_digit(
    tiny: Recipe, train_digits: Split
) -> None:
    """The answer of a version that is wrong for sure hardly moves the target."""
    networks = [tiny.build(**tiny.options) for _ in range(2)]
    for network, digit in zip(networks, (3, 7), strict=True):
        kernel, bias = network.get_layer("logits").get_weights()
        network.get_layer("logits").set_weights([0 * kernel, bias + 9 * np.eye(10)[digit]])
    images = train_digits.images[:4]
    answer = EarlierVersions(networks, train_digits.images)
    known = answer(images.astype(np.float32), np.array([3, 7, 3, 7]))
    assert known.argmax(axis=1).tolist() == [3, 7, 3, 7]
    np.testing.assert_allclose(known.sum(axis=1), 1, atol=1e-5)
    assert (known.max(axis=1) > 0.99).all()


def test_a_model_is_replaced_only_with_publish(
    run: Callable[..., Result], published: Path, tiny: Recipe, tmp_path: Path
) -> None:
    """Training and `recompile` write elsewhere, and print how to serve and publish the bundle."""
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    served = open_bundle(tmp_path / "model" / "tiny")
    out = str(tmp_path / "out")
    once = replace(tiny, refit=None)
    for name, options in (("train", ("--seed", "2")), ("recompile", ("tiny",))):
        recipe = once if name == "train" else None
        written = run(name, *options, "--out", out, recipe=recipe)
        assert written.exit_code == 0, written.output
        assert f"Wrote {out}/tiny" in written.output
        assert f"DIGITSCOPE_MODEL_DIR={out} DIGITSCOPE_DEFAULT_MODEL=tiny" in written.output
        assert "--publish" in written.output
        assert ("test: " in written.output) == (name == "recompile")
    assert open_bundle(tmp_path / "model" / "tiny") == served
    assert open_bundle(tmp_path / "out" / "tiny").metadata.version > served.metadata.version
    refused = run("train", "--out", out, "--publish", recipe=once)
    assert refused.exit_code == 2


def test_verify_compares_with_the_publication(
    run: Callable[..., Result], published: Path, tmp_path: Path
) -> None:
    """`verify` passes on a model as published, and fails once its answers have changed."""
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    passed = run("verify")
    assert passed.exit_code == 0, passed.output
    assert "0 of 100 held-out digits are read differently" in passed.output
    folder = tmp_path / "model" / "tiny"
    predictions = read_predictions(open_bundle(folder))
    moved = np.roll(predictions.served.log_probabilities, 1, axis=1)
    served = replace(predictions.served, log_probabilities=moved)
    (folder / PREDICTIONS_FILE).write_bytes(replace(predictions, served=served).to_bytes())
    seal(folder, Metadata.model_validate_json((folder / "metadata.json").read_text()))
    failed = run("verify", "tiny")
    assert failed.exit_code == 1
    assert "do not answer as they did when published: tiny" in failed.output
