"""The one LiteRT call that all peers share: a PNG of 28x28 to ten probabilities."""

import io
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image


class Digits:
    """The network, loaded once."""

    def __init__(self, twin: str | Path) -> None:
        """Load a `.tflite` file with the signature `predict`."""
        self._interpreter = Interpreter(model_path=str(twin), num_threads=1)
        self._run = self._interpreter.get_signature_runner("predict")

    def read(self, png: bytes) -> dict[str, object]:
        """Return the digit and its probabilities."""
        return self.answer(np.asarray(Image.open(io.BytesIO(png)).convert("L")))

    def answer(self, pixels: np.ndarray) -> dict[str, object]:
        """Return the same for uint8 `[28, 28]`."""
        probabilities = self._run(image=pixels.astype(np.float32)[None, ..., None])["probabilities"]
        return {
            "digit": int(probabilities[0].argmax()),
            "probabilities": probabilities[0].tolist(),
        }
