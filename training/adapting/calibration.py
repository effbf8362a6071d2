"""Chooses temperature and thresholds of an adapted network on pictures and digits together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from app.inference.runtime import Outputs
from training import calibrate
from training.data import Labels


@dataclass(frozen=True)
class Calibrating:
    """Logits of the user's pictures and of as many held-out digits.

    Attributes:
        logits: float32 `[N, classes]`; those of the pictures come from networks that have not
            learned them.
        labels: `[N]`.
    """

    logits: NDArray[np.float32]
    labels: Labels

    @property
    def temperature(self) -> float:
        """Return the temperature that fits."""
        return calibrate.fit_temperature([self.logits], self.labels)

    def outputs(self, temperature: float) -> Outputs:
        """Return the answers with a temperature."""
        logits = np.asarray(self.logits / temperature, np.float32)
        probabilities = np.asarray(special.softmax(logits, axis=1), np.float32)
        return Outputs(probabilities, logits, np.empty((len(logits), 0), np.float32))
