"""MLServer, as its documentation has it: a runtime of its own for the Open Inference Protocol."""

import numpy as np
from digits import Digits
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, decode_args


class DigitsRuntime(MLModel):
    """One network; tensors come as JSON."""

    async def load(self) -> bool:
        """Load the network."""
        self.digits = Digits()
        return True

    @decode_args
    async def predict(self, image: np.ndarray) -> np.ndarray:
        """Read `[1, 28, 28]`."""
        found = self.digits.answer(image[0])
        return np.array([found["probabilities"]], np.float32)


__all__ = ["DigitsRuntime", "NumpyCodec"]
