"""Read and check MNIST."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from training.data import Split, hold_out, idx_md5, load
from training.errors import DataError


@pytest.fixture
def sample(sample_path: Path) -> dict[str, np.ndarray]:
    """The arrays of the sample."""
    with np.load(sample_path) as archive:
        return dict(archive)


def _write_idx(path: Path, values: np.ndarray) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    content = bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("joint", ["-", "."])
def test_idx_equals_npz(
    tmp_path: Path, sample: dict[str, np.ndarray], sample_path: Path, suffix: str, joint: str
) -> None:
    """IDX files, gzipped or not, in both spellings of their names, give the digits of the npz."""
    for part, stem in (("train", "train"), ("test", "t10k")):
        _write_idx(tmp_path / f"{stem}-images{joint}idx3-ubyte{suffix}", sample[f"x_{part}"])
        _write_idx(tmp_path / f"{stem}-labels{joint}idx1-ubyte{suffix}", sample[f"y_{part}"])
    for part in ("train", "test"):
        by_idx, by_npz = (
            load(tmp_path, part, official=False),
            load(sample_path, part, official=False),
        )
        np.testing.assert_array_equal(by_idx.images, by_npz.images)
        np.testing.assert_array_equal(by_idx.labels, by_npz.labels)


def test_md5_is_that_of_the_idx_file(tmp_path: Path, sample: dict[str, np.ndarray]) -> None:
    """The checksum of arrays equals the MD5 of their IDX file."""
    import hashlib

    _write_idx(tmp_path / "images", sample["x_test"])
    expected = hashlib.md5((tmp_path / "images").read_bytes()).hexdigest()
    assert idx_md5(sample["x_test"], sample["y_test"])[0] == expected


def _save(tmp_path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(tmp_path / "mnist.npz", **arrays)
    return tmp_path / "mnist.npz"


WRONG = {
    "a float image": ({"x_train": lambda x: x / 255}, "expected uint8"),
    "another size": ({"x_train": lambda x: x[:, :20]}, "[N, 28, 28]"),
    "too few labels": ({"y_train": lambda y: y[:-1]}, "500 images"),
    "a label of 10": ({"y_train": lambda y: y + 1}, "labels 0..9"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays_are_named(tmp_path: Path, sample: dict[str, np.ndarray], case: str) -> None:
    """Arrays that are not in MNIST's form are refused; the message says what was expected."""
    changes, said = WRONG[case]
    changed = {
        name: changes.get(name, lambda values: values)(values) for name, values in sample.items()
    }
    with pytest.raises(DataError) as refused:
        load(_save(tmp_path, changed), "train", official=False)
    assert said in str(refused.value)


def test_sample_is_not_mnist(sample_path: Path) -> None:
    """The official check refuses another number of digits."""
    with pytest.raises(DataError, match="expected 60000 digits"):
        load(sample_path, "train")


def test_right_counts_but_other_digits(tmp_path: Path) -> None:
    """The published checksum detects wrong pixels."""
    arrays = {"x_test": np.zeros((10_000, 28, 28), np.uint8), "y_test": np.zeros(10_000, np.uint8)}
    with pytest.raises(DataError, match="2646ac647ad5339dbf082846283269ea"):
        load(_save(tmp_path, arrays), "test")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nothing.npz", None, "does not exist"),
        ("text.npz", b"hello", "not a readable .npz"),
        ("half.npz", b"PK\x03\x04", "not a readable .npz"),
    ],
)
def test_unreadable_file(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    """A missing or damaged file is named with the reason."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        load(tmp_path / name, "train")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x00\x00\x08\x01", "magic number 00000803"),
        (b"\x00\x00\x08\x03" + b"\x00\x00\x00\x02" * 3, "truncated"),
    ],
)
def test_broken_idx(tmp_path: Path, content: bytes, said: str) -> None:
    """A folder without IDX files, and a truncated or wrong IDX file, are refused."""
    with pytest.raises(DataError, match="holds neither"):
        load(tmp_path, "train")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=said):
        load(tmp_path, "train")


def test_hold_out_is_fixed_and_stratified(train_digits: Split) -> None:
    """The held-out digits are the same each time, balanced by class, and not trained on."""
    kept, held = hold_out(train_digits, 100)
    again = hold_out(train_digits, 100)[1]
    np.testing.assert_array_equal(held.indices, again.indices)
    assert np.bincount(held.labels).tolist() == [10] * 10
    assert sorted([*kept.indices, *held.indices]) == list(range(500))
    np.testing.assert_array_equal(train_digits.images[held.indices], held.images)
