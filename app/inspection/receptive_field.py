"""Which part of the image a layer's units see, and where that part lies on the upload.

Walks the network and asks each layer for its footprint (`app.network.geometry`).
"""

from dataclasses import dataclass

from app.boxes import Box
from app.imaging.stages import Placement
from app.network.geometry import (
    ReceptiveField,
    Unit,
    box_read,
    joined,
    union,
    unit_box,
    unit_read,
    whole_box,
)
from app.network.graph import IMAGE
from app.network.network import Layer, Network


@dataclass(frozen=True)
class _Part:
    """The part of a layer's output that a unit depends on.

    Attributes:
        box: Rows and columns; None for a layer without rows and columns.
        unit: The only unit, or None if there are several or it is not known which.
    """

    box: Box[int] | None
    unit: Unit | None

    def joined(self, other: "_Part") -> "_Part":
        boxes = self.box and other.box and joined(self.box, other.box)
        return _Part(boxes or self.box or other.box, self.unit if self.unit == other.unit else None)


def receptive_fields(network: Network) -> list[ReceptiveField]:
    """Return the receptive field of each layer, in the layers' order."""
    height, width = network.image_shape[:2]
    whole = ReceptiveField((height, width), None, None)
    pixel = ReceptiveField((1, 1), (1, 1), (0, 0))
    fields: list[ReceptiveField] = []
    for layer in network.layers:
        inputs = [pixel if at == IMAGE else fields[at] for at in layer.inputs]
        if layer.operation is None:
            fields.append(whole)
            continue
        footprint = layer.operation.footprint(layer.shapes)
        seen = [field.through(footprint, whole) for field in inputs]
        fields.append(union(seen) if len(seen) > 1 else seen[0])
    return fields


def trace(network: Network, layer: Layer, unit: Unit) -> dict[int, Box[int]]:
    """Follow one unit back to the image.

    Args:
        network: The network.
        layer: The unit's layer.
        unit: Index of the unit: `(y, x, channel)`, or `(channel,)` in a layer without positions.

    Returns:
        By index of the layer, the box of each layer's output that the unit depends on; under
        `IMAGE` the box of the image. Layers without rows and columns are left out, and so are the
        layers before a padding if the unit sees nothing but the padding.
    """
    parts = {layer.index: _Part(unit_box(unit) if layer.spatial else None, unit)}
    for at in range(layer.index, -1, -1):
        if at not in parts:
            continue
        for source, part in _parts_read(network.layers[at], parts[at]):
            parts[source] = part.joined(parts[source]) if source in parts else part
    return {at: part.box for at, part in parts.items() if part.box is not None}


def _parts_read(layer: Layer, part: _Part) -> list[tuple[int, _Part]]:
    """Return the parts of a layer's inputs that a part of its output depends on."""
    parts = []
    for source, shape in zip(layer.inputs, layer.input_shapes, strict=True):
        box, unit = None, None
        if layer.operation is not None:
            footprint = layer.operation.footprint(layer.shapes)
            if part.unit is not None:
                unit = unit_read(part.unit, footprint, shape, layer.shape)
            if len(shape) == 3 and unit is None and part.box is not None:
                box = box_read(part.box, footprint, shape)
                if box is None:
                    continue  # nothing but padding
        if len(shape) == 3 and box is None:
            box = unit_box(unit) if unit is not None else whole_box(shape)
        parts.append((source, _Part(box, unit)))
    return parts


def on_upload(box: Box[int], placement: Placement) -> Box[float]:
    """Return where a box of the 28x28 image lies on the upload, in the upload's pixels.

    `Placement` maps pixel centres to pixel centres; the result extends to the pixels' edges. It may
    extend past the upload's border where the preparation added a margin.
    """
    return Box(
        x=placement.offset_x + placement.scale_x * (box.x - 0.5) + 0.5,
        y=placement.offset_y + placement.scale_y * (box.y - 0.5) + 0.5,
        width=placement.scale_x * box.width,
        height=placement.scale_y * box.height,
    )
