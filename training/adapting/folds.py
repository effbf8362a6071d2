"""Cross-validation: every picture is read by a network that has not learned it.

Copies of one picture stay in one fold, so that no network is asked what it was shown.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.adapting.learning import TailTrainer
from training.adapting.pictures import Pictures
from training.data import Labels

FOLDS = 10
SEED = 20_261_130


@dataclass(frozen=True)
class CrossValidated:
    """Answers on the pictures, each from a training without it.

    Attributes:
        before: Logits of the published network, float32 `[N, classes]`.
        after: Logits of the networks that have not learned the picture.
        iterations: Number of iterations that suits all pictures: the median of the folds.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    iterations: int


def cross_validate(
    trainer: TailTrainer, pictures: Pictures, show: Callable[[int, int], None]
) -> CrossValidated:
    """Train once for each fold; another fold stops the training.

    Args:
        trainer: Trains the tail.
        pictures: The pictures, of at least as many groups as there are folds.
        show: Called before each fold with the number of those that are done, and of all.
    """
    fold = assign_folds(pictures.groups, pictures.labels)
    features, labels = pictures.features, pictures.labels
    before = trainer.logits(trainer.start, features)
    after, iterations = np.empty_like(before), []
    for number in range(FOLDS):
        show(number, FOLDS)
        read, check = fold == number, fold == (number + 1) % FOLDS
        learn = ~(read | check)
        learned = trainer.train(features[learn], labels[learn], (features[check], labels[check]))
        after[read] = trainer.logits(learned.weights, features[read])
        iterations.append(learned.iterations)
    return CrossValidated(before, after, int(np.median(iterations)))


def assign_folds(groups: NDArray[np.int64], labels: Labels) -> NDArray[np.int64]:
    """Return the fold of each picture, int64 `[N]`; each label is spread over all folds.

    Args:
        groups: `[N]`, the same number for copies of one picture, which have the same label.
        labels: `[N]`.
    """
    found, first, members = np.unique(groups, return_index=True, return_inverse=True)
    order = np.random.default_rng(SEED).permutation(len(found))
    by_label = order[np.argsort(labels[first][order], kind="stable")]
    fold = np.empty(len(found), np.int64)
    fold[by_label] = np.arange(len(found)) % FOLDS
    return np.asarray(fold[members])
