"""Distillation: published networks (teachers) whose answers another network (the pupil) learns.

Hinton et al., 2015, arXiv:1503.02531, on augmented digits: teachers and pupil see the same changed
pixels (Beyer et al., 2022, arXiv:2106.05237). A corrupted digit can be shown to the teachers twice,
before and after the corruption: the first answer says which digit it is, even if the second one
cannot be read; the second says how much doubt remains.

An ensemble of large networks is slow, so it answers some augmented copies of the training digits
once. The answers are stored, and the pupil's epochs use the copies in turn. Knows bundles; knows
nothing of how the pupil learns.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
from training.data import Labels, Split
from training.recipe import Recipe
from training.resample import Batch
from training.teachers import load_teacher, open_compiled, open_teacher, stored_answers

CHUNK = 500  # digits that are changed and answered together

# From images, float32 [N, 28, 28], 0..255, to probabilities, float32 [N, 10].
Answer = Callable[[Batch], NDArray[np.float32]]


class Voting:
    """Teachers that vote with equal weights, run as they are served.

    Attributes:
        versions: Version of each model, by name.
        unrefitted: Whether networks vote as they were before their refit.
    """

    def __init__(
        self, teachers: Sequence[Bundle], pupil_digits: NDArray[np.uint8] | None = None
    ) -> None:
        """Load the networks.

        Args:
            teachers: Their bundles.
            pupil_digits: The digits that the pupil learns from, `[N, 28, 28]`, if it is measured on
                others. No teacher may have seen those others, so a refitted model votes as it was
                before its refit. None lets the published networks vote.

        Raises:
            BundleError: A bundle is damaged.
            PublishError: A network before its refit is missing.
        """
        self.versions = {bundle.metadata.name: bundle.metadata.version for bundle in teachers}
        self.unrefitted = pupil_digits is not None
        self._voters = [_open(bundle, pupil_digits) for bundle in teachers]

    def __call__(self, pixels: Batch) -> NDArray[np.float32]:
        """Return the mean probabilities, `[N, 10]`, for `[N, 28, 28]`, 0..255, ink high."""
        votes = [voter(pixels) for voter in self._voters]
        return np.asarray(np.mean(votes, axis=0, dtype=np.float32))


def _open(bundle: Bundle, pupil_digits: NDArray[np.uint8] | None) -> Answer:
    """Load a network as it is served; under JAX, which may have an accelerator, the Keras file."""
    published = pupil_digits is None
    if keras.backend.backend() == "jax":
        network = load_keras(bundle.read(KERAS_FILE)) if published else load_teacher(bundle)
        return partial(_run_keras, network)
    runtime = (
        open_runtime(bundle, threads=2)
        if pupil_digits is None
        else open_teacher(bundle, pupil_digits)
    )
    return lambda pixels: runtime.predict(pixels).probabilities


def _run_keras(network: keras.Model, pixels: Batch) -> NDArray[np.float32]:
    """Return a Keras network's probabilities; calls of equal size let JAX compile it once."""
    padded = np.zeros((-len(pixels) % CHUNK + len(pixels), *pixels.shape[1:], 1), np.float32)
    padded[: len(pixels)] = pixels[..., None]
    answers = [network.predict_on_batch(part) for part in np.split(padded, len(padded) // CHUNK)]
    return np.concatenate(answers)[: len(pixels)]


class EarlierVersions:
    """Earlier versions of a network, whose answers it learns beside those of larger teachers."""

    def __init__(self, networks: Sequence[keras.Model], images: NDArray[np.uint8]) -> None:
        """Compile the networks in int8.

        Args:
            networks: The networks.
            images: Training digits, `[N, 28, 28]`, that set the value ranges.
        """
        self._runtimes = [open_compiled(network, images) for network in networks]

    def __call__(self, pixels: Batch, labels: Labels) -> NDArray[np.float32]:
        """Return mean probabilities, `[N, 10]`; a version counts as far as it reads the digit.

        Args:
            pixels: `[N, 28, 28]`, 0..255, ink high.
            labels: The digits that they show, `[N]`. The probability of a digit's label, squared,
                is the weight of a version's answer.
        """
        answers = np.stack([runtime.predict(pixels).probabilities for runtime in self._runtimes])
        weights = answers[:, np.arange(len(labels)), labels] ** 2 + 1e-6
        weights /= weights.sum(axis=0)
        return np.asarray((answers * weights[..., None]).sum(axis=0), np.float32)


@dataclass(frozen=True)
class Answers:
    """The teachers' answers on unchanged digits.

    Attributes:
        probabilities: float32 `[N, 10]`, in the order of the digits.
        teachers: Version of each model, by name.
    """

    probabilities: NDArray[np.float32]
    teachers: dict[str, int]

    @classmethod
    def of(cls, teachers: Sequence[Bundle], digits: Split) -> "Answers":
        """Return the mean answers of models on training digits that they may teach.

        All 60,000 are answered before the refit of the models, and stored beside the bundles, so
        that a pupil can learn from a model whose network before the refit is gone.

        Args:
            teachers: The models.
            digits: Training digits.

        Raises:
            BundleError: A file is damaged.
            PublishError: The answers are neither stored nor can they be computed.
        """
        stored = [stored_answers(bundle) for bundle in teachers]
        mean = np.mean([answers[digits.indices] for answers in stored], axis=0, dtype=np.float32)
        versions = {bundle.metadata.name: bundle.metadata.version for bundle in teachers}
        return cls(np.asarray(mean), versions)


class Copies:
    """Augmented copies of the training digits with the teachers' answers, stored in a folder."""

    def __init__(
        self, folder: Path, digits: Split, recipe: Recipe, teacher: Voting, seed: int
    ) -> None:
        """Use the copies in a folder if they were made with the same settings; else delete them.

        Args:
            folder: Folder for the copies; one of 55,000 digits takes about 45 MB.
            digits: The digits to change.
            recipe: States the augmentation and the number of copies.
            teacher: The teachers.
            seed: Seed of the augmentation.
        """
        self._folder, self._digits, self._teacher, self._seed = folder, digits, teacher, seed
        self.teachers = teacher.versions
        self._recipe = recipe
        self.count = recipe.copies + (recipe.finish.copies if recipe.finish else 0)
        self._loaded: tuple[int, NDArray[np.uint8], NDArray[np.float32]] | None = None
        settings = json.dumps(
            {
                "teachers": teacher.versions,
                "unrefitted": teacher.unrefitted,
                "clean_share": recipe.clean_share,
                "augmentation": asdict(recipe.augmentation),
                "finish": recipe.finish and asdict(recipe.finish.augmentation),
                "copies": recipe.copies,
                "seed": seed,
                "digits": len(digits),
            }
        )
        settings_file = folder / "origin.json"
        if not settings_file.is_file() or settings_file.read_text() != settings:
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("*.npz"):
                path.unlink()
            settings_file.write_text(settings)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the teachers out of a pickle: a process that only reads copies needs none."""
        return {**self.__dict__, "_teacher": None, "_loaded": None}

    def make(self, on_copy: Callable[[int], None] = lambda copy: None) -> None:
        """Make the missing copies; `on_copy` is called with the number of each, from 0."""
        for copy in range(self.count):
            if not self._path(copy).is_file():
                on_copy(copy)
                self._make(copy)

    def take(
        self, epoch: int, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return digits as an epoch shows them, with the teachers' answers.

        Args:
            epoch: Number of the epoch, from 0.
            rows: Positions among the digits, `[B]`.

        Returns:
            Pixels, uint8 `[B, 28, 28]`, and probabilities, float32 `[B, 10]`.
        """
        copy = self._copy_of(epoch)
        if not self._loaded or self._loaded[0] != copy:
            with np.load(self._path(copy), allow_pickle=False) as stored:
                self._loaded = copy, stored["pixels"], stored["answers"]
        return self._loaded[1][rows], self._loaded[2][rows]

    def _copy_of(self, epoch: int) -> int:
        """Return the number of the copy that an epoch uses; the copies of the finish come last."""
        recipe = self._recipe
        if recipe.finish and epoch >= recipe.main_epochs:
            return recipe.copies + (epoch - recipe.main_epochs) % recipe.finish.copies
        return epoch % recipe.copies

    def _path(self, copy: int) -> Path:
        return self._folder / f"copy-{copy:02}.npz"

    def _make(self, copy: int) -> None:
        recipe = self._recipe
        in_finish = copy >= recipe.copies
        augmentation = recipe.shown_in(recipe.main_epochs if in_finish else 0).augmentation
        pixels, targets = [], []
        for start in range(0, len(self._digits), CHUNK):
            rng = np.random.default_rng([self._seed, copy, start])
            batch = deform(self._digits.images[start : start + CHUNK], augmentation, rng)
            clean = np.rint(batch)
            corrupted = corrupt(batch, augmentation, rng)
            shown = np.rint(batch)
            answers = self._teacher(shown)
            if recipe.clean_share and len(corrupted):
                of_clean = self._teacher(clean[corrupted])
                answers[corrupted] += recipe.clean_share * (of_clean - answers[corrupted])
            pixels.append(shown.astype(np.uint8))
            targets.append(answers)
        temporary = self._folder / "temporary.npz"
        np.savez(temporary, pixels=np.concatenate(pixels), answers=np.concatenate(targets))
        temporary.replace(self._path(copy))
