"""KServe's model server, as its documentation has it: a model of its own for V1 and V2."""

import numpy as np
from digits import Digits
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.utils.utils import generate_uuid


class DigitsModel(Model):
    """The network; V1 comes as a dictionary, V2 as an `InferRequest`."""

    def __init__(self) -> None:
        """Load the network."""
        super().__init__("digits")
        self.digits = Digits()
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        """Read `[n, 28, 28]`."""
        if not isinstance(payload, InferRequest):
            images = np.array(payload["instances"], np.uint8)
            return {"predictions": self.digits.probabilities(images).tolist()}
        found = self.digits.probabilities(payload.inputs[0].as_numpy())
        output = InferOutput("probabilities", found.shape, "FP32")
        output.set_data_from_numpy(found, binary_data=payload.use_binary_outputs)
        return InferResponse(payload.id or generate_uuid(), "digits", [output])


if __name__ == "__main__":
    ModelServer().start([DigitsModel()])
