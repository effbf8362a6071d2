"""PyTriton, as its documentation has it: a function bound to a Triton Inference Server."""

import os

import numpy as np
from digits import Digits
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

digits = Digits()


@batch
def infer(image: np.ndarray) -> list[np.ndarray]:
    """Read `[n, 28, 28]`; Triton gathers the requests that wait."""
    return [digits.probabilities(image)]


if __name__ == "__main__":
    config = TritonConfig(
        http_port=int(os.environ["PEER_PORT"]), allow_grpc=False, allow_metrics=False
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="digits",
            infer_func=infer,
            inputs=[Tensor(name="image", dtype=np.uint8, shape=(28, 28))],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(10,))],
            config=ModelConfig(max_batch_size=64),
        )
        triton.serve()
