"""The answers on held-out digits that a bundle keeps from its publication.

`digitscope verify` compares the served network with them, and the held-out figures of a refitted
model are recomputed from them. Knows indices and logits; knows no labels.
"""

from dataclasses import dataclass
from io import BytesIO
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from app.archives import read_npz
from app.bundle import Bundle
from app.errors import BundleError
from app.held_out import (
    PREDICTIONS_FILE as PREDICTIONS_FILE,  # the modules that write it import it here
)
from app.inference.runtime import Outputs
from training.errors import PublishError


@dataclass(frozen=True)
class StoredLogits:
    """Logits, stored as log-probabilities and energies: 24 bytes for each digit.

    Probabilities keep an accuracy of 2e-4 that way; float16 logits of 20 would keep 4e-3.

    Attributes:
        log_probabilities: float16 `[N, 10]`; the largest of each row is the network's answer.
        energies: float32 `[N]`, log-sum-exp of the logits.
    """

    log_probabilities: NDArray[np.float16]
    energies: NDArray[np.float32]

    @classmethod
    def of(cls, logits: NDArray[np.float32]) -> Self:
        """Round logits, `[N, 10]`, without changing which one is the largest of its row."""
        energies = special.logsumexp(logits, axis=1)
        rounded = (logits - energies[:, None]).astype(np.float16)
        rows, digits = np.arange(len(logits)), logits.argmax(axis=1)
        tied = rounded == rounded[rows, digits][:, None]
        tied[rows, digits] = False
        rounded[tied] = np.nextafter(rounded[tied], np.float16(-np.inf))
        return cls(rounded, energies.astype(np.float32))

    def outputs(self) -> Outputs:
        """Return the logits and probabilities, float32 `[N, 10]`; there are no features."""
        logits = self.log_probabilities.astype(np.float32) + self.energies[:, None]
        probabilities = special.softmax(self.log_probabilities.astype(np.float32), axis=1)
        return Outputs(probabilities, logits, np.empty((len(logits), 0), np.float32))


@dataclass(frozen=True)
class Predictions:
    """The content of `predictions.npz`.

    Attributes:
        indices: int32 `[N]`, positions of the held-out digits in MNIST's training split.
        served: Logits of the network that is served.
        before_refit: Logits of the network before its refit, which has not seen these digits; None
            for a model without a refit.
    """

    indices: NDArray[np.int32]
    served: StoredLogits
    before_refit: StoredLogits | None = None

    @property
    def unseen(self) -> StoredLogits:
        """The logits of the network that has not seen these digits."""
        return self.before_refit or self.served

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        arrays: dict[str, NDArray[np.generic]] = {
            "indices": self.indices,
            "served_log_probabilities": self.served.log_probabilities,
            "served_energies": self.served.energies,
        }
        if self.before_refit:
            arrays |= {
                "before_refit_log_probabilities": self.before_refit.log_probabilities,
                "before_refit_energies": self.before_refit.energies,
            }
        content = BytesIO()
        np.savez_compressed(content, allow_pickle=False, **arrays)
        return content.getvalue()


def read_predictions(bundle: Bundle) -> Predictions:
    """Read a bundle's stored predictions.

    Raises:
        PublishError: The bundle has none, because an earlier version of digitscope wrote it.
        BundleError: The file is not as published, or cannot be read.
    """
    if not bundle.has(PREDICTIONS_FILE):
        raise PublishError(
            f"{bundle.folder} has no {PREDICTIONS_FILE}: digitscope 0.1 wrote it. It is served as"
            " before, but its answers on the held-out digits were not stored; train it again to"
            " store them."
        )
    try:
        stored = read_npz(bundle.read(PREDICTIONS_FILE))
    except ValueError as error:
        raise BundleError(f"{bundle.folder / PREDICTIONS_FILE} cannot be read: {error}.") from error
    logits = {
        name: StoredLogits(stored[f"{name}_log_probabilities"], stored[f"{name}_energies"])
        for name in ("served", "before_refit")
        if f"{name}_energies" in stored
    }
    return Predictions(stored["indices"], logits["served"], logits.get("before_refit"))
