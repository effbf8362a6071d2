"""What all peers share: a PNG of 28x28 to ten probabilities, by the LiteRT call or by Keras."""

import io
import os

import numpy as np
from PIL import Image


class Digits:
    """The network, loaded once, as the variable PEER_RUNTIME says."""

    def __init__(self) -> None:
        """Load a `.tflite` file with the signature `predict`, or a `.keras` file."""
        load = {"litert": _litert, "keras": _keras}[os.environ["PEER_RUNTIME"]]
        self._run = load()

    def read(self, png: bytes) -> dict[str, object]:
        """Return the digit and its probabilities."""
        return self.answer(np.asarray(Image.open(io.BytesIO(png)).convert("L")))

    def answer(self, pixels: np.ndarray) -> dict[str, object]:
        """Return the same for uint8 `[28, 28]`."""
        probabilities = self.probabilities(pixels[None])[0]
        return {"digit": int(probabilities.argmax()), "probabilities": probabilities.tolist()}

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return float32 `[n, 10]` for uint8 `[n, 28, 28]`."""
        return self._run(images.astype(np.float32)[..., None])


def _litert():
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=os.environ["PEER_TWIN"], num_threads=1)
    run = interpreter.get_signature_runner("predict")
    return lambda images: run(image=images)["probabilities"]


def _keras():
    import keras

    model = keras.models.load_model(os.environ["PEER_KERAS"], compile=False)
    return lambda images: model.predict(images, verbose=0)
