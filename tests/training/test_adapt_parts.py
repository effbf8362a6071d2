"""The parts of `digitscope adapt`: the tail, folds, the cache, labels, refusals, replacing."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from app.bundle import KERAS_FILE, VerdictThresholds, open_bundle
from app.inference.keras_runtime import KerasRuntime, load_keras
from app.page_reading import find_several
from app.recognise import Options
from app.settings import REPOSITORY
from training.adapting import pictures as reading
from training.adapting.anchors import Anchors
from training.adapting.base import Base, open_base
from training.adapting.cache import FeatureCache
from training.adapting.comparison import compare, pictures_needed
from training.adapting.folds import FOLDS, assign_folds
from training.adapting.labels import DoubtfulLabel, find_doubtful
from training.adapting.learning import TailTrainer
from training.adapting.options import AdaptOptions, check_room, next_version
from training.adapting.pictures import PictureReader
from training.adapting.refusal import check_can_gain, check_forgetting, check_gain
from training.adapting.report import describe_sureness, list_doubtful
from training.adapting.sureness import Sureness, count_sure
from training.adapting.tail import SplitNetwork, split_network
from training.data import Split
from training.errors import AdaptError
from training.target import put_in_place, workspace

CLASSES = tuple("0123456789")
COMPACT = REPOSITORY / "model" / "compact"


@pytest.fixture(scope="module")
def base() -> Base:
    """The default model, opened to be adapted."""
    return open_base(open_bundle(COMPACT), deep=False)


@pytest.fixture(scope="module")
def deep() -> SplitNetwork:
    """The default model, of which the last convolution learns, too."""
    return split_network(load_keras(open_bundle(COMPACT).read(KERAS_FILE)), "compact", deep=True)


@pytest.fixture
def trainer(base: Base, train_digits: Split) -> Iterator[TailTrainer]:
    """Trains the dense end; 300 digits are learned again, 100 guard."""
    features = base.split.features(train_digits.images[:400])
    labels = train_digits.labels[:400]
    made = TailTrainer(
        base.split,
        Anchors(features[:300], labels[:300], features[:0], features[300:], labels[300:]),
    )
    yield made
    made.assign(made.start)


def test_parts_give_the_answers_of_the_whole(deep: SplitNetwork, train_digits: Split) -> None:
    """Front and tail, one after the other, compute the logits of the network."""
    assert deep.layers == ("conv_7", "bn_7", "relu_7", "pool", "logits")
    images = train_digits.images[:20]
    logits = deep.logits(deep.features(images))
    expected = KerasRuntime(deep.network).predict(images).logits
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_network_without_a_dense_end() -> None:
    """An average of networks is refused, as is `--deep` for a network that branches at its end."""
    image = keras.Input((28, 28, 1))
    flat = keras.layers.Flatten()(image)
    members = [keras.layers.Dense(10, activation="softmax")(flat) for _ in range(2)]
    with pytest.raises(AdaptError, match="adapt a single network"):
        split_network(keras.Model(image, keras.layers.Average()(members)), "mean", deep=False)
    features = keras.layers.Add()([keras.layers.Dense(4)(flat), keras.layers.Dense(4)(flat)])
    answer = keras.layers.Softmax()(keras.layers.Dense(10)(features))
    branched = keras.Model(image, answer)
    assert len(split_network(branched, "branched", deep=False).layers) == 1
    with pytest.raises(AdaptError, match="Leave out --deep"):
        split_network(branched, "branched", deep=True)


def test_training_learns_other_labels(trainer: TailTrainer, base: Base, digits_of_7: Split) -> None:
    """Mirrored sevens are read as sevens afterwards, and the same weights come out each time."""
    features = base.split.features(digits_of_7.images[:, :, ::-1])
    labels = digits_of_7.labels
    learned = trainer.train(features, labels)
    before, after = (
        (trainer.logits(weights, features).argmax(axis=1) != 7).mean()
        for weights in (trainer.start, learned.weights)
    )
    assert after < before / 2
    np.testing.assert_array_equal(trainer.train(features, labels).weights, learned.weights)


def test_deep_training_changes_the_last_convolution(
    deep: SplitNetwork, train_digits: Split, digits_of_7: Split
) -> None:
    """With `--deep`, the last convolution learns, too, and mirrored sevens are read better."""
    features, labels = deep.features(train_digits.images[:60]), train_digits.labels[:60]
    anchors = Anchors(features[:40], labels[:40], features[:0], features[40:], labels[40:])
    trainer, kernel = TailTrainer(deep, anchors), deep.network.get_layer("conv_7").kernel
    before = np.array(kernel)
    mirrored = deep.features(digits_of_7.images[:20, :, ::-1])
    wrong = [(trainer.logits(trainer.start, mirrored).argmax(axis=1) != 7).sum()]
    learned = trainer.train(mirrored, digits_of_7.labels[:20], iterations=8)
    wrong.append((trainer.logits(learned.weights, mirrored).argmax(axis=1) != 7).sum())
    assert wrong[1] < wrong[0]
    assert np.abs(np.array(kernel) - before).max() > 0
    trainer.assign(trainer.start)


def test_early_stopping(trainer: TailTrainer, base: Base, digits_of_7: Split) -> None:
    """Pictures that get worse with each step stop the training at its start."""
    features = base.split.features(digits_of_7.images[:, :, ::-1])
    wrong = np.full(len(features), 3, np.uint8)
    learned = trainer.train(features, digits_of_7.labels, (features, wrong))
    assert learned.iterations <= 1


def test_guard_pulls_the_weights_back(
    trainer: TailTrainer, base: Base, train_digits: Split
) -> None:
    """Labels that contradict MNIST move the weights only a part of the way."""
    threes = train_digits.images[train_digits.labels == 3]
    learned = trainer.train(base.split.features(threes), np.full(len(threes), 8, np.uint8))
    assert learned.share < 1


@pytest.fixture(scope="module")
def digits_of_7(train_digits: Split) -> Split:
    """The sevens of the sample."""
    return train_digits.take(np.flatnonzero(train_digits.labels == 7))


def test_copies_stay_in_one_fold() -> None:
    """Copies of a picture are in one fold, and each label is spread over all folds."""
    groups = np.repeat(np.arange(200), 3)
    labels = np.asarray(groups % 10, np.uint8)
    fold = assign_folds(groups, labels)
    assert all(len(set(fold[groups == group])) == 1 for group in range(200))
    for label in range(10):
        assert set(fold[labels == label]) == set(range(FOLDS))


def _reader(base: Base, cache: Path) -> PictureReader:
    return PictureReader(
        base.model,
        base.split,
        Options(find_several=find_several),
        FeatureCache(cache, base.sha256),
    )


def test_cache_spares_the_preparation(
    base: Base, train_digits: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run prepares only pictures that are new, changed, or damaged in the cache."""
    folder = tmp_path / "7"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(train_digits.images[number]).save(folder / f"{number}.png")
    first = _reader(base, tmp_path / "cache").read(tmp_path, lambda done, of: None)
    count = 0

    def counted(*arguments: object) -> object:
        nonlocal count
        count += 1
        return read_image(*arguments)

    read_image = reading.read_image
    monkeypatch.setattr(reading, "read_image", counted)
    second = _reader(base, tmp_path / "cache").read(tmp_path, lambda done, of: None)
    assert count == 0
    np.testing.assert_array_equal(first.features, second.features)
    Image.fromarray(train_digits.images[9]).save(folder / "0.png")
    entry = sorted((tmp_path / "cache").iterdir())[0]
    entry.write_bytes(b"damaged")
    third = _reader(base, tmp_path / "cache").read(tmp_path, lambda done, of: None)
    assert 1 <= count <= 2
    np.testing.assert_allclose(third.features[1:], first.features[1:], atol=1e-5)


