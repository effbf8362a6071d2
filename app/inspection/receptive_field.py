"""Which part of the image a layer's units see, and where that lies on the upload.

Araujo et al., 2019, "Computing Receptive Fields of Convolutional Neural Networks" (Distill), in
steps of one layer. Knows layers' windows; knows nothing of weights or values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.imaging.stages import Placement
from app.network.graph import IMAGE
from app.network.network import Layer, Network
from app.network.operations import (
    Affine,
    Convolution,
    Elementwise,
    Identity,
    Merge,
    Pad,
    Pooling,
    Reshape,
    Window,
)


@dataclass(frozen=True)
class Field:
    """What the units of a layer see, if nothing were cut off at the image's border.

    Attributes:
        size: Rows and columns of the image that one unit sees.
        stride: How far the fields of neighbouring units lie apart; None where units have no place.
        offset: The first row and column that unit (0, 0) sees, negative where padding lies;
            likewise None.
    """

    size: tuple[int, int]
    stride: tuple[int, int] | None
    offset: tuple[int, int] | None


@dataclass(frozen=True)
class Box:
    """Rows `top` to `bottom` and columns `left` to `right`, the last ones included."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Region:
    """A rectangle on the upload in its own pixels, from the left top corner of its first."""

    x: float
    y: float
    width: float
    height: float


def fields(network: Network) -> list[Field]:
    """Return what the units of each layer see."""
    height, width = network.image_shape[:2]
    found: list[Field] = []
    image = Field((1, 1), (1, 1), (0, 0))
    for layer in network.layers:
        inputs = [image if at == IMAGE else found[at] for at in layer.inputs]
        found.append(_widen(layer, inputs, Field((height, width), None, None)))
    return found


def _widen(layer: Layer, inputs: Sequence[Field], whole: Field) -> Field:
    operation, field = layer.operation, inputs[0]
    if isinstance(operation, Merge):
        return _union(inputs, whole)
    if isinstance(operation, Reshape):
        return Field(field.size, None, None)
    if len(layer.shape) != 3 and not isinstance(operation, Identity | Affine | Elementwise):
        return whole
    if field.stride is None or field.offset is None:
        return field
    (down, right), (top, left) = field.stride, field.offset
    if isinstance(operation, Pad):
        rows, columns = operation.rows[0], operation.columns[0]
        return Field(field.size, field.stride, (top - rows * down, left - columns * right))
    window = window_of(layer)
    if window is None:
        return field
    (before, _), (aside, _) = window.pads(layer.input_shapes[0])
    size = (
        field.size[0] + (window.size[0] - 1) * window.dilation[0] * down,
        field.size[1] + (window.size[1] - 1) * window.dilation[1] * right,
    )
    stride = (down * window.strides[0], right * window.strides[1])
    return Field(size, stride, (top - before * down, left - aside * right))


def window_of(layer: Layer) -> Window | None:
    """Return the window that a layer slides, if it does."""
    operation = layer.operation
    return operation.window if isinstance(operation, Convolution | Pooling) else None


def _union(inputs: Sequence[Field], whole: Field) -> Field:
    strides = {field.stride for field in inputs}
    if len(strides) != 1 or None in strides:
        return Field(
            (max(field.size[0] for field in inputs), max(field.size[1] for field in inputs)),
            None,
            None,
        )
    offsets = [field.offset or (0, 0) for field in inputs]
    tops, lefts = min(top for top, _ in offsets), min(left for _, left in offsets)
    ends = [
        (top + field.size[0], left + field.size[1])
        for (top, left), field in zip(offsets, inputs, strict=True)
    ]
    size = (max(end for end, _ in ends) - tops, max(end for _, end in ends) - lefts)
    return Field(size, inputs[0].stride, (tops, lefts))


