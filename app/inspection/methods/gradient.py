"""The gradient of the score with respect to the image."""

from app.inspection.methods.method import Attribution, MapCost, MapRequest, Method
from app.inspection.score import input_gradients


def _compute(request: MapRequest) -> Attribution:
    gradients = input_gradients(request.network, request.image[None], request.question)
    return Attribution(gradients[0])


GRADIENT = Method(
    name="gradient",
    title="Gradient",
    description="How the score would change if a pixel became a little brighter.",
    limits="It describes small changes only, not what a stroke contributes as a whole.",
    empty="a small change of any pixel leaves the score as it is",
    reference="Simonyan et al., 2014, arXiv:1312.6034",
    unit="logit per grey level",
    parameters=(),
    response_fields=(),
    ranks_by_magnitude=True,
    needs_gradients=True,
    compute=_compute,
    cost=lambda steps, max_gradients: MapCost(gradients=1, scores=0),
)
