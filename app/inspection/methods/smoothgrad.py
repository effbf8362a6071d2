"""SmoothGrad: the mean gradient over noisy copies of the image."""

import numpy as np

from app.inspection.methods.method import Attribution, MapCost, MapRequest, Method
from app.inspection.score import input_gradients
from app.network.functions import Array

MAX_SAMPLES = 32  # noisy copies
MIN_SAMPLES = 8  # noisy copies for the slowest network
# Standard error of the map, as a share of its norm, at which no more copies are added. 32
# independent copies reach 0.27 for `compact` and 0.34 for `classic`.
PRECISION = 0.3
NOISE = 0.15  # standard deviation of the noise, as a share of the range 0..255
SEED = 7  # the same image always gets the same map
_FIRST_PAIRS, _PAIRS_PER_ROUND = 8, 2


def _compute(request: MapRequest) -> Attribution:
    """Average over pairs of copies with opposite noise until the mean is precise.

    What one copy of a pair is too high by, the other is mostly too low by: 24 such copies are as
    precise as 32 independent ones (antithetic variates; Hammersley and Morton, 1956).
    """
    limit = _max_samples(request.max_gradients) // 2
    rng = np.random.default_rng(SEED)
    pairs = np.empty((0, *request.image.shape), np.float32)
    while len(pairs) < limit and not _is_precise(pairs):
        added = min(_PAIRS_PER_ROUND if len(pairs) else _FIRST_PAIRS, limit - len(pairs))
        noise = NOISE * 255 * rng.standard_normal((added, *request.image.shape), np.float32)
        noisy = request.image + np.concatenate([noise, -noise])
        gradients = input_gradients(request.network, noisy, request.question)
        pairs = np.concatenate([pairs, (gradients[:added] + gradients[added:]) / 2])
    return Attribution(pairs.mean(axis=0), steps=2 * len(pairs))


def _max_samples(max_gradients: int) -> int:
    return max(MIN_SAMPLES, min(MAX_SAMPLES, max_gradients))


def _is_precise(pairs: Array) -> bool:
    """Tell whether the standard error of the mean of `[P, 28, 28]` is small enough."""
    if len(pairs) < _FIRST_PAIRS:
        return False
    error = np.sqrt(pairs.var(axis=0, ddof=1).sum() / len(pairs))
    return bool(error <= PRECISION * np.linalg.norm(pairs.mean(axis=0)))


SMOOTHGRAD = Method(
    name="smoothgrad",
    title="SmoothGrad",
    description=(
        f"The mean of the gradients of up to {MAX_SAMPLES} slightly noisy copies of the image."
    ),
    limits="The amount of noise changes the map, and noisy copies are unlike the training digits.",
    empty="a small change of any pixel leaves the score of every noisy copy as it is",
    reference="Smilkov et al., 2017, arXiv:1706.03825",
    unit="logit per grey level",
    parameters=(),
    response_fields=("steps",),
    ranks_by_magnitude=True,
    needs_gradients=True,
    compute=_compute,
    cost=lambda steps, max_gradients: MapCost(_max_samples(max_gradients), scores=0),
)
