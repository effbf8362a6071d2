"""What every way of running a network offers; the rest of the program knows only this."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.float32]  # (N, 28, 28), 0..255, ink high


@dataclass(frozen=True)
class Outputs:
    """What a network says of `N` images.

    Attributes:
        probabilities: float32 `[N, 10]`, rows sum to 1.
        logits: float32 `[N, 10]`, what the softmax is taken of; where a network averages several,
            the logarithms of the probabilities plus the mean of the networks' energies.
        features: float32 `[N, D]`, the values that enter the layer of the logits.
    """

    probabilities: NDArray[np.float32]
    logits: NDArray[np.float32]
    features: NDArray[np.float32]


class Runtime(Protocol):
    """Runs one network; safe to call from several threads at once."""

    def predict(self, images: Pixels) -> Outputs:
        """Read `[N, 28, 28]` images, 0..255, ink high."""
        ...

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Return every layer's output `[N, ...]` for `[N, 28, 28]` images, by the layer's path."""
        ...
