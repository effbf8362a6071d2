"""What the Python API says of layers: frozen records that show themselves in a notebook.

Names are those of the HTTP API's JSON. Instances compare by identity, because they hold arrays.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from app.api import notebook, pictures
from app.api.results import Prediction
from app.api.wording import list_names
from app.boxes import Box
from app.errors import NotFoundError
from app.inspection.activations import Scale
from app.inspection.checks import Deletion
from app.inspection.explanation import Randomised
from app.inspection.methods.method import Completeness
from app.network.equation import Equation


@dataclass(frozen=True, eq=False, repr=False)
class Layer(pictures.Shown):
    """One layer of a network.

    Attributes:
        index: Position in the network; every input comes before it.
        name: Its name, unique in the network.
        type: Keras class, such as `Conv2D`.
        description: What it does, in plain words.
        formula: What it computes for one unit.
        inputs: Names of the layers that feed it; `image` is the network's input.
        input_shapes: Shapes of its inputs, without the batch.
        shape: Shape of its output, without the batch: `[rows, columns, channels]`,
            `[rows, channels]` or `[units]`.
        parameters: Number of weights, learned and fixed.
        multiply_adds: Multiplications for one image, most with an addition.
        receptive_field: Rows and columns of the image that one unit sees.
        weights: The weights by name, float32, read-only.
        config: Its options, as Keras wrote them.
        computable: Whether its arithmetic is known, so that `unit` and `explain` can pass it.
    """

    index: int
    name: str
    type: str
    description: str
    formula: str
    inputs: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: tuple[int, int]
    weights: Mapping[str, NDArray[np.float32]]
    config: Mapping[str, Any]
    computable: bool

    def __repr__(self) -> str:
        """Return index, name, type and shape in one line."""
        return f"Layer({self.index}, {self.name!r}, {self.type}, shape={self.shape})"

    def png(self, name: str | None = None) -> bytes:
        """Return a picture of its weights as a PNG file: red is positive, blue negative, white 0.

        Its sides are at most 800 pixels; a larger picture is reduced by averaging.

        Args:
            name: Which weights; None for the kernel, or the first ones of a layer without a kernel.

        Raises:
            NotFoundError: It has no weights of this name, or none at all.
        """
        return pictures.weights_png(self, name)

    def _repr_png_(self) -> bytes | None:
        return pictures.weights_png(self, max_side=pictures.SHOWN_SIDE) if self.weights else None

    def _repr_html_(self) -> str:
        return notebook.layer_html(self)


class Layers(Sequence[Layer]):
    """The layers of a network in order; `layers[3]`, `layers["conv_1"]`."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        """Take the layers in an order in which they can be computed."""
        self._layers = tuple(layers)
        self._by_name = {layer.name: layer for layer in self._layers}

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self._layers)

    def __contains__(self, layer: object) -> bool:
        """Tell whether a layer, or one of this name, is among them."""
        return layer in self._by_name if isinstance(layer, str) else layer in self._layers

    def __iter__(self) -> Iterator[Layer]:
        """Iterate over the layers."""
        return iter(self._layers)

    @overload
    def __getitem__(self, at: int | str) -> Layer: ...

    @overload
    def __getitem__(self, at: slice) -> "Layers": ...

    def __getitem__(self, at: int | str | slice) -> "Layer | Layers":
        """Return the layer with a name or an index, or several.

        Raises:
            NotFoundError: There is no layer of this name.
            IndexError: There is none with this index.
        """
        if isinstance(at, slice):
            return Layers(self._layers[at])
        if isinstance(at, str):
            if at not in self._by_name:
                raise NotFoundError(
                    f"There is no layer {at!r}. Valid names: {list_names(self.names)}.",
                    valid=list(self._by_name),
                )
            return self._by_name[at]
        try:
            return self._layers[at]
        except IndexError:
            message = f"There is no layer {at}; the indices are 0 to {len(self) - 1}."
            raise IndexError(message) from None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names in order."""
        return tuple(self._by_name)

    def __repr__(self) -> str:
        """Return one line for each layer."""
        return "\n".join(map(repr, self._layers))

    def _repr_html_(self) -> str:
        return notebook.layers_html(self._layers)


