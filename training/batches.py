"""Training batches: augmented digits and outliers, in an order that the seed determines."""

import keras
import numpy as np
from numpy.typing import NDArray

from training.augment import augment
from training.data import Split
from training.distill import Copies
from training.outliers import outliers
from training.recipe import Recipe
from training.resample import Batch


def one_hot(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return float32 `[N, 10]` target distributions for uint8 `[N]` labels."""
    return np.eye(10, dtype=np.float32)[labels]


class Batches(keras.utils.PyDataset):
    """Batches of augmented digits and outliers; the same for the same seed, epoch and index."""

    def __init__(
        self, digits: Split, recipe: Recipe, seed: int, epoch: int, copies: Copies | None = None
    ) -> None:
        """Prepare the batches of one epoch.

        Args:
            digits: The digits to show.
            recipe: States augmentation, batch size and outliers.
            seed: Seed of order, augmentation and outliers.
            epoch: Number of the epoch, from 0. The training loop sets it before each epoch.
            copies: Augmented copies to show instead, with the teachers' answers as targets.
        """
        super().__init__(workers=1)
        self.copies = copies
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
        augmentation, outlier_share = self.recipe.shown_in(self.epoch)
        pixels: Batch
        if self.copies:
            shown, targets = self.copies.take(self.epoch, rows)
            pixels = shown.astype(np.float32)
        else:
            pixels = augment(batch.images, augmentation, rng)
            smoothing = self.recipe.label_smoothing
            targets = (1 - smoothing) * one_hot(batch.labels) + np.float32(smoothing / 10)
        count = round(outlier_share * len(batch))
        if count:
            pixels = np.concatenate([pixels, outliers(batch.images[:count], rng)])
            targets = np.concatenate([targets, np.full((count, 10), 0.1, np.float32)])
        return pixels[..., None], targets
