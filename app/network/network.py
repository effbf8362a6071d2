"""A network as a list of layers that can be run, resumed and differentiated in NumPy.

The compiled model gives the activations that are shown. This gives what the compiled model cannot:
equations, runs that resume at a changed layer, and gradients. Networks never change, so that
several threads can share one.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from app.cancellation import check_cancelled
from app.errors import NotFoundError, UnsupportedLayerError
from app.network.functions import Array
from app.network.geometry import SAME_UNIT, Everything, Footprint, Reordered, Shape, positions
from app.network.graph import IMAGE, Step
from app.network.keras_file import MAX_WEIGHTS, read_keras_file
from app.network.kinds import build_operation
from app.network.layers.fusion import joined
from app.network.layers.softmax import Softmax
from app.network.operation import Operation, Shapes, Unsupported

MAX_BATCH = 32  # images computed at once; larger batches are no faster
MAX_LAYER_VALUES = 1 << 18  # activations of one layer and batch, 1 MiB: the L2 cache of a core
MAX_VALUES = 1 << 24  # activations of one batch, 64 MiB; their gradients take as much again
_SEED = 2018  # of the permutations: any number does, if it is always the same
_MAX_INDEX_DIGITS = 6  # of an index in an address; Python refuses to read 4,300 digits or more


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        index: Position in the network; every input comes before it.
        name: Path, such as `conv_1_1`, or `member_1/conv_1_1` in a model of models.
        kind: Keras class.
        config: Configuration, as Keras wrote it.
        inputs: Indices of the layers that feed it, `IMAGE` for the image.
        weights: Weights by name, float32.
        shapes: Shapes of its inputs and output, without the batch.
        operation: What it computes; None for a layer that the service cannot compute.
        unsupported: Why it cannot; None if it can.
        store: Path of its weights in the file, which all calls of a layer share; empty if the
            network is not from a `.keras` file.
    """

    index: int
    name: str
    kind: str
    config: Mapping[str, Any]
    inputs: tuple[int, ...]
    weights: Mapping[str, Array]
    shapes: Shapes
    operation: Operation | None
    unsupported: Unsupported | None = None
    store: str = ""

    @property
    def shape(self) -> Shape:
        """Return the shape of the output, without the batch."""
        return self.shapes.output

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        """Return the shapes of the inputs, without the batch."""
        return self.shapes.inputs

    @property
    def spatial(self) -> bool:
        """Tell whether the output is `[height, width, channels]`."""
        return self.shapes.spatial

    @property
    def positions(self) -> tuple[int, int] | None:
        """Return rows and columns of the output, 1 column for `[T, C]`; None without positions."""
        return positions(self.shapes.output)

    @property
    def channels(self) -> int:
        """Return the size of the last axis."""
        return self.shapes.channels

    @property
    def elementwise(self) -> bool:
        """Tell whether each unit depends on the input unit with the same index and no other."""
        return self.operation is not None and self.footprints == (SAME_UNIT,)

    @property
    def footprints(self) -> tuple[Footprint, ...]:
        """Return which units of each input a unit reads: all, if the layer cannot be computed."""
        if self.operation is None:
            return (Everything(),) * len(self.inputs)
        return self.operation.footprints(self.shapes)

    def check_channels(self, channels: Iterable[int]) -> None:
        """Check that the output has some channels; units, in a layer without rows.

        Raises:
            NotFoundError: It lacks one.
        """
        unknown = sorted(set(channels) - set(range(self.channels)))
        if unknown:
            raise NotFoundError(
                f"The layer {self.name!r} has no channel {', '.join(map(str, unknown))}.",
                valid=[f"channel 0..{self.channels - 1}"],
            )

    @property
    def multiply_adds(self) -> int:
        """Return the multiplications of weights for one image, as far as they are known."""
        if self.operation is not None:
            return self.operation.multiply_adds(self.shapes)
        return self.unsupported.multiply_adds if self.unsupported else 0

    @property
    def is_convolution(self) -> bool:
        """Tell whether the layer slides learned kernels over its input."""
        return self.operation is not None and self.operation.is_convolution