def trace(network: Network, layer: Layer, unit: tuple[int, ...]) -> dict[int, Box]:
    """Follow one unit back to the image.

    Args:
        network: The network.
        layer: The unit's layer.
        unit: Its index: `(y, x, channel)`, or `(channel,)` in a layer without places.

    Returns:
        By the layer's index, the box of each layer's output that the unit depends on; under
        `IMAGE` that of the image. Layers without places are left out, and so is all that lies
        before a padding if the unit sees nothing else.
    """
    boxes: dict[int, Box | None] = {layer.index: _own_box(layer, unit)}
    single: dict[int, tuple[int, ...]] = {layer.index: unit}
    for at in range(layer.index, -1, -1):
        if at not in boxes:
            continue
        for source, reached, exact in _reach(network.layers[at], boxes[at], single.get(at)):
            if exact is None or (source in boxes and single.get(source) != exact):
                single.pop(source, None)
            else:
                single[source] = exact
            boxes[source] = _join(boxes.get(source), reached)
    return {at: box for at, box in boxes.items() if box is not None}


def _own_box(layer: Layer, unit: tuple[int, ...]) -> Box | None:
    return Box(unit[0], unit[1], unit[0], unit[1]) if layer.spatial else None


_Reach = tuple[int, Box | None, tuple[int, ...] | None]


def _reach(layer: Layer, box: Box | None, unit: tuple[int, ...] | None) -> list[_Reach]:
    """Return, for each input, the part that a part of the output depends on."""
    found: list[_Reach] = []
    for source, shape in zip(layer.inputs, layer.input_shapes, strict=True):
        whole = Box(0, 0, shape[0] - 1, shape[1] - 1) if len(shape) == 3 else None
        exact = _same_unit(layer, unit, shape)
        if len(shape) != 3:
            found.append((source, None, exact))
        elif exact is not None:
            found.append((source, Box(exact[0], exact[1], exact[0], exact[1]), exact))
        elif box is None or layer.operation is None:
            found.append((source, whole, None))
        elif reached := _through(layer, box, shape):
            found.append((source, reached, None))
    return found


def _same_unit(
    layer: Layer, unit: tuple[int, ...] | None, shape: tuple[int, ...]
) -> tuple[int, ...] | None:
    """Return the one unit of the input that a unit comes from, where there is only one."""
    if unit is None:
        return None
    if isinstance(layer.operation, Reshape) and len(unit) == 1 and len(shape) == 3:
        y, rest = divmod(unit[0], shape[1] * shape[2])
        return (y, *divmod(rest, shape[2]))
    if isinstance(layer.operation, Identity | Affine | Elementwise):
        return unit
    return None


def _through(layer: Layer, box: Box, shape: tuple[int, ...]) -> Box | None:
    """Return the box of the input behind a box of the output; None if that is all padding."""
    operation = layer.operation
    if isinstance(operation, Pad):
        rows, columns = operation.rows[0], operation.columns[0]
        moved = (box.top - rows, box.left - columns, box.bottom - rows, box.right - columns)
        return _clipped(*moved, shape)
    window = window_of(layer)
    if window is not None:
        top, left = window.corner(shape, box.top, box.left)
        bottom, right = window.corner(shape, box.bottom, box.right)
        bottom += (window.size[0] - 1) * window.dilation[0]
        right += (window.size[1] - 1) * window.dilation[1]
        return _clipped(top, left, bottom, right, shape)
    if layer.shape[:2] == shape[:2]:
        return box
    return Box(0, 0, shape[0] - 1, shape[1] - 1)


def _clipped(top: int, left: int, bottom: int, right: int, shape: tuple[int, ...]) -> Box | None:
    top, left = max(top, 0), max(left, 0)
    bottom, right = min(bottom, shape[0] - 1), min(right, shape[1] - 1)
    return Box(top, left, bottom, right) if top <= bottom and left <= right else None


def _join(box: Box | None, other: Box | None) -> Box | None:
    if box is None or other is None:
        return box or other
    return Box(
        min(box.top, other.top),
        min(box.left, other.left),
        max(box.bottom, other.bottom),
        max(box.right, other.right),
    )


def on_upload(box: Box, placement: Placement) -> Region:
    """Return where a box of the 28x28 lies on the upload.

    `Placement` maps centres of pixels to centres of pixels; the region reaches to their edges. It
    may reach over the upload's border, where the preparation added margin.
    """
    top = placement.offset_y + placement.scale_y * (box.top - 0.5) + 0.5
    left = placement.offset_x + placement.scale_x * (box.left - 0.5) + 0.5
    return Region(
        x=left,
        y=top,
        width=placement.scale_x * (box.right - box.left + 1),
        height=placement.scale_y * (box.bottom - box.top + 1),
    )
