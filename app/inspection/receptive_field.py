"""Which part of the image a layer's units see, and where that lies on the upload.

Araujo et al., 2019, "Computing Receptive Fields of Convolutional Neural Networks" (Distill), in
steps of one layer. Knows layers' windows; knows nothing of weights or values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.boxes import Box
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


def trace(network: Network, layer: Layer, unit: tuple[int, ...]) -> dict[int, Box[int]]:
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
    boxes: dict[int, Box[int] | None] = {layer.index: _own_box(layer, unit)}
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


def _own_box(layer: Layer, unit: tuple[int, ...]) -> Box[int] | None:
    return Box(unit[1], unit[0], 1, 1) if layer.spatial else None


_Reach = tuple[int, Box[int] | None, tuple[int, ...] | None]


def _reach(layer: Layer, box: Box[int] | None, unit: tuple[int, ...] | None) -> list[_Reach]:
    """Return, for each input, the part that a part of the output depends on."""
    found: list[_Reach] = []
    for source, shape in zip(layer.inputs, layer.input_shapes, strict=True):
        whole = Box(0, 0, shape[1], shape[0]) if len(shape) == 3 else None
        exact = _same_unit(layer, unit, shape)
        if len(shape) != 3:
            found.append((source, None, exact))
        elif exact is not None:
            found.append((source, Box(exact[1], exact[0], 1, 1), exact))
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


def _through(layer: Layer, box: Box[int], shape: tuple[int, ...]) -> Box[int] | None:
    """Return the box of the input behind a box of the output; None if that is all padding."""
    operation = layer.operation
    if isinstance(operation, Pad):
        moved = Box(box.x - operation.columns[0], box.y - operation.rows[0], box.width, box.height)
        return _clip(moved, shape)
    window = window_of(layer)
    if window is not None:
        top, left = window.corner(shape, box.y, box.x)
        bottom, right = window.corner(shape, box.bottom - 1, box.right - 1)
        bottom += (window.size[0] - 1) * window.dilation[0] + 1
        right += (window.size[1] - 1) * window.dilation[1] + 1
        return _clip(Box(left, top, right - left, bottom - top), shape)
    if layer.shape[:2] == shape[:2]:
        return box
    return Box(0, 0, shape[1], shape[0])


def _clip(box: Box[int], shape: tuple[int, ...]) -> Box[int] | None:
    """Return the part of a box inside an array of `shape` (rows, columns, ...), or None."""
    x, y = max(box.x, 0), max(box.y, 0)
    width, height = min(box.right, shape[1]) - x, min(box.bottom, shape[0]) - y
    return Box(x, y, width, height) if width > 0 and height > 0 else None


def _join(box: Box[int] | None, other: Box[int] | None) -> Box[int] | None:
    """Return the smallest box that contains both."""
    if box is None or other is None:
        return box or other
    x, y = min(box.x, other.x), min(box.y, other.y)
    right, bottom = max(box.right, other.right), max(box.bottom, other.bottom)
    return Box(x, y, right - x, bottom - y)


def on_upload(box: Box[int], placement: Placement) -> Box[float]:
    """Return where a box of the 28x28 lies on the upload, in the upload's pixels.

    `Placement` maps centres of pixels to centres of pixels; the result reaches to their edges. It
    may extend past the upload's border where the preparation added a margin.
    """
    return Box(
        x=placement.offset_x + placement.scale_x * (box.x - 0.5) + 0.5,
        y=placement.offset_y + placement.scale_y * (box.y - 0.5) + 0.5,
        width=placement.scale_x * box.width,
        height=placement.scale_y * box.height,
    )
