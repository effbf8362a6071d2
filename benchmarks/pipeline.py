"""Measure whether training waits for its input: batches alone, steps alone, and both together.

    python -m benchmarks.pipeline mnist.npz

For each recipe, the same number of steps is trained twice: with batches that are made in parallel,
as usual, and with batches made beforehand. Making the batches is also timed alone. On two cores it
takes time from the steps even if no step waits for it. The table is written into
docs/training-log.md.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.settings import REPOSITORY
from benchmarks.page import fill, table
from training import data
from training.batches import Batches
from training.distill import Copies
from training.fit import fit
from training.recipe import Recipe
from training.recipes import RECIPES

PAGE = REPOSITORY / "docs" / "training-log.md"
NAMES = ("classic", "kernel5", "wide", "quick")
STEPS, FIRST, ROUNDS = 40, 5, 3  # the first steps of a run compile what the others use


class _Ready(Copies):
    """Batches that lie ready; they are taken by the places of their digits."""

    def __init__(self, batches: Batches) -> None:
        pixels, targets = zip(*(batches[index] for index in range(len(batches))), strict=True)
        self._pixels = np.concatenate(pixels)[..., 0].astype(np.uint8)
        self._targets = np.concatenate(targets)
        self.teachers = {}

    def take(
        self, epoch: int, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        return self._pixels[rows], self._targets[rows]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    train, held_out = data.hold_out(data.load(parser.parse_args().data, "train"), 5000)
    rows = [["recipe", "made alone, ms", "steps with batches ready, ms", "as trained, ms", "ratio"]]
    for name in NAMES:
        found = [
            _measure(RECIPES[name], train, held_out.take(np.arange(100))) for _ in range(ROUNDS)
        ]
        made, ready, trained = (statistics.median(column) for column in zip(*found, strict=True))
        ratio = statistics.median(trained / ready for _, ready, trained in found)
        rows.append([name, f"{made:.1f}", f"{ready:.0f}", f"{trained:.0f}", f"{ratio:.2f}"])
        print(rows[-1], flush=True)
    fill(PAGE, "pipeline", table(rows))


def _measure(recipe: Recipe, train: data.Split, held_out: data.Split) -> tuple[float, float, float]:
    """Return what a batch takes to be made, a step without that, and a step with it, in ms."""
    recipe = replace(recipe, epochs=1, finish=None, refit=None)
    digits = train.take(np.arange(STEPS * recipe.batch_size))
    batches = Batches(digits, recipe, seed=1, epoch=0)
    began = time.perf_counter()
    kept = _Ready(batches)
    made = (time.perf_counter() - began) / STEPS
    size = len(batches[0][0])
    bare = replace(recipe, outlier_share=0.0, batch_size=size)
    as_many = train.take(np.arange(STEPS * size))
    return 1e3 * made, _step(bare, as_many, held_out, kept), _step(recipe, digits, held_out)


def _step(
    recipe: Recipe, digits: data.Split, held_out: data.Split, copies: Copies | None = None
) -> float:
    """Return the mean time of a step of training, in ms, but for the first ones."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        fit(
            recipe,
            digits,
            held_out,
            Path(folder),
            seed=1,
            copies=copies,
            on_step=lambda progress: ends.append(time.perf_counter()),
        )
    return 1e3 * (ends[-1] - ends[FIRST]) / (len(ends) - 1 - FIRST)


if __name__ == "__main__":
    main()
