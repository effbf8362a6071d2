"""Draw what a recipe shows a network in training: augmented digits and outliers."""

import numpy as np
from numpy.typing import NDArray

from training.augment import augment
from training.data import Split
from training.outliers import outliers
from training.recipe import Recipe
from training.resample import SIDE, Batch

GAP = 2  # pixels between pictures
ZOOM = 2


def preview(digits: Split, recipe: Recipe, seed: int, columns: int = 12) -> NDArray[np.uint8]:
    """Draw a digit of each class with augmented copies, and a row of outliers.

    Args:
        digits: At least one of each class.
        recipe: The recipe whose augmentation is shown; outliers only if it has a share of them.
        seed: Seed of the choice of digits and of all changes.
        columns: Pictures in a row; the first of each row of digits is the original.

    Returns:
        uint8 `[H, W]`, ink dark on white.
    """
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(digits.labels == digit)) for digit in range(10)]
    originals = digits.images[np.repeat(chosen, columns)]  # (10 * columns, 28, 28)
    shown = augment(originals, recipe.augmentation, rng)
    shown[::columns] = digits.images[chosen]
    if recipe.outlier_share:
        shown = np.concatenate([shown, outliers(originals[:columns], rng)])
    return _sheet(shown, columns)


def _sheet(pictures: Batch, columns: int) -> NDArray[np.uint8]:
    """Arrange enlarged pictures in rows with white gaps."""
    rows = len(pictures) // columns
    cells = np.pad(pictures, [(0, 0), (0, GAP), (0, GAP)])  # (N, 30, 30)
    side = SIDE + GAP
    grid = cells.reshape(rows, columns, side, side)
    sheet = grid.swapaxes(1, 2).reshape(rows * side, columns * side)
    return (255 - sheet.round()).astype(np.uint8).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
