"""SmoothGrad: the mean gradient over noisy copies of the image."""

import numpy as np

from app.inspection.methods.method import Attribution, MapRequest, Method
from app.inspection.score import input_gradients

SAMPLES = 32  # noisy copies
NOISE = 0.15  # standard deviation of the noise, as a share of the range 0..255
SEED = 7  # the same image always gets the same map


def _compute(request: MapRequest) -> Attribution:
    noise = np.random.default_rng(SEED).normal(0, NOISE * 255, (SAMPLES, *request.image.shape))
    noisy = (request.image + noise).astype(np.float32)
    return Attribution(input_gradients(request.network, noisy, request.question).mean(axis=0))


SMOOTHGRAD = Method(
    name="smoothgrad",
    title="SmoothGrad",
    description=f"The mean of the gradients of {SAMPLES} slightly noisy copies of the image.",
    limits="The amount of noise changes the map, and noisy copies are unlike the training digits.",
    empty="a small change of any pixel leaves the score of every noisy copy as it is",
    reference="Smilkov et al., 2017, arXiv:1706.03825",
    unit="logit per grey level",
    parameters=(),
    response_fields=(),
    ranks_by_magnitude=True,
    needs_gradients=True,
    compute=_compute,
)
