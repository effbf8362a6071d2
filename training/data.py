"""Reads MNIST and checks it against the published checksums.

Knows the file formats (Keras's npz, IDX, gzipped IDX); knows nothing of networks.
"""

import gzip
import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.inference.native_logs import without_native_logs
from training.errors import DataError

Images = NDArray[np.uint8]  # (N, 28, 28), 0..255, ink high
Labels = NDArray[np.uint8]  # (N,), 0..9

# MD5 of the uncompressed IDX files that LeCun, Cortes and Burges published.
IDX_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
COUNTS = {"train": 60_000, "test": 10_000}
# Chooses the held-out validation digits. Fixed, so that all choices are made on the same digits.
SPLIT_SEED = 20_261_123


@dataclass(frozen=True)
class Split:
    """Digits with their labels.

    Attributes:
        images: uint8 `[N, 28, 28]`, 0..255, ink high.
        labels: uint8 `[N]`, 0..9.
        indices: int64 `[N]`, position of each digit in the official split.
    """

    images: Images
    labels: Labels
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of digits."""
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "Split":
        """Return the digits at `rows`, in that order."""
        return Split(self.images[rows], self.labels[rows], self.indices[rows])


def load(source: Path | None, part: str, *, official: bool = True) -> Split:
    """Read one split of MNIST.

    Args:
        source: A Keras `mnist.npz`, a folder of IDX files (gzipped or not), or None to download
            MNIST with `keras.datasets.mnist.load_data()`.
        part: `train` or `test`.
        official: Whether to check the published counts and MD5 sums; False for small samples.

    Returns:
        The digits in the official order.

    Raises:
        DataError: The source is missing, cannot be read or is not MNIST.
    """
    images, labels = _read(source, part)
    where = str(source) if source else "keras.datasets.mnist"
    _check_form(images, labels, f"{where} ({part})")
    if official:
        _check_official(images, labels, part, where)
    return Split(images, labels, np.arange(len(labels)))


def hold_out(train: Split, count: int) -> tuple[Split, Split]:
    """Split the training digits into digits to learn from and a stratified validation split.

    Args:
        train: The training digits.
        count: Number of digits to hold out; each class contributes in proportion.

    Returns:
        The digits to train on and the held-out digits; the same for the same input.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    order = rng.permutation(len(train))
    by_class = order[np.argsort(train.labels[order], kind="stable")]
    held_out = np.sort(by_class[np.arange(count) * len(train) // count])  # evenly spaced by class
    remaining = np.setdiff1d(np.arange(len(train)), held_out)
    return train.take(remaining), train.take(held_out)


def idx_md5(images: Images, labels: Labels) -> tuple[str, str]:
    """Return the MD5 sums of the IDX files of images and labels."""
    header_images = b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in images.shape)
    header_labels = b"\x00\x00\x08\x01" + len(labels).to_bytes(4, "big")
    return (
        hashlib.md5(header_images + images.tobytes(), usedforsecurity=False).hexdigest(),
        hashlib.md5(header_labels + labels.tobytes(), usedforsecurity=False).hexdigest(),
    )


def _read(source: Path | None, part: str) -> tuple[Images, Labels]:
    if source is None:
        return _download(part)
    if source.is_dir():
        stem = "train" if part == "train" else "t10k"
        images = _read_idx(_find_idx(source, f"{stem}-images-idx3-ubyte"), dimensions=3)
        return images, _read_idx(_find_idx(source, f"{stem}-labels-idx1-ubyte"), dimensions=1)
    if not source.is_file():
        raise DataError(
            f"{source} does not exist. Give a mnist.npz or a folder with the four IDX files."
        )
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return archive[f"x_{part}"], archive[f"y_{part}"]
    except KeyError as missing:
        raise DataError(
            f"{source} has no array {missing}; a Keras mnist.npz holds x_train, y_train, x_test and"
            " y_test."
        ) from missing
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{source} is not a readable .npz archive: {error}") from error


def _download(part: str) -> tuple[Images, Labels]:
    with without_native_logs():
        import keras  # imported here: reading local files needs no framework

    try:
        splits: tuple[tuple[Images, Labels], ...] = keras.datasets.mnist.load_data()
    except Exception as error:
        raise DataError(
            f"MNIST could not be downloaded ({error}). Give a mnist.npz or a folder of IDX files"
            " with --data."
        ) from error
    return splits[0] if part == "train" else splits[1]


def _find_idx(folder: Path, name: str) -> Path:
    # Both names are common: train-images-idx3-ubyte and train-images.idx3-ubyte.
    for stem in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (path := folder / (stem + suffix)).is_file():
                return path
    raise DataError(
        f"{folder} holds neither {name} nor {name}.gz; the four IDX files are {', '.join(IDX_MD5)}."
    )


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes: a magic number, the sizes (big-endian) and the values."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be decompressed: {error}") from error
    magic = bytes([0, 0, 8, dimensions])
    if content[:4] != magic:
        raise DataError(
            f"{path} is not an IDX file of bytes: expected magic number {magic.hex()}, got"
            f" {content[:4].hex()}."
        )
    start = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4))
    values = np.frombuffer(content, np.uint8, offset=min(start, len(content)))
    expected = int(np.prod(shape, dtype=np.int64))
    if values.size != expected:
        raise DataError(
            f"{path} is truncated: its header says {expected} values, but it holds {values.size}."
        )
    return values.reshape(shape)


def _check_form(images: NDArray[np.generic], labels: NDArray[np.generic], where: str) -> None:
    if images.dtype != np.uint8 or labels.dtype != np.uint8:
        raise DataError(
            f"{where}: expected uint8 images and labels, got {images.dtype} and {labels.dtype}."
        )
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise DataError(f"{where}: expected images of shape [N, 28, 28], got {list(images.shape)}.")
    if labels.shape != images.shape[:1]:
        raise DataError(f"{where}: {len(images)} images, but labels of shape {list(labels.shape)}.")
    if len(labels) and int(labels.max()) > 9:
        raise DataError(f"{where}: expected labels 0..9, got {int(labels.max())}.")


def _check_official(images: Images, labels: Labels, part: str, where: str) -> None:
    if len(labels) != COUNTS[part]:
        raise DataError(
            f"{where}: expected {COUNTS[part]} digits in the {part} split, got {len(labels)}."
        )
    stem = "train" if part == "train" else "t10k"
    names = (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
    for name, md5 in zip(names, idx_md5(images, labels), strict=True):
        if md5 != IDX_MD5[name]:
            raise DataError(
                f"{where}: this is not MNIST in the official order: {name} should have the MD5 sum"
                f" {IDX_MD5[name]}, but has {md5}."
            )