def test_cache_is_bounded(tmp_path: Path) -> None:
    """The entries that were used least recently go; other models have other entries."""
    cache = FeatureCache(tmp_path, "model")
    for number in range(5):
        cache.put(str(number), {"features": np.full(1000, number, np.float32)})
    size = next(tmp_path.iterdir()).stat().st_size
    cache.get("0", features=(1000,))
    cache.shrink(2 * size)
    assert len(list(tmp_path.iterdir())) == 2
    assert cache.get("0", features=(1000,)) is not None
    assert cache.get("0", features=(10,)) is None
    assert FeatureCache(tmp_path, "other").get("0", features=(1000,)) is None


def test_pages_without_a_text(base: Base, train_digits: Split, tmp_path: Path) -> None:
    """A page in the folder of a digit is named and left out, in each run; single digits stay."""
    (tmp_path / "3").mkdir()
    page = np.zeros((120, 220), np.uint8)
    for number, image in enumerate(train_digits.images[:10]):
        row, column = 10 + 50 * (number // 5), 10 + 40 * (number % 5)
        page[row : row + 28, column : column + 28] = image
    Image.fromarray(255 - page).save(tmp_path / "3" / "page.png")
    for number in range(3):
        Image.fromarray(train_digits.images[number]).save(tmp_path / "3" / f"{number}.png")
    for _ in range(2):
        found = _reader(base, tmp_path / "cache").read(tmp_path, lambda done, of: None)
        assert found.names == ("3/0.png", "3/1.png", "3/2.png")
        reasons = {each.name: each.reason for each in found.refused}
        assert "several digits" in reasons["3/page.png"]


def test_copies_with_two_labels(base: Base, train_digits: Split, tmp_path: Path) -> None:
    """Copies of one picture with different labels are named and left out."""
    for label in ("3", "8"):
        (tmp_path / label).mkdir()
        Image.fromarray(train_digits.images[0]).save(tmp_path / label / "same.png")
    with pytest.raises(AdaptError, match="No picture can be used: each is the same picture"):
        _reader(base, tmp_path / "cache").read(tmp_path, lambda done, of: None)
    Image.fromarray(train_digits.images[1]).save(tmp_path / "3" / "other.png")
    found = _reader(base, tmp_path / "cache").read(tmp_path, lambda done, of: None)
    assert found.names == ("3/other.png",)
    assert sorted(found.contradicted) == ["3/same.png", "8/same.png"]


def test_copies_count_once(base: Base, train_digits: Split, tmp_path: Path) -> None:
    """Twenty copies of a misread picture prove nothing: they are one, and a name tells so."""
    for row in range(4):
        folder = tmp_path / str(train_digits.labels[row])
        folder.mkdir(exist_ok=True)
        for copy in range(20 if row == 0 else 1):
            Image.fromarray(train_digits.images[row]).save(folder / f"{row}-{copy:02}.png")
    found = _reader(base, tmp_path / "cache").read(tmp_path, lambda done, of: None)
    assert (len(found), len(found.different)) == (23, 4)
    assert len(np.unique(found.groups[found.different])) == 4
    assert f"{train_digits.labels[0]}/0-00.png (19 copies)" in found.names_with_copies
    assert sum("cop" in name for name in found.names_with_copies) == 1


def test_wrong_labels_are_found() -> None:
    """Confident learning lists labels that confident answers contradict."""
    rng = np.random.default_rng(1)
    labels = np.asarray(np.arange(300) % 10, np.uint8)
    probabilities = np.full((300, 10), 0.005, np.float32)
    probabilities[np.arange(300), labels] = rng.uniform(0.8, 0.95, 300)
    probabilities[[4, 70], [4, 0]] = 0.95
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    torn = labels.copy()
    torn[[4, 70]] = 9
    found = find_doubtful([f"{n}.png" for n in range(300)], torn, probabilities, CLASSES)
    assert found is not None
    assert {each.name for each in found} == {"4.png", "70.png"}
    assert {each.read_as for each in found} == {"4", "0"}


@pytest.mark.parametrize("other", [1, 4])
def test_labels_of_few_classes(other: int) -> None:
    """Labels of one digit alone are not checked, and a line says so."""
    labels = np.array([1] * 20 + [other] * 2, np.uint8)
    probabilities = np.full((22, 10), 0.02, np.float32)
    probabilities[np.arange(22), labels] = 0.82
    found = find_doubtful([f"{n}.png" for n in range(22)], labels, probabilities, CLASSES)
    assert found == (None if other == 1 else [])
    lines = list(list_doubtful(found, labels))
    assert ("same one" in " ".join(lines)) == (other == 1)


def _compared(mended: int, spoilt: int, count: int = 200, wrong: int = 20) -> object:
    labels = np.zeros(count, np.uint8)
    before, after = np.zeros(count, np.int64), np.zeros(count, np.int64)
    before[:wrong] = after[mended:wrong] = 1
    after[wrong : wrong + spoilt] = 1
    return compare(before, after, labels)


@pytest.mark.parametrize(
    ("mended", "spoilt", "doubtful", "reason"),
    [
        (5, 0, 0, "Too few pictures: .* About 2[0-9][0-9] pictures"),
        (3, 3, 0, "No gain"),
        (0, 4, 0, "No gain"),
        (1, 0, 15, "Labels look wrong: 15, listed above"),
        (12, 9, 2, "Too few pictures"),
    ],
)
def test_reasons_for_a_refusal(mended: int, spoilt: int, doubtful: int, reason: str) -> None:
    """No gain by McNemar's test is refused: for labels, for no gain, or for too few pictures."""
    labels = [DoubtfulLabel(f"{number}.png", "1", "7") for number in range(doubtful)]
    with pytest.raises(AdaptError, match=reason):
        check_gain(_compared(mended, spoilt), labels)


def test_proven_gain_passes() -> None:
    """Six pictures that are mended, and none spoilt, are a proof."""
    check_gain(_compared(6, 0), None)
    assert pictures_needed(_compared(6, 0)) == 200
    with pytest.raises(AdaptError, match=r"misreads 2 of 50.*about 150 pictures"):
        check_can_gain(2, 50, "compact")


def test_forgetting() -> None:
    """The error on MNIST may rise by 0.05 points: 2 of 5,000 digits, and not 3."""
    check_forgetting(_compared(0, 2, 5000), None, deep=False)
    with pytest.raises(AdaptError, match=r"Forgetting.*Try without --deep"):
        check_forgetting(_compared(0, 3, 5000), None, deep=True)
    with pytest.raises(AdaptError, match=r"rises by 0.06 points; 0.05 .*look wrong \(1\)"):
        check_forgetting(_compared(0, 3, 5000), [DoubtfulLabel("a.png", "1", "7")], deep=False)


def test_fewer_sure_answers_are_told() -> None:
    """A network that is unsure more often gets a warning, and one that is not gets none."""
    logits = np.zeros((3, 10), np.float32)
    logits[:, 4] = [9, 5, 1]
    thresholds = [
        VerdictThresholds(score="energy", not_a_digit_below=2.3, unsure_below=p, false_refusals=0)
        for p in (0.9, 0.99)
    ]
    labels = np.array([4, 7, 4], np.uint8)
    (before, wrong_before), (after, wrong_after) = (
        count_sure(logits, labels, each) for each in thresholds
    )
    assert (before, wrong_before, after, wrong_after) == (2, 1, 1, 0)
    found = Sureness(3, before, after, wrong_before, wrong_after)
    lines = " ".join(describe_sureness(found, "compact"))
    assert "2 of 3 before (1 of them wrong), 1 after (0 wrong)" in lines
    assert "Warning" in lines
    assert "Warning" not in " ".join(describe_sureness(replace(found, after=2), "compact"))


def test_interrupted_replacement(tmp_path: Path) -> None:
    """If the new bundle cannot be moved, the old one is where it was."""
    old = tmp_path / "models" / "ours"
    old.mkdir(parents=True)
    (old / "metadata.json").write_text("{}")
    with pytest.raises(FileNotFoundError), workspace(old) as place:
        put_in_place(place / "missing", old)
    assert [path.name for path in old.parent.iterdir()] == ["ours"]
    assert (old / "metadata.json").read_text() == "{}"


def test_version_of_a_replaced_bundle(tmp_path: Path) -> None:
    """A new model starts at version 1."""
    base = open_bundle(COMPACT)
    options = AdaptOptions(tmp_path, tmp_path, "ours", False, False, tmp_path, Options())
    assert next_version(options, base) == 1


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the folder's place and a full disk are noticed before the work."""
    base = open_bundle(COMPACT)
    models, taken = tmp_path / "models", tmp_path / "taken"
    taken.write_text("")
    options = AdaptOptions(tmp_path, models, "ours", False, False, tmp_path, Options())
    check_room(options, base)
    assert not list(models.iterdir())
    with pytest.raises(AdaptError, match="taken cannot be written"):
        check_room(replace(options, models=taken), base)

    def fill(path: Path, content: bytes) -> None:
        size = sum(file.stat().st_size for file in COMPACT.iterdir() if file.is_file())
        if len(content) >= size:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(AdaptError, match=r"No space left.*--out"):
        check_room(options, base)
    assert not list(models.iterdir())
