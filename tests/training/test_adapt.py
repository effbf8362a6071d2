"""`digitscope adapt`: from a folder of pictures to a better bundle, or to a plain refusal."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from typer.testing import CliRunner, Result

from app.bundle import INT8_FILE, KERAS_FILE, Metadata, open_bundle
from app.inference.keras_runtime import load_keras
from app.inference.litert_runtime import open_runtime
from app.main import create_app
from app.settings import REPOSITORY, Settings
from digitscope import command
from training.data import Split, load

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorFlow's own

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the default model in `model`."""
    folder = tmp_path_factory.mktemp("adapt")
    shutil.copytree(REPOSITORY / "model" / "compact", folder / "model" / "compact")
    return folder


@pytest.fixture(scope="module")
def run(place: Path, sample_path: Path) -> Run:
    """Run `digitscope adapt` with the sample of MNIST."""

    def invoke(images: Path, name: str, *options: str) -> Result:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DIGITSCOPE_MODEL_DIR", str(place / "model"))
            patch.setattr(
                "training.data.load", lambda source, part: load(sample_path, part, official=False)
            )
            patch.setattr("training.adapting.anchors.OUTLIERS", 50)
            patch.setattr("training.adapting.writing.OUTLIERS", 50)
            cache = str(place / "cache")
            arguments = ["adapt", "--images", str(images), "--name", name, "--cache", cache]
            return CliRunner().invoke(command, [*arguments, *options])

    return invoke


def write_pictures(folder: Path, digits: Split, *, mirrored: int, others: int) -> Path:
    """Write mirrored sevens, which MNIST does not have, and other digits as they are."""
    sevens = digits.images[digits.labels == 7][:mirrored, :, ::-1]
    rest = [row for row in range(len(digits)) if digits.labels[row] != 7][:others]
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
    for number, image in enumerate(sevens):
        Image.fromarray(image).save(folder / "7" / f"mirrored-{number}.png")
    for row in rest:
        Image.fromarray(digits.images[row]).save(folder / str(digits.labels[row]) / f"{row}.png")
    return folder


@pytest.fixture(scope="module")
def pictures(place: Path, train_digits: Split) -> Path:
    """A folder of a hand that the default model misreads."""
    return write_pictures(place / "pictures", train_digits, mirrored=40, others=60)


@pytest.fixture(scope="module")
def adapted(run: Run, pictures: Path) -> Result:
    """The first run, which writes the model `ours`."""
    return run(pictures, "ours", "--from", "compact")


@pytest.fixture(scope="module")
def metadata(adapted: Result, place: Path) -> Metadata:
    """The metadata of `ours`, after all hashes were checked."""
    assert adapted.exit_code == 0, adapted.output
    return open_bundle(place / "model" / "ours").metadata


def test_reads_the_hand_better(metadata: Metadata, place: Path, train_digits: Split) -> None:
    """The gain is proven by the cross-validation, and what is served shows it."""
    assert metadata.adapted
    gain = metadata.adapted.pictures
    assert gain.images == 100
    assert gain.misread_before - gain.misread_after == gain.mended - gain.spoilt > 5
    assert gain.p_value < 0.05
    assert gain.interval_after.low <= gain.misread_after / 100 <= gain.interval_after.high
    sevens = train_digits.images[train_digits.labels == 7][:40, :, ::-1]
    wrong = {}
    for name in ("compact", "ours"):
        served = open_runtime(open_bundle(place / "model" / name))
        answers = served.predict(sevens).probabilities.argmax(axis=1)
        wrong[name] = int((answers != 7).sum())
    assert wrong["ours"] < wrong["compact"] / 2


def test_forgets_nothing(metadata: Metadata) -> None:
    """The held-out digits are read as well as before, and their figures are of both networks."""
    assert metadata.adapted
    held_out = metadata.adapted.held_out
    assert held_out.images <= 125
    assert held_out.misread_after <= held_out.misread_before
    assert metadata.test is None


def test_only_the_dense_end_learns(metadata: Metadata, place: Path) -> None:
    """The convolutions keep their weights, and the int8 form is served as that of the base."""
    assert metadata.adapted
    assert metadata.adapted.layers == ["logits"]
    old, new = (open_bundle(place / "model" / name) for name in ("compact", "ours"))
    assert new.has(INT8_FILE)
    assert metadata.quantization
    ours, theirs = (load_keras(each.read(KERAS_FILE)) for each in (new, old))
    for layer in theirs.layers:
        same = all(
            np.array_equal(a, b)
            for a, b in zip(
                layer.get_weights(), ours.get_layer(layer.name).get_weights(), strict=True
            )
        )
        assert same == (layer.name != "logits"), layer.name