@dataclass(frozen=True)
class Network:
    """Every layer of a network, in an order in which they can be computed.

    Attributes:
        layers: The layers.
        output: Index of the layer whose output is the network's.
        image_shape: Shape of the input, without the batch.
    """

    layers: tuple[Layer, ...]
    output: int
    image_shape: Shape

    @cached_property
    def by_name(self) -> Mapping[str, Layer]:
        """Return the layers by name."""
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def logits(self) -> int | None:
        """Return the index of the layer that feeds the final softmax; None without one."""
        last = self.layers[self.output]
        return last.inputs[0] if isinstance(last.operation, Softmax) else None

    @property
    def scores(self) -> int:
        """Return the index of the layer that decides: of the logits, else of the output."""
        return self.output if self.logits is None else self.logits

    def find(self, address: str) -> Layer:
        """Return the layer with this name or index.

        Raises:
            NotFoundError: No layer has it.
        """
        if address in self.by_name:
            return self.by_name[address]
        if address.isdecimal() and len(address) <= _MAX_INDEX_DIGITS:
            index = int(address)
            if index < len(self.layers):
                return self.layers[index]
        raise NotFoundError(
            f"There is no layer {address!r}; give a name, or an index from 0 to"
            f" {len(self.layers) - 1}.",
            valid=list(self.by_name),
        )

    def downstream(self, layer: Layer) -> frozenset[int]:
        """Return the indices of all layers that depend on a layer, without the layer itself."""
        dependent = {layer.index}
        for other in self.layers:
            if dependent.intersection(other.inputs):
                dependent.add(other.index)
        return frozenset(dependent - {layer.index})

    def feeds_scores(self, layer: Layer) -> bool:
        """Tell whether the scores depend on a layer; a layer feeds itself."""
        return layer.index == self.scores or self.scores in self.downstream(layer)

    def ablatable(self, layer: Layer) -> bool:
        """Tell whether the scores depend on a layer through layers that can be computed."""
        return self.feeds_scores(layer) and all(
            self.layers[at].operation is not None
            for at in self.downstream(layer)
            if at <= self.scores
        )

    @cached_property
    def batch_size(self) -> int:
        """Return how many images to compute at once: few enough for the caches and the memory."""
        largest = max(prod(layer.shape) for layer in self.layers)
        return max(1, min(MAX_BATCH, MAX_VALUES // self.values, MAX_LAYER_VALUES // largest))

    @cached_property
    def values(self) -> int:
        """Return the number of values of all layers for one image."""
        return sum(prod(layer.shape) for layer in self.layers)

    @cached_property
    def computable(self) -> bool:
        """Tell whether every layer up to the scores can be computed, and so differentiated."""
        return all(layer.operation is not None for layer in self.layers[: self.scores + 1])

    def convolution_of(self, layer: Layer) -> Layer | None:
        """Return the convolution that makes a layer's channels, the layer itself included.

        Returns:
            The layer whose `kernel[..., c]` makes channel c, if every layer after it keeps channels
            apart, as normalisation, activation, pooling and padding do. None if there is no such
            layer, or if its kernel is not indexed by channel alone, as that of a depthwise one.
        """
        operation = layer.operation
        while operation is not None and operation.keeps_channels and layer.inputs[0] != IMAGE:
            layer = self.layers[layer.inputs[0]]
            operation = layer.operation
        if operation is None or not operation.has_channel_kernels:
            return None
        return layer if layer.weights["kernel"].shape[-1] == layer.channels else None

    def flattened_from(self, layer: Layer) -> Shape | None:
        """Return the shape `[H, W, C]` or `[T, C]` of a layer's input before it was flattened.

        Returns:
            The shape; None if the input was not flattened, or if values have changed since.
        """
        at = layer.inputs[0]
        while at != IMAGE:
            source = self.layers[at]
            if source.operation is None or source.operation.changes_values:
                return None
            if source.footprints == (Reordered(),):
                before = source.shapes.input
                return before if len(before) > 1 else None
            if not source.elementwise:
                return None
            at = source.inputs[0]
        return None

    def forward(self, images: Array) -> list[Array]:
        """Compute every layer's output.

        Args:
            images: `[N, 28, 28, 1]`, 0..255.

        Returns:
            The outputs `[N, ...]`, in the layers' order.

        Raises:
            UnsupportedLayerError: A layer's arithmetic is not supported.
        """
        return self.resume(images, {})

    def resume(
        self,
        images: Array,
        known: Mapping[int, Array],
        masks: Mapping[int, Array] | None = None,
        *,
        last: int | None = None,
    ) -> list[Array]:
        """Compute every layer's output, some of which are given.

        Args:
            images: `[N, 28, 28, 1]`, 0..255.
            known: Outputs `[N, ...]` by index, used as they are.
            masks: Factors by index, by which a layer's output is multiplied.
            last: Index of the last layer to compute; None for the last of the network.

        Returns:
            The outputs, in the layers' order.

        Raises:
            UnsupportedLayerError: A layer's arithmetic is not supported.
            WorkCancelled: Nobody waits for the outputs any more.
        """
        outputs: list[Array] = []
        for layer in self.layers[: None if last is None else last + 1]:
            check_cancelled()
            if layer.index in known:
                out = known[layer.index]
            else:
                inputs = [images if at == IMAGE else outputs[at] for at in layer.inputs]
                out = operation_of(layer).forward(inputs)
            if masks and layer.index in masks:
                out = np.asarray(out * masks[layer.index])
            outputs.append(out)
        return outputs

    def gradients(
        self,
        images: Array,
        outputs: Sequence[Array],
        seed: Mapping[int, Array],
        *,
        wanted: Collection[int] | None = None,
    ) -> dict[int, Array]:
        """Differentiate a weighted sum of outputs.

        Args:
            images: `[N, 28, 28, 1]`, 0..255.
            outputs: What `forward` returned for them.
            seed: Weights `[N, ...]` in the sum, by index of the layer.
            wanted: Indices of the layers whose gradients to keep; None keeps all. The others take
                memory only until they have been used.

        Returns:
            By index, the gradient of each layer's output that the sum depends on; under `IMAGE`
            the gradient of the image.

        Raises:
            UnsupportedLayerError: A layer's arithmetic is not supported.
            WorkCancelled: Nobody waits for the gradients any more.
        """
        grads: dict[int, Array] = dict(seed)
        for layer in reversed(self.layers):
            check_cancelled()
            if layer.index not in grads:
                continue
            inputs = [images if at == IMAGE else outputs[at] for at in layer.inputs]
            parts = operation_of(layer).backward(inputs, outputs[layer.index], grads[layer.index])
            for at, part in zip(layer.inputs, parts, strict=True):
                grads[at] = grads[at] + part if at in grads else part
            if wanted is not None and layer.index not in wanted:
                del grads[layer.index]
        return grads

    @cached_property
    def fused(self) -> "Network":
        """Return a network of fewer layers with the same scores and gradients, but for rounding.

        It takes fewer passes over the activations. Its layers have other indices.
        """
        users = Counter(at for layer in self.layers for at in layer.inputs)
        layers: list[Layer] = []
        moved = {IMAGE: IMAGE}  # new index of each layer
        for layer in self.layers:
            before, operation = layer.inputs[0], None
            if before not in (IMAGE, self.output) and users[before] == 1:
                operation = joined(layers[moved[before]].operation, layer.operation)
            if operation is None:
                moved[layer.index] = len(layers)
                inputs = tuple(moved[at] for at in layer.inputs)
                layers.append(replace(layer, index=len(layers), inputs=inputs))
            else:
                moved[layer.index] = moved[before]
                layers[moved[before]] = replace(layers[moved[before]], operation=operation)
        return replace(self, layers=tuple(layers), output=moved[self.output])

    @cached_property
    def randomised(self) -> "Network":
        """Return the network with the numbers of every kernel in random, but fixed, order.

        Each kernel keeps its values, so that activations keep their size, but nothing that was
        learned remains (Adebayo et al., 2018, arXiv:1810.03292).
        """
        rng = np.random.default_rng(_SEED)
        layers = tuple(
            replace(layer, operation=layer.operation and layer.operation.shuffled(rng))
            for layer in self.layers
        )
        return replace(self, layers=layers)


def operation_of(layer: Layer) -> Operation:
    """Return a layer's operation.

    Raises:
        UnsupportedLayerError: The layer has none.
    """
    if layer.operation is None:
        reason = layer.unsupported.reason if layer.unsupported else "it is unknown"
        raise UnsupportedLayerError(
            f"The service cannot compute the layer {layer.name!r} ({layer.kind}): {reason}. It can"
            " show and compare its activations, give equations of other layers, switch off channels"
            " of later layers, and explain the answer by 'occlusion'.",
            layer=layer.name,
        )
    return layer.operation


def read_network(
    content: bytes,
    shapes: Mapping[str, Shape],
    image_shape: tuple[int, ...],
    max_weights: int = MAX_WEIGHTS,
) -> Network:
    """Read the network in a `.keras` file.

    Args:
        content: Bytes of the file.
        shapes: Shape of each layer's output by name, without the batch.
        image_shape: Shape of the input, without the batch.
        max_weights: Number of weights that the layers may have together.

    Raises:
        KerasFileError: The file cannot be read, or declares more than it may.
        ValueError: `shapes` lacks one of its layers.
    """
    steps, output, weights = read_keras_file(content, max_weights)
    missing = [step.name for step in steps if step.name not in shapes]
    if missing:
        raise ValueError(f"the compiled model has no output for the layers {', '.join(missing)}")
    outputs = [shapes[step.name] for step in steps]
    layers = []
    for index, (step, values) in enumerate(zip(steps, weights, strict=True)):
        inputs = tuple(image_shape if at == IMAGE else outputs[at] for at in step.inputs)
        layers.append(_layer(index, step, values, Shapes(inputs, outputs[index])))
    return Network(tuple(layers), output, image_shape)


def _layer(index: int, step: Step, weights: dict[str, Array], shapes: Shapes) -> Layer:
    built = build_operation(step, weights, shapes)
    operation, unsupported = (None, built) if isinstance(built, Unsupported) else (built, None)
    return Layer(
        index,
        step.name,
        step.kind,
        step.config,
        step.inputs,
        weights,
        shapes,
        operation,
        unsupported,
        step.store,
    )
