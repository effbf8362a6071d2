"""The labelled digits that the import measures with: training digits of MNIST, shipped here.

`python -m training.importing.digits --data mnist.npz` writes the file. It holds 1,000 digits of the
5,000 that our own recipes hold out, and 2,000 others for the embeddings. All are training digits:
a network that was trained elsewhere may have learned every one of them.
"""

import argparse
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from training import data
from training.data import Split

FILE = Path(__file__).with_name("digits.npz")
MEASURED = 1000  # digits that the import measures and proves with
SCALED = 300  # of these, the digits that choose the scale
EMBEDDED = 2000  # digits that are embedded for `/neighbours`
HELD_OUT = 5000  # digits that the recipes of this repository hold out
SEED = 20_261_130


@dataclass(frozen=True)
class Digits:
    """The shipped digits.

    Attributes:
        measured: 1,000 digits; the first 300, 30 of each, choose the scale.
        embedded: 2,000 other digits.
    """

    measured: Split
    embedded: Split

    @property
    def scaled(self) -> Split:
        """The digits that choose the scale."""
        return self.measured.take(np.arange(SCALED))

    def first(self, count: int) -> "Digits":
        """Return fewer measured digits, for a network that takes long."""
        return Digits(self.measured.take(np.arange(min(count, len(self.measured)))), self.embedded)


@cache
def load_digits() -> Digits:
    """Read the shipped digits."""
    with np.load(FILE, allow_pickle=False) as stored:
        split = Split(stored["images"], stored["labels"], stored["indices"].astype(np.int64))
    rows = np.arange(len(split))
    return Digits(split.take(rows[:MEASURED]), split.take(rows[MEASURED:]))


def _choose(digits: Split, count: int) -> Split:
    """Return `count` digits at random, the same number of each class."""
    order = np.random.default_rng(SEED).permutation(len(digits))
    by_class = [order[digits.labels[order] == label][: count // 10] for label in range(10)]
    return digits.take(np.stack(by_class, axis=1).reshape(-1))  # 0, 1, ..., 9, 0, 1, ...


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="A mnist.npz or a folder of IDX files.")
    train, held_out = data.hold_out(data.load(parser.parse_args().data, "train"), HELD_OUT)
    parts = _choose(held_out, MEASURED), _choose(train, EMBEDDED)
    np.savez_compressed(
        FILE,
        allow_pickle=False,
        images=np.concatenate([part.images for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        indices=np.concatenate([part.indices for part in parts]).astype(np.int32),
    )


if __name__ == "__main__":
    main()
