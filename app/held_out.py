"""What a model answered on digits that it did not learn: the file `predictions.npz` of a bundle.

The service compares what it serves with these answers (docs/reliability.md, "Drift"). `training`
writes the file. Knows arrays; knows neither networks nor labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.archives import read_npz
from app.errors import BundleError

PREDICTIONS_FILE = "predictions.npz"
# Of the network before its refit, which has not seen the digits; else of the one that is served.
_PREFIXES = ("before_refit", "served")


@dataclass(frozen=True)
class HeldOutAnswers:
    """A model's answers on held-out digits.

    Attributes:
        scores: float32 `[N]`, `app.verdict.energy` of each digit.
        confidences: float32 `[N]`, the largest probability of each digit, 0..1.
    """

    scores: NDArray[np.float32]
    confidences: NDArray[np.float32]


def read_held_out(content: bytes) -> HeldOutAnswers:
    """Read the content of `predictions.npz`.

    Raises:
        BundleError: The file is damaged, or lacks the answers.
    """
    names = {
        f"{prefix}_{name}" for prefix in _PREFIXES for name in ("energies", "log_probabilities")
    }
    try:
        arrays = read_npz(content, names)
    except ValueError as error:
        raise BundleError(f"{PREDICTIONS_FILE} cannot be read: {error}.") from error
    for prefix in _PREFIXES:
        scores = arrays.get(f"{prefix}_energies")
        logarithms = arrays.get(f"{prefix}_log_probabilities")
        if scores is None or logarithms is None:
            continue
        if scores.shape == logarithms.shape[:1] and logarithms.ndim == 2 and logarithms.size:
            largest = logarithms.max(axis=1).astype(np.float32)
            return HeldOutAnswers(scores.astype(np.float32), np.exp(largest))
        break
    raise BundleError(
        f"{PREDICTIONS_FILE} must contain served_energies [N] and served_log_probabilities [N,"
        " classes]."
    )