def test_card_gives_both_errors(metadata: Metadata, adapted: Result, place: Path) -> None:
    """The card and the terminal give the errors before and after, with intervals."""
    assert metadata.adapted
    card = (place / "model" / "ours" / "MODEL_CARD.md").read_text()
    for found in (metadata.adapted.pictures, metadata.adapted.held_out):
        assert (
            f"| {found.misread_before} ({100 * found.misread_before / found.images:.2f} %" in card
        )
        assert f"misreads {found.misread_before} of {found.images}" in adapted.output
    assert "| your pictures | 100 |" in card
    assert "held-out" in card
    assert "Sure answers on your pictures" in adapted.output
    assert "pictures, `compact` answers" in card


def test_story_from_a_folder_to_a_better_model_that_serves(
    metadata: Metadata, place: Path, train_digits: Split
) -> None:
    """Pictures of the hand that it has not learned are read better, measured and over HTTP."""
    sevens = train_digits.take(np.flatnonzero(train_digits.labels == 7)[40:])
    other = write_pictures(place / "other", sevens, mirrored=len(sevens), others=0)
    models = place / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIGITSCOPE_MODEL_DIR", str(models))
        options = ["--model", "compact", "--model", metadata.name, "--processes", "1", "--json"]
        result = CliRunner().invoke(command, ["evaluate", "--images", str(other), *options])
    assert result.exit_code == 0, result.output
    compact, ours = (each["digits"]["wrong"] for each in json.loads(result.stdout)["models"])
    assert ours < compact
    with TestClient(create_app(Settings(model_dir=models))) as client:
        answers = [
            client.post(
                "/predict", params={"model": metadata.name}, content=path.read_bytes()
            ).json()
            for path in sorted((other / "7").iterdir())
        ]
    assert sum(answer["digit"] != 7 for answer in answers) == ours
    assert {answer["model"]["name"] for answer in answers} == {metadata.name}


@pytest.mark.parametrize("name", ["card", "recompile"])
def test_no_recipe(metadata: Metadata, place: Path, name: str) -> None:
    """Commands that need a recipe refuse an adapted model with a message."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIGITSCOPE_MODEL_DIR", str(place / "model"))
        result = CliRunner().invoke(command, [name, metadata.name])
    assert result.exit_code == 1
    assert "was imported or adapted" in result.output


def test_taken_name(metadata: Metadata, run: Run, pictures: Path) -> None:
    """An adapted model is replaced only on request."""
    refused = run(pictures, metadata.name)
    assert refused.exit_code == 1
    assert "--replace" in refused.output


@pytest.mark.parametrize(
    ("name", "reason"),
    [("compact", "is not replaced"), ("../ours", "name of a model"), ("teachers", "no bundle")],
)
def test_name_that_cannot_be_used(
    run: Run, pictures: Path, place: Path, name: str, reason: str
) -> None:
    """Models that were trained here stay, and a name is no path."""
    (place / "model" / "teachers").mkdir(exist_ok=True)
    result = run(pictures, name, "--replace")
    assert result.exit_code == 1
    assert reason in result.output


def test_nothing_to_learn(run: Run, place: Path, train_digits: Split) -> None:
    """Pictures that are read right already give a refusal, and nothing is written."""
    folder = write_pictures(place / "easy", train_digits, mirrored=0, others=30)
    result = run(folder, "easy")
    assert result.exit_code == 1
    assert "Nothing to learn: compact reads all 30 pictures" in " ".join(result.output.split())
    assert not (place / "model" / "easy").exists()
    assert not list((place / "model").glob(".*"))


def test_too_few_pictures(run: Run, place: Path, train_digits: Split) -> None:
    """The refusal says how many pictures are needed."""
    folder = write_pictures(place / "few", train_digits, mirrored=4, others=30)
    result = run(folder, "few")
    assert result.exit_code == 1
    assert "Too few pictures: compact misreads" in result.output
    assert "pictures like these" in " ".join(result.output.split())


def test_hostile_folder(run: Run, place: Path, tmp_path: Path) -> None:
    """Files that are no pictures are named; a folder of nothing else is refused."""
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "no-picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    (tmp_path / "3" / "notes.txt").write_text("3")
    (tmp_path / "3" / "out.png").symlink_to("/etc/hostname")
    result = run(tmp_path, "hostile")
    assert result.exit_code == 1
    assert "No picture in" in result.output
    assert "Traceback" not in result.output
    missing = run(tmp_path / "missing", "hostile")
    assert missing.exit_code == 1
    assert "cannot be opened" in missing.output
