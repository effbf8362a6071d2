"""A network as a list of layers that can be run, resumed and differentiated in NumPy.

The compiled twin gives the activations that are shown; this gives what the twin cannot: an equation
for each of them, a run that goes on from a changed layer, and gradients. Nothing here is ever
changed after it was made, so that any number of threads may use one network at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from app.errors import NotFoundError, UnsupportedLayerError
from app.network.build import build
from app.network.functions import Array
from app.network.graph import IMAGE, Step
from app.network.keras_file import read_keras_file
from app.network.operations import Convolution, Dense, Operation, Softmax

_SEED = 2018  # of the permutations; the year of Adebayo et al.


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        index: Its place; every input comes before it.
        name: Its path, such as `conv_1_1` or `member_1/conv_1_1`.
        kind: Its Keras class.
        config: As Keras wrote it.
        inputs: Indices of the layers that it takes its input from, `IMAGE` for the image.
        weights: By name, float32.
        shape: Of its output, without the batch.
        input_shapes: Of its inputs, likewise.
        operation: Its arithmetic, or None where that is not known.
    """

    index: int
    name: str
    kind: str
    config: Mapping[str, Any]
    inputs: tuple[int, ...]
    weights: Mapping[str, Array]
    shape: tuple[int, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    operation: Operation | None

    @property
    def spatial(self) -> bool:
        """Tell whether the output is `[height, width, channels]`."""
        return len(self.shape) == 3

    @property
    def channels(self) -> int:
        """Return the size of the last axis."""
        return self.shape[-1]


@dataclass(frozen=True)
class Network:
    """Every layer of a network, in an order in which they can be computed.

    Attributes:
        layers: The layers.
        output: Index of the one whose output is the network's.
        image_shape: Of the input, without the batch.
    """

    layers: tuple[Layer, ...]
    output: int
    image_shape: tuple[int, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Layer]:
        """Return the layers by name."""
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def logits(self) -> int | None:
        """Return the index of the layer that the final softmax is taken of, if there is one."""
        last = self.layers[self.output]
        return last.inputs[0] if isinstance(last.operation, Softmax) else None

    def find(self, address: str) -> Layer:
        """Return the layer of this name or index.

        Raises:
            NotFoundError: There is none.
        """
        if address in self.by_name:
            return self.by_name[address]
        # More digits than any index has are not read: Python refuses to from 4,300 on.
        if address.isdecimal() and len(address) < 7 and int(address) < len(self.layers):
            return self.layers[int(address)]
        raise NotFoundError(
            f"There is no layer {address!r}; give a name, or an index from 0 to"
            f" {len(self.layers) - 1}.",
            valid=list(self.by_name),
        )

    def forward(self, images: Array) -> list[Array]:
        """Compute every layer's output.

        Args:
            images: `[N, 28, 28, 1]`, 0..255.

        Returns:
            The outputs `[N, ...]`, in the layers' order.
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
        """Compute every layer's output where some are given already.

        Args:
            images: `[N, 28, 28, 1]`, 0..255.
            known: Outputs `[N, ...]` by index, taken as they are.
            masks: Factors that are multiplied to a layer's output, by index.
            last: Index of the last layer that is computed; the network's last if None.

        Returns:
            The outputs, in the layers' order.

        Raises:
            UnsupportedLayerError: A layer's arithmetic is not known.
        """
        outputs: list[Array] = []
        for layer in self.layers[: None if last is None else last + 1]:
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
        self, images: Array, outputs: Sequence[Array], seed: Mapping[int, Array]
    ) -> dict[int, Array]:
        """Differentiate a weighted sum of outputs.

        Args:
            images: `[N, 28, 28, 1]`, 0..255.
            outputs: What `forward` gave for them.
            seed: By index of a layer, the weight `[N, ...]` of each of its outputs in the sum.

        Returns:
            By index, the gradient of each layer's output that the sum depends on; under `IMAGE`
            that of the image.

        Raises:
            UnsupportedLayerError: A layer's arithmetic is not known.
        """
        grads: dict[int, Array] = dict(seed)
        for layer in reversed(self.layers):
            if layer.index not in grads:
                continue
            inputs = [images if at == IMAGE else outputs[at] for at in layer.inputs]
            parts = operation_of(layer).backward(inputs, outputs[layer.index], grads[layer.index])
            for at, part in zip(layer.inputs, parts, strict=True):
                grads[at] = grads[at] + part if at in grads else part
        return grads

    @cached_property
    def randomised(self) -> "Network":
        """Return the network with the weights of every kernel shuffled; always the same way.

        Each kernel keeps its values, so that activations stay of the same size, but nothing that
        was learned is left (Adebayo et al., 2018, arXiv:1810.03292).
        """
        rng = np.random.default_rng(_SEED)
        layers = []
        for layer in self.layers:
            operation = layer.operation
            if isinstance(operation, Convolution | Dense):
                kernel = operation.kernel
                shuffled = rng.permutation(kernel.reshape(-1)).reshape(kernel.shape)
                operation = replace(operation, kernel=shuffled)
            layers.append(replace(layer, operation=operation))
        return replace(self, layers=tuple(layers))


def operation_of(layer: Layer) -> Operation:
    """Return a layer's arithmetic.

    Raises:
        UnsupportedLayerError: It is not known.
    """
    if layer.operation is None:
        raise UnsupportedLayerError(
            f"The arithmetic of the layer {layer.name!r} ({layer.kind}) is not known to the"
            " service. Its activations can be looked at; equations, ablations and explanations"
            " need a network without such layers.",
            layer=layer.name,
        )
    return layer.operation


def read_network(
    content: bytes, shapes: Mapping[str, tuple[int, ...]], image_shape: tuple[int, ...]
) -> Network:
    """Read the network in a `.keras` file.

    Args:
        content: The file's bytes.
        shapes: Of each layer's output by name, without the batch.
        image_shape: Of the input, likewise.

    Raises:
        ValueError: The file cannot be read, or its layers are not those of `shapes`.
    """
    steps, output, weights = read_keras_file(content)
    missing = [step.name for step in steps if step.name not in shapes]
    if missing:
        raise ValueError(f"the compiled network does not give the layers {', '.join(missing)}")
    layers = tuple(
        _layer(index, step, values, steps, shapes, image_shape)
        for index, (step, values) in enumerate(zip(steps, weights, strict=True))
    )
    return Network(layers, output, image_shape)


def _layer(
    index: int,
    step: Step,
    weights: dict[str, Array],
    steps: Sequence[Step],
    shapes: Mapping[str, tuple[int, ...]],
    image_shape: tuple[int, ...],
) -> Layer:
    inputs = tuple(image_shape if at == IMAGE else shapes[steps[at].name] for at in step.inputs)
    shape = shapes[step.name]
    operation = build(step, weights, shape, inputs)
    return Layer(
        index, step.name, step.kind, step.config, step.inputs, weights, shape, inputs, operation
    )
