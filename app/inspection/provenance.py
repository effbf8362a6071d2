"""Where one number of a network comes from: its equation with real numbers, and what it depends on.

The operands are the activations of the compiled model. The layer computes the equation again, in
float64, from them and from the weights in the Keras file; the result is compared with what the
compiled model gave for the unit.
"""

from dataclasses import dataclass, field

import numpy as np

from app.boxes import Box
from app.errors import InvalidInputError, NotFoundError
from app.inspection.activations import InspectedImage
from app.inspection.describe import formula
from app.inspection.receptive_field import on_upload, trace
from app.network.equation import Equation, UnitInputs
from app.network.functions import Array
from app.network.geometry import Unit
from app.network.graph import IMAGE
from app.network.network import Layer, Network, operation_of


@dataclass(frozen=True)
class Place:
    """The part of a layer's output that a unit depends on."""

    layer: Layer
    box: Box[int]


@dataclass(frozen=True)
class Provenance:
    """Where the value of one unit comes from.

    Attributes:
        layer: The unit's layer.
        unit: Index of the unit.
        formula: What the layer computes.
        equation: The formula with the unit's numbers.
        observed: Value that the compiled model gave.
        places: The part of each layer that the unit depends on, its own layer first.
        image: Box of the 28x28 image that the unit sees; None if it sees only padding.
        upload: Where that box lies on the upload, or None.
    """

    layer: Layer
    unit: Unit
    formula: str
    equation: Equation
    observed: float
    places: list[Place] = field(default_factory=list)
    image: Box[int] | None = None
    upload: Box[float] | None = None

    @property
    def abs_error(self) -> float:
        """Return the distance between the equation's value and the observed one."""
        return abs(self.equation.value - self.observed)


def explain_unit(inspected: InspectedImage, layer: Layer, unit: Unit) -> Provenance:
    """Explain the value of one unit.

    Args:
        inspected: The image and its activations.
        layer: The unit's layer.
        unit: Index of the unit, see `find_unit`.

    Raises:
        UnsupportedLayerError: The service does not support the layer's arithmetic.
    """
    network = inspected.model.network
    inputs = tuple(_input(inspected, network, at).astype(np.float64) for at in layer.inputs)
    equation = operation_of(layer).equation(
        UnitInputs(inputs, unit, layer.shape, network.flattened_from(layer))
    )
    boxes = trace(network, layer, unit)
    image = boxes.pop(IMAGE, None)
    placement = inspected.prediction.prepared.placement
    return Provenance(
        layer=layer,
        unit=unit,
        formula=formula(layer),
        equation=equation,
        observed=float(inspected.of(layer)[unit]),
        places=[Place(network.layers[at], boxes[at]) for at in sorted(boxes, reverse=True)],
        image=image,
        upload=on_upload(image, placement) if image else None,
    )


def find_unit(
    inspected: InspectedImage, layer: Layer, channel: int | None, y: int | None, x: int | None
) -> Unit:
    """Return the index of a unit; missing parts are those of the strongest unit that fits.

    See `largest_unit`.
    """
    return largest_unit(inspected.of(layer), layer, channel, y, x)


def largest_unit(
    values: Array, layer: Layer, channel: int | None, y: int | None, x: int | None
) -> Unit:
    """Return the index of a unit; missing parts are those of the largest value that fits.

    Args:
        values: What is compared, in the shape of the layer's output.
        layer: The unit's layer.
        channel: Channel; unit in a layer without rows and columns; None for the largest.
        y: Row, or None for the position of the largest.
        x: Column, or None for that position. An output `[T, C]` has column 0 alone.

    Raises:
        InvalidInputError: Only one of `y` and `x` is given for a layer with both, or either for a
            layer without rows and columns.
        NotFoundError: The layer has no such unit.
    """
    shape = layer.shape
    wanted = _address(layer, channel, y, x)
    names = {3: ("y", "x", "channel"), 2: ("y", "channel"), 1: ("channel",)}[len(shape)]
    columns = x if len(shape) == 2 else None
    for at, size in (*zip(wanted, shape, strict=True), (columns, 1)):
        if at is not None and not 0 <= at < size:
            raise NotFoundError(
                f"The layer {layer.name!r} has no such unit.",
                valid=[f"{name} 0..{size - 1}" for name, size in zip(names, shape, strict=True)],
            )
    candidates = tuple(slice(None) if at is None else slice(at, at + 1) for at in wanted)
    fitting = values[candidates]
    largest = np.unravel_index(int(fitting.argmax()), fitting.shape)
    return tuple(
        int(index) if at is None else at for at, index in zip(wanted, largest, strict=True)
    )


def _address(
    layer: Layer, channel: int | None, y: int | None, x: int | None
) -> tuple[int | None, ...]:
    """Return the index that is asked for, with None for each part that is left out."""
    shape = layer.shape
    match len(shape):
        case 1:
            if y is not None or x is not None:
                raise InvalidInputError(
                    f"The layer {layer.name!r} has no rows and columns: its {shape[0]} units are"
                    " addressed by 'channel' alone."
                )
            return (channel,)
        case 2:
            return (y, channel)
        case 3:
            if (y is None) != (x is None):
                raise InvalidInputError("Give both y and x, or neither for the strongest position.")
            return (y, x, channel)
        case _:
            raise InvalidInputError(
                f"The layer {layer.name!r} has the shape {list(shape)}; units are addressed in"
                " layers of at most 3 dimensions."
            )


def _input(inspected: InspectedImage, network: Network, at: int) -> Array:
    return inspected.image if at == IMAGE else inspected.of(network.layers[at])
