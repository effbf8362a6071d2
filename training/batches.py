"""Training batches: augmented digits and outliers, in an order that the seed determines."""

import keras
import numpy as np
from numpy.typing import NDArray

from training.augment import augment, corrupt
from training.data import Split
from training.distill import Copies, EarlierVersions
from training.hands import draw_hands
from training.outliers import outliers
from training.recipe import Recipe
from training.resample import Batch
from training.skeletons import trace


def one_hot(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return float32 `[N, 10]` target distributions for labels `[N]`."""
    return np.asarray(np.eye(10, dtype=np.float32)[labels])


class Batches(keras.utils.PyDataset):
    """Batches of augmented digits and outliers; the same for the same seed, epoch and index."""

    def __init__(
        self,
        digits: Split,
        recipe: Recipe,
        seed: int,
        epoch: int,
        copies: Copies | None = None,
        answers: NDArray[np.float32] | None = None,
        earlier: EarlierVersions | None = None,
    ) -> None:
        """Prepare the batches of one epoch.

        Args:
            digits: The digits to show.
            recipe: States augmentation, batch size and outliers.
            seed: Seed of order, augmentation and outliers.
            epoch: Number of the epoch, from 0. The training loop sets it before each epoch.
            copies: Augmented copies to show instead, with the teachers' answers as targets.
            answers: The teachers' answers on the unchanged digits, float32 `[N, 10]`, as targets.
            earlier: Earlier versions of the network, whose answer is half of a digit's target.
        """
        super().__init__(workers=1)
        self.copies, self._earlier = copies, earlier
        targets = one_hot(digits.labels) if answers is None else answers
        self._targets = (1 - recipe.label_smoothing) * targets + recipe.label_smoothing / 10
        stages = [stage.augmentation for stage in (recipe, recipe.finish) if stage]
        redraws = copies is None and any(stage.redrawn for stage in stages)
        self._strokes = trace(digits.images).astype(np.float16) if redraws else None
        self.digits, self.recipe, self.seed, self.epoch = digits, recipe, seed, epoch

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        return -(-len(self.digits) // self.recipe.batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return pixels `[B, 28, 28, 1]`, 0..255, and target distributions `[B, 10]`."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.digits))
        size = self.recipe.batch_size
        rows = order[index * size : (index + 1) * size]
        batch = self.digits.take(rows)
        rng = np.random.default_rng([self.seed, self.epoch, index])
        shown_now = self.recipe.shown_in(self.epoch)
        pixels: Batch
        if self.copies:
            shown, targets = self.copies.take(self.epoch, rows)
            pixels = shown.astype(np.float32)
        else:
            stored = self._strokes
            strokes = None if stored is None else stored[rows].astype(np.float32)
            pixels = augment(batch.images, shown_now.augmentation, rng, strokes)
            targets = self._targets[rows]
            if self._earlier:
                known = self._earlier(pixels, batch.labels)
                targets = np.asarray((targets + known) / 2, np.float32)
        count = round(shown_now.drawn_share * len(batch))
        if count:
            drawn, labels = draw_hands(count, rng)
            corrupt(drawn, shown_now.augmentation, rng)
            pixels = np.concatenate([pixels, drawn])
            targets = np.concatenate([targets, one_hot(labels)])
        count = round(shown_now.outlier_share * len(batch))
        if count:
            pixels = np.concatenate([pixels, outliers(batch.images[:count], rng)])
            targets = np.concatenate([targets, np.full((count, 10), 0.1, np.float32)])
        return pixels[..., None], targets
