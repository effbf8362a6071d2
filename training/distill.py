"""Teachers: published networks whose answers another network learns.

Distillation (Hinton et al., 2015, arXiv:1503.02531) on augmented digits: teachers and pupil see the
same changed pixels (Beyer et al., 2022, arXiv:2106.05237). About a corrupted digit the teachers can
be asked twice, as it was before that and as it is: the one answer says which digit it is, whether
they can read it or not, the other how much doubt is left. An ensemble of large networks is slow to
ask, so its answers to some augmented copies of the training digits are taken once and kept, and the
pupil's epochs take the copies in turn. Knows bundles; knows nothing of how the pupil learns.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from app.bundle import KERAS_FILE, Bundle
from app.inference.keras_runtime import load_keras
from app.inference.litert_runtime import open_runtime
from training.augment import corrupt, deform
from training.data import Split
from training.pre_refit import load_pre_refit, open_pre_refit
from training.recipe import Recipe
from training.resample import Batch

CHUNK = 500  # digits that are changed and answered at once

Answering = Callable[[Batch], NDArray[np.float32]]  # (N, 28, 28), 0..255 -> probabilities (N, 10)


class Voting:
    """Published networks that vote with equal weights, run as they are served.

    Attributes:
        versions: Of each network.
        blind: Whether none of them has seen the held-out digits.
    """

    def __init__(
        self, teachers: Sequence[Bundle], blind_for: NDArray[np.uint8] | None = None
    ) -> None:
        """Load the networks of `teachers`.

        Args:
            teachers: Their bundles.
            blind_for: The digits that the pupil learns from, `[N, 28, 28]`, if others are held out
                to measure it: then none of the networks may have seen those, and one that was
                refitted votes as it was before. None lets all vote as they are.

        Raises:
            BundleError: A bundle is damaged.
        """
        self.versions = {bundle.metadata.name: bundle.metadata.version for bundle in teachers}
        self.blind = blind_for is not None
        self._voters = [_open(bundle, blind_for) for bundle in teachers]

    def __call__(self, pixels: Batch) -> NDArray[np.float32]:
        """Return the mean of the probabilities, `[N, 10]`, for `[N, 28, 28]`, 0..255, ink high."""
        votes = [voter(pixels) for voter in self._voters]
        return np.asarray(np.mean(votes, axis=0, dtype=np.float32))


def _open(bundle: Bundle, blind_for: NDArray[np.uint8] | None) -> Answering:
    """Load a network as it is served; under JAX, which may have an accelerator, the Keras file."""
    if keras.backend.backend() == "jax":
        seeing = blind_for is None
        network = load_keras(bundle.read(KERAS_FILE)) if seeing else load_pre_refit(bundle)
        return partial(_ask, network)
    runtime = (
        open_runtime(bundle, threads=2) if blind_for is None else open_pre_refit(bundle, blind_for)
    )
    return lambda pixels: runtime.predict(pixels).probabilities


def _ask(network: keras.Model, pixels: Batch) -> NDArray[np.float32]:
    """Return a Keras network's probabilities; it is compiled for `CHUNK` images at once."""
    filled = np.zeros((-len(pixels) % CHUNK + len(pixels), *pixels.shape[1:], 1), np.float32)
    filled[: len(pixels)] = pixels[..., None]
    said = [network.predict_on_batch(part) for part in np.split(filled, len(filled) // CHUNK)]
    return np.concatenate(said)[: len(pixels)]


class Copies:
    """Augmented copies of the training digits, each with the teachers' answers, in a folder."""

    def __init__(
        self, folder: Path, digits: Split, recipe: Recipe, teacher: Voting, seed: int
    ) -> None:
        """Use what `folder` holds of the same origin; forget what is of another.

        Args:
            folder: Gets a file of some 45 MB for each copy of 55,000 digits.
            digits: The digits to change.
            recipe: States the augmentation, and how many copies.
            teacher: Answers.
            seed: Of the augmentation.
        """
        self._folder, self._digits, self._teacher, self._seed = folder, digits, teacher, seed
        self.teachers = teacher.versions
        self._recipe = recipe
        self.count = recipe.copies + (recipe.finish.copies if recipe.finish else 0)
        self._held: tuple[int, NDArray[np.uint8], NDArray[np.float32]] | None = None
        origin = json.dumps(
            {
                "teachers": teacher.versions,
                "blind": teacher.blind,
                "clean_share": recipe.clean_share,
                "augmentation": asdict(recipe.augmentation),
                "finish": recipe.finish and asdict(recipe.finish.augmentation),
                "copies": recipe.copies,
                "seed": seed,
                "digits": len(digits),
            }
        )
        note = folder / "origin.json"
        if not note.is_file() or note.read_text() != origin:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("*.npz"):
                path.unlink()
            note.write_text(origin)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the teachers behind for a process that only takes what they have answered."""
        return {**self.__dict__, "_teacher": None, "_held": None}

    def make(self, on_copy: Callable[[int], None] = lambda copy: None) -> None:
        """Make the copies that are not there yet; `on_copy` is told each one's number, from 0."""
        for copy in range(self.count):
            if not self._path(copy).is_file():
                on_copy(copy)
                self._make(copy)

    def take(
        self, epoch: int, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return digits as they are shown in an epoch, and what the teachers say of them.

        Args:
            epoch: Counted from 0.
            rows: Positions among the digits, `[B]`.

        Returns:
            Pixels uint8 `[B, 28, 28]` and distributions float32 `[B, 10]`.
        """
        copy = self._copy_of(epoch)
        if not self._held or self._held[0] != copy:
            with np.load(self._path(copy), allow_pickle=False) as stored:
                self._held = copy, stored["pixels"], stored["answers"]
        return self._held[1][rows], self._held[2][rows]

    def _copy_of(self, epoch: int) -> int:
        """Return the number of the copy that an epoch takes; those of the finish come last."""
        recipe = self._recipe
        if recipe.finish and epoch >= recipe.main_epochs:
            return recipe.copies + (epoch - recipe.main_epochs) % recipe.finish.copies
        return epoch % recipe.copies

    def _path(self, copy: int) -> Path:
        return self._folder / f"copy-{copy:02}.npz"

    def _make(self, copy: int) -> None:
        recipe = self._recipe
        finishing = copy >= recipe.copies
        how, _ = recipe.shown_in(recipe.main_epochs if finishing else 0)
        pixels, answers = [], []
        for start in range(0, len(self._digits), CHUNK):
            rng = np.random.default_rng([self._seed, copy, start])
            batch = deform(self._digits.images[start : start + CHUNK], how, rng)
            clean = np.rint(batch)
            corrupted = corrupt(batch, how, rng)
            shown = np.rint(batch)
            said = self._teacher(shown)
            if recipe.clean_share and len(corrupted):
                before = self._teacher(clean[corrupted])
                said[corrupted] += recipe.clean_share * (before - said[corrupted])
            pixels.append(shown.astype(np.uint8))
            answers.append(said)
        fresh = self._folder / "fresh.npz"
        np.savez(fresh, pixels=np.concatenate(pixels), answers=np.concatenate(answers))
        fresh.replace(self._path(copy))
