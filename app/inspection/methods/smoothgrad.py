"""SmoothGrad: the mean gradient over noisy copies of the image."""

import numpy as np

from app.inspection.methods.method import Attribution, MapRequest, Method
from app.inspection.score import input_gradients

SAMPLES = 32  # noisy copies; fewer for a network that is too slow for as many
MIN_SAMPLES = 8  # noisy copies for the slowest network
NOISE = 0.15  # standard deviation of the noise, as a share of the range 0..255
SEED = 7  # the same image always gets the same map


def _compute(request: MapRequest) -> Attribution:
    samples = max(MIN_SAMPLES, min(SAMPLES, request.max_gradients))
    noise = np.random.default_rng(SEED).normal(0, NOISE * 255, (samples, *request.image.shape))
    noisy = (request.image + noise).astype(np.float32)
    gradients = input_gradients(request.network, noisy, request.question)
    return Attribution(gradients.mean(axis=0), steps=samples)


SMOOTHGRAD = Method(
    name="smoothgrad",
    title="SmoothGrad",
    description=f"The mean of the gradients of up to {SAMPLES} slightly noisy copies of the image.",
    limits="The amount of noise changes the map, and noisy copies are unlike the training digits.",
    empty="a small change of any pixel leaves the score of every noisy copy as it is",
    reference="Smilkov et al., 2017, arXiv:1706.03825",
    unit="logit per grey level",
    parameters=(),
    response_fields=("steps",),
    ranks_by_magnitude=True,
    needs_gradients=True,
    compute=_compute,
)
