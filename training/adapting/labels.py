"""Finds labels that look wrong, by confident learning (Northcutt et al., 2021, arXiv:1911.00068).

A label looks wrong if a network that has not learned the picture is more confident of another class
than it usually is of that class. `cleanlab` computes that; it comes with the extra `labels`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data import Labels

NOT_CHECKED = (
    "Labels were not checked. To list those that look wrong, install the extra 'labels', which"
    " brings cleanlab: pip install --editable '.[labels]'."
)
ONE_LABEL = (
    "Labels were not checked: all pictures have the same one. Add pictures of other digits to have"
    " those listed that look wrong."
)


@dataclass(frozen=True)
class DoubtfulLabel:
    """A label that looks wrong.

    Attributes:
        name: Path of the picture.
        label: Its label.
        read_as: The class that the network takes it for.
    """

    name: str
    label: str
    read_as: str


def find_doubtful(
    names: Sequence[str],
    labels: Labels,
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
) -> list[DoubtfulLabel] | None:
    """Return the labels that look wrong, the worst first; None if they cannot be checked.

    That takes cleanlab and at least two different labels (`why_not_checked`).

    Args:
        names: Paths of the pictures.
        labels: `[N]`.
        probabilities: `[N, classes]`, from networks that have not learned the picture.
        classes: Names of the classes.
    """
    if _are_all_the_same(labels):
        return None
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return None
    rows = find_label_issues(
        labels.astype(np.int64),
        probabilities.astype(np.float64),
        return_indices_ranked_by="self_confidence",
        filter_by="confident_learning",
        n_jobs=1,
    )
    return [
        DoubtfulLabel(names[row], classes[labels[row]], classes[probabilities[row].argmax()])
        for row in rows
    ]


def why_not_checked(labels: Labels) -> str:
    """Return why `find_doubtful` returned None for labels `[N]`."""
    return ONE_LABEL if _are_all_the_same(labels) else NOT_CHECKED


def _are_all_the_same(labels: Labels) -> bool:
    return len(np.unique(labels)) < 2
