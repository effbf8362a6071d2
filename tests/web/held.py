"""A network that runs only when a test lets it."""

import threading

import numpy as np
from numpy.typing import NDArray

from app.inference.runtime import Outputs, Pixels


class Held:
    """A runtime that can be held, and notes the sizes of its runs and their threads."""

    def __init__(self) -> None:
        """Begin with no runs, not held."""
        self.sizes: list[int] = []
        self.threads: set[str] = set()
        self.go = threading.Event()
        self.go.set()

    def predict(self, images: Pixels) -> Outputs:
        """Say that each image is the digit that its pixels name."""
        self.sizes.append(len(images))
        self.threads.add(threading.current_thread().name)
        self.go.wait(30)
        if images.max() == 255:
            raise ValueError("too bright")
        shares = np.eye(10, dtype=np.float32)[images[:, 0, 0]]
        return Outputs(shares, 20 * shares, shares)

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Give nothing."""
        return {}
