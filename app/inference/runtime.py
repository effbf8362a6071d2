"""The interface of everything that runs a network. The rest of the program depends only on it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.float32]  # (N, 28, 28), 0..255, ink high


@dataclass(frozen=True)
class Outputs:
    """A network's outputs for `N` images.

    Attributes:
        probabilities: float32 `[N, classes]`, rows sum to 1.
        logits: float32 `[N, classes]`, the input of the softmax. For a network that averages
            several members: the logarithms of its probabilities plus the members' mean energy.
        features: float32 `[N, D]`, the input of the layer that computes the logits.
    """

    probabilities: NDArray[np.float32]
    logits: NDArray[np.float32]
    features: NDArray[np.float32]


class Runtime(Protocol):
    """Runs one network. Every method may be called from several threads at the same time."""

    def predict(self, images: Pixels) -> Outputs:
        """Run `[N, 28, 28]` images, 0..255, ink high."""
        ...

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Return every layer's output `[N, ...]` for `[N, 28, 28]` images, by the layer's path."""
        ...
