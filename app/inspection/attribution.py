"""Maps of how much each pixel contributes to an answer, by any of several methods."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInputError
from app.inspection.cost_limits import max_gradients
from app.inspection.methods.grad_cam import GRAD_CAM
from app.inspection.methods.gradient import GRADIENT
from app.inspection.methods.integrated_gradients import INTEGRATED_GRADIENTS
from app.inspection.methods.method import Attribution, MapRequest, Method, Parameter, ResponseField
from app.inspection.methods.occlusion import OCCLUSION
from app.inspection.methods.smoothgrad import SMOOTHGRAD
from app.inspection.score import Question, Score
from app.network.network import Layer, Network

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (GRADIENT, SMOOTHGRAD, INTEGRATED_GRADIENTS, GRAD_CAM, OCCLUSION)
    }
)
DEFAULT_METHOD = INTEGRATED_GRADIENTS.name

# The names as a type: pydantic validates them and lists them in the OpenAPI document.
if TYPE_CHECKING:
    MethodName = str
else:
    MethodName = Literal[tuple(METHODS)]


def find_method(name: str) -> Method:
    """Return a method by its name.

    Raises:
        InvalidInputError: There is no such method.
    """
    if name not in METHODS:
        raise InvalidInputError(
            f"There is no explanation method {name!r}; choose one of {', '.join(METHODS)}.",
            valid=list(METHODS),
        )
    return METHODS[name]


def methods_using(parameter: Parameter) -> str:
    """Return the names of the methods that use an optional parameter."""
    return _names(method for method in METHODS.values() if parameter in method.parameters)


def methods_filling(field: ResponseField) -> str:
    """Return the names of the methods that fill an optional response field."""
    return _names(method for method in METHODS.values() if field in method.response_fields)


def _names(methods: Iterable[Method]) -> str:
    return ", ".join(f"`{method.name}`" for method in methods)


def attribute(
    network: Network,
    score: Score,
    pixels: NDArray[np.uint8],
    question: Question,
    method: str,
    *,
    layer: Layer | None = None,
    steps: int | None = None,
) -> Attribution:
    """Compute a map.

    Args:
        network: The network.
        score: Scores images with the same network.
        pixels: uint8 `[28, 28]`.
        question: What to explain.
        method: Name of the method.
        layer: The layer for methods that take one; None for the last convolution.
        steps: Number of steps for methods that take it; None for as many as are needed.

    Raises:
        InvalidInputError: There is no such method, or the layer does not suit it.
        UnsupportedLayerError: The derivative of a layer is not known.
    """
    image = pixels.astype(np.float32)
    return find_method(method).compute(
        MapRequest(network, score, image, question, layer, steps, max_gradients(network))
    )
