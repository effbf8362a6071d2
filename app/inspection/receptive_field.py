"""Which part of the image a layer's units see, and where that part lies on the upload.

Walks the network and asks each layer for its footprint (`app.network.geometry`).
"""

from dataclasses import dataclass

from app.boxes import Box
from app.cancellation import check_cancelled
from app.imaging.stages import Placement
from app.network.geometry import ReceptiveField, Reordered, Shape, Unit, union
from app.network.graph import IMAGE
from app.network.network import Layer, Network
from app.network.regions import Region, box_of, joined, region_read, unit_region


@dataclass(frozen=True)
class _Part:
    """The part of a layer's output that a unit depends on.

    Attributes:
        region: The part.
        reshaped: Shape and part of the array that a later layer made of this output by reshaping
            it; None without one. An earlier layer may have had that shape, too.
    """

    region: Region
    reshaped: tuple[Shape, Region] | None = None

    def joined(self, other: "_Part") -> "_Part":
        return self if self == other else _Part(joined(self.region, other.region))


def receptive_fields(network: Network) -> list[ReceptiveField]:
    """Return the receptive field of each layer, in the layers' order."""
    image = network.image_shape
    pixel = ReceptiveField((1, 1), (1, 1), (0, 0))
    fields: list[ReceptiveField] = []
    for layer in network.layers:
        inputs = [pixel if at == IMAGE else fields[at] for at in layer.inputs]
        seen = [
            field.through(footprint, image, (shape, layer.shape))
            for field, footprint, shape in zip(
                inputs, layer.footprints, layer.input_shapes, strict=True
            )
        ]
        field = union(seen) if len(seen) > 1 else seen[0]
        fields.append(_measured(network, layer) if field.lost else field)
    return fields


def _measured(network: Network, layer: Layer) -> ReceptiveField:
    """Return the field of a layer whose units have no known position: that of its middle unit."""
    check_cancelled()
    box = trace(network, layer, tuple(size // 2 for size in layer.shape)).get(IMAGE)
    size = (box.height, box.width) if box else (0, 0)
    return ReceptiveField(size, None, None, lost=True)


def trace(network: Network, layer: Layer, unit: Unit) -> dict[int, Box[int]]:
    """Follow one unit back to the image.

    Args:
        network: The network.
        layer: The unit's layer.
        unit: Index of the unit: `(y, x, channel)`, `(y, channel)`, or `(channel,)` in a layer
            without positions.

    Returns:
        By index of the layer, the box of each layer's output that the unit depends on; under
        `IMAGE` the box of the image. Layers without rows and columns are left out, and so are the
        layers before a padding if the unit sees nothing but the padding.
    """
    parts = {layer.index: _Part(unit_region(unit))}
    for at in range(layer.index, -1, -1):
        if at not in parts:
            continue
        for source, part in _parts_read(network.layers[at], parts[at]):
            parts[source] = part.joined(parts[source]) if source in parts else part
    boxes = {at: box_of(part.region) for at, part in parts.items()}
    return {at: box for at, box in boxes.items() if box is not None}


def _parts_read(layer: Layer, part: _Part) -> list[tuple[int, _Part]]:
    """Return the parts of a layer's inputs that a part of its output depends on."""
    parts = []
    for source, footprint, shape in zip(
        layer.inputs, layer.footprints, layer.input_shapes, strict=True
    ):
        region = region_read(part.region, footprint, shape, layer.shape)
        if region is None:
            continue  # nothing but padding
        reshaped = part.reshaped if layer.elementwise else None
        if footprint == Reordered():
            if part.reshaped and part.reshaped[0] == shape:
                region, reshaped = part.reshaped[1], None
            else:
                reshaped = part.reshaped or (layer.shape, part.region)
        parts.append((source, _Part(region, reshaped)))
    return parts


def on_upload(box: Box[int], placement: Placement) -> Box[float]:
    """Return where a box of the 28x28 image lies on the upload, in the upload's pixels.

    `Placement` maps pixel centres to pixel centres; the result extends to the pixels' edges. If the
    digit was turned or sheared, it is the smallest upright box around the place. It may extend past
    the upload's border where the preparation added a margin.
    """
    left, top = box.x - 0.5, box.y - 0.5
    turned_x, turned_y = placement.shear_x * box.height, placement.shear_y * box.width
    x = placement.offset_x + placement.scale_x * left + placement.shear_x * top
    y = placement.offset_y + placement.scale_y * top + placement.shear_y * left
    return Box(
        x=x + min(0.0, turned_x) + 0.5,
        y=y + min(0.0, turned_y) + 0.5,
        width=placement.scale_x * box.width + abs(turned_x),
        height=placement.scale_y * box.height + abs(turned_y),
    )