@dataclass(frozen=True, eq=False, repr=False)
class Activations(pictures.Shown):
    """The output of one layer for one image; `numpy.asarray` takes it as its values.

    Attributes:
        layer: The layer.
        values: float32 of the layer's shape.
        prediction: The answer for the image, in float32: that of the network whose layer this is.
    """

    layer: Layer
    values: NDArray[np.float32]
    prediction: Prediction

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the values."""
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        """Return name, shape and range in one line."""
        low, high = float(self.values.min()), float(self.values.max())
        return f"Activations({self.layer.name!r}, shape={self.values.shape}, {low:g} to {high:g})"

    def png(self, *, scale: Scale = "layer") -> bytes:
        """Return the sheet of all channels as a PNG file: black is the smallest value.

        Args:
            scale: `layer` for one range of grey levels, `channel` for one for each channel.

        Raises:
            InvalidInputError: The scale is another.
        """
        return pictures.sheet_png(self.values, scale)

    def _repr_html_(self) -> str:
        return notebook.activations_html(self)


@dataclass(frozen=True, eq=False, repr=False)
class Unit(pictures.Shown):
    """Where one number of a layer comes from.

    Attributes:
        layer: The layer.
        channel: Channel, or unit of a layer without rows and columns.
        y: Row, or None.
        x: Column, or None.
        observed: Its value in the network.
        formula: What the layer computes for a unit.
        equation: The formula with the unit's numbers: `text`, `operands`, `value`, `channel_sums`,
            `bias`, `pre_activation`.
        places: The part that it depends on of each layer with rows and columns, by the layer's
            name, the last layer first.
        image: The box of the 28x28 that it sees, in pixels; None if it sees only padding.
        upload: Where that box lies on the image, in its pixels; None as above.
        prediction: The answer for the image, in float32.
    """

    layer: Layer
    channel: int
    y: int | None
    x: int | None
    observed: float
    formula: str
    equation: Equation
    places: Mapping[str, Box[int]]
    image: Box[int] | None
    upload: Box[float] | None
    prediction: Prediction

    @property
    def reconstructed(self) -> float:
        """Return the value of the equation, computed in float64."""
        return self.equation.value

    @property
    def abs_error(self) -> float:
        """Return the distance between the equation's value and the observed one."""
        return abs(self.equation.value - self.observed)

    def __repr__(self) -> str:
        """Return address and value in one line."""
        place = "" if self.y is None else f", y={self.y}"
        place += "" if self.x is None else f", x={self.x}"
        return f"Unit({self.layer.name!r}, channel={self.channel}{place}, value={self.observed:g})"

    def png(self) -> bytes:
        """Return the 28x28 with a frame around what the unit sees, enlarged, as a PNG file."""
        return pictures.unit_png(self)

    def _repr_html_(self) -> str:
        return notebook.unit_html(self)


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(pictures.Shown):
    """How much each pixel contributes to a score.

    Attributes:
        method: Name of the method.
        target: The class whose logit is explained.
        contrast: The class whose logit is subtracted, or None.
        value: The explained score: a logit, or the difference of two.
        map: float32 `[28, 28]`; positive raises the score.
        text: What it shows and whether to trust it.
        layer: Name of the layer that the map was computed from, or None.
        coarse: The map at the layer's resolution, before it was resized, or None.
        steps: Number of gradients that the map is the mean of, or None.
        completeness: Whether the map adds up to the change of the score; None if the method does
            not promise that.
        deletion: The score while ink is deleted in the map's order; None without checks.
        randomised: The map of a network that has learned nothing; None without checks.
        prediction: The answer for the image, in float32.
    """

    method: str
    target: int
    contrast: int | None
    value: float
    map: NDArray[np.float32]
    text: str
    layer: str | None
    coarse: NDArray[np.float32] | None
    steps: int | None
    completeness: Completeness | None
    deletion: Deletion | None
    randomised: Randomised | None
    prediction: Prediction

    def __repr__(self) -> str:
        """Return method, question and value in one line."""
        against = "" if self.contrast is None else f", contrast={self.contrast}"
        return (
            f"Explanation({self.method!r}, target={self.target}{against}, value={self.value:.4f})"
        )

    def png(self) -> bytes:
        """Return the map as a PNG file of 280x280: red is positive, blue negative, white 0."""
        return pictures.map_png(self.map)

    def _repr_html_(self) -> str:
        return notebook.explanation_html(self)
