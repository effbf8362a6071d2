"""Integrated gradients: gradients summed along the straight path from black to the image."""

import numpy as np

from app.inspection.methods.method import Attribution, Completeness, MapRequest, Method
from app.inspection.score import input_gradients, network_score

DEFAULT_STEPS = 64  # points on the path
MIN_STEPS = 8  # points; fewer approximate the integral poorly
MAX_STEPS = 256  # points; bounds the time of one request, which grows with them


def _compute(request: MapRequest) -> Attribution:
    """Integrate by the midpoint rule."""
    network, image, question = request.network, request.image, request.question
    fractions = (np.arange(request.steps, dtype=np.float32) + 0.5) / request.steps
    path = fractions[:, None, None] * image
    mean = input_gradients(network, path, question).astype(np.float64).mean(axis=0)
    score = network_score(network, question)
    black, full = score(np.stack([np.zeros_like(image), image])).astype(np.float64)
    return Attribution(
        (image * mean).astype(np.float32),
        completeness=Completeness(float((image * mean).sum()), float(full - black)),
    )


INTEGRATED_GRADIENTS = Method(
    name="integrated-gradients",
    title="Integrated gradients",
    description=(
        "Fades the image in from black and adds up, for each pixel, how the score responds. The map"
        " adds up to the whole change of the score."
    ),
    limits="A black pixel always gets 0, even if ink in its place would change the answer.",
    empty="the image is black like the baseline, or the score never changes on the path to it",
    reference="Sundararajan et al., 2017, arXiv:1703.01365",
    unit="logit",
    parameters=("steps",),
    response_fields=("completeness",),
    ranks_by_magnitude=False,
    needs_gradients=True,
    compute=_compute,
)
