"""Convolutions: plain, strided, dilated, grouped and depthwise.

Arrays are `[N, H, W, C]`. Weights are never copied for each window; a batch is unrolled into
columns once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.network.equation import MAX_TERMS, Equation, UnitInputs, operand, sum_of, weighted_sum
from app.network.functions import LINEAR, Array, Function, find_function
from app.network.geometry import Footprint
from app.network.operation import Config, LayerKind, Operation, SavedLayer, Shapes
from app.network.window import Window


@dataclass(frozen=True)
class Convolution(Operation):
    """A convolution with bias and activation.

    Attributes:
        kernel: `[kh, kw, C_in / groups, C_out]`; output channels of a group are neighbours.
        bias: `[C_out]`, or None.
        window: How the kernel slides.
        groups: Number of groups of input channels; `C_in` for a depthwise convolution.
        function: The activation function.
    """

    kernel: Array
    bias: Array | None
    window: Window
    groups: int = 1
    function: Function = LINEAR

    def linear(self, x: Array) -> Array:
        """Return the input of the activation function, `[N, H', W', C_out]`."""
        size = self.window.output_size(x.shape[1:])
        out: Array
        if self.groups == 1:
            out = self._columns(x) @ self.kernel.reshape(-1, self.kernel.shape[-1])
        else:
            out = self._grouped(x)
        out = out.reshape(len(x), *size, -1)
        return np.asarray(out if self.bias is None else out + self.bias)

    def forward(self, inputs: Sequence[Array]) -> Array:
        """Return the layer's output."""
        return self.function.value(self.linear(inputs[0]))

    def backward(self, inputs: Sequence[Array], output: Array, grad: Array) -> list[Array]:
        """Return the gradient of the input."""
        (x,) = inputs
        if self.function is not LINEAR:
            grad = grad * self.function.slope(self.linear(x), output)
        total = np.zeros_like(self.window.padded(x))
        taps = list(self.window.taps(x.shape[1:]))
        if self.groups == 1:
            flat = self.kernel.reshape(-1, self.kernel.shape[-1])
            by_tap = grad.reshape(-1, grad.shape[-1]) @ flat.T
            by_tap = by_tap.reshape(*grad.shape[:3], *self.kernel.shape[:3])
            for i, j, at in taps:
                total[at] += by_tap[:, :, :, i, j]
        else:
            kernel = self._by_group()
            grouped = grad.reshape(*grad.shape[:3], self.groups, -1)
            for i, j, at in taps:
                part = np.einsum("nyxgm,gcm->nyxgc", grouped, kernel[i, j])
                total[at] += part.reshape(*grad.shape[:3], -1)
        return [self.window.unpadded(total, x.shape[1:])]

    def _columns(self, x: Array) -> Array:
        height, width = self.window.output_size(x.shape[1:])
        columns = np.empty((len(x), height, width, *self.kernel.shape[:3]), x.dtype)
        padded = self.window.padded(x)
        for i, j, at in self.window.taps(x.shape[1:]):
            columns[:, :, :, i, j] = padded[at]
        return columns.reshape(-1, int(np.prod(self.kernel.shape[:3])))

    def _by_group(self) -> Array:
        """Return the kernel as `[kh, kw, groups, C_in / groups, C_out / groups]`."""
        kh, kw, depth, _ = self.kernel.shape
        return self.kernel.reshape(kh, kw, depth, self.groups, -1).swapaxes(2, 3)

    def _grouped(self, x: Array) -> Array:
        kernel, padded = self._by_group(), self.window.padded(x)
        size = self.window.output_size(x.shape[1:])
        out = np.zeros((len(x), *size, self.groups, kernel.shape[-1]), x.dtype)
        for i, j, at in self.window.taps(x.shape[1:]):
            part = padded[at].reshape(len(x), *size, self.groups, -1)
            out += np.einsum("nyxgc,gcm->nyxgm", part, kernel[i, j])
        return out

    @property
    def formula(self) -> str:
        """Return the weighted sum, with the activation function if there is one."""
        height, width = self.window.size
        channels = "k" if self.groups == 1 else "k of the group of c"
        bias = " + b[c]" if self.bias is not None else ""
        total = (
            f"sum over {channels}, a < {height}, b < {width} of"
            f" {self.window.formula('k')} K[a, b, k, c]{bias}"
        )
        if self.function is LINEAR:
            return f"y[c, i, j] = {total}"
        return f"y = f(z), f(x) = {self.function.formula}, z = {total}"

    def sentence(self, shapes: Shapes) -> str:
        """Return what the kernels do."""
        height, width = self.window.size
        depth = self.kernel.shape[2]
        reads = f"all {depth} channels"
        if shapes.input[-1] == 1:
            reads = "the one channel"
        elif self.groups > 1:
            reads = f"{depth} channels each" if depth > 1 else "one channel each"
        strides = self.window.strides
        steps = "" if strides == (1, 1) else f" in steps of {strides[0]}x{strides[1]}"
        bias = ", adds a bias" if self.bias is not None else ""
        applies = "" if self.function is LINEAR else f", then applies {self.function.name}"
        return (
            f"Slides {shapes.channels} kernels of {height}x{width} over {reads}{steps} and computes"
            f" at each position how well the kernel fits{bias}{applies}."
        )

    def equation(self, at: UnitInputs) -> Equation:
        """Return the sum of products with the unit's numbers."""
        y, x, channel = at.unit
        depth = self.kernel.shape[2]
        group = channel // (self.kernel.shape[3] // self.groups)
        kernel = self.kernel[..., channel].astype(np.float64)  # (kh, kw, depth)
        patch = np.zeros_like(kernel)
        for i, j, row, column in self.window.taps_inside(at.x.shape, y, x):
            patch[i, j] = at.x[row, column, group * depth : (group + 1) * depth]
        products = patch * kernel
        sums = products.sum(axis=(0, 1))
        text = sum_of(sums, "channel")
        if products.size <= MAX_TERMS:
            text = " + ".join(
                f"{operand(value)} · {operand(weight)}"
                for value, weight in zip(patch.flat, kernel.flat, strict=True)
            )
        operands = {
            "patch": patch,
            "kernel": kernel,
            "products": products,
            "corner": list(self.window.corner(at.x.shape, y, x)),
            "input_channels": [group * depth, (group + 1) * depth - 1],
        }
        bias = None if self.bias is None else float(self.bias[channel])
        return weighted_sum(self.function, operands, sums, text, bias=bias, channel_sums=sums)

    def multiply_adds(self, shapes: Shapes) -> int:
        """Count each weight once for each position of the output."""
        return shapes.output[0] * shapes.output[1] * int(self.kernel.size)

    def footprint(self, shapes: Shapes) -> Footprint:
        """Return the window."""
        return self.window.footprint(shapes.input)

    @property
    def keeps_channels(self) -> bool:
        """Return False: the kernels make new channels."""
        return False

    @property
    def changes_values(self) -> bool:
        """Return True."""
        return True

    @property
    def is_convolution(self) -> bool:
        """Return True."""
        return True

    @property
    def activation(self) -> Function:
        """Return the activation function."""
        return self.function

    def shuffled(self, rng: np.random.Generator) -> "Convolution":
        """Return the convolution with the numbers of its kernel in random order."""
        flat = rng.permutation(self.kernel.reshape(-1))
        return replace(self, kernel=flat.reshape(self.kernel.shape))


def _convolution(saved: SavedLayer) -> Operation | None:
    config = saved.config
    function = find_function(config["activation"])
    if function is None:
        return None
    window = Window.from_keras(config, config["kernel_size"])
    groups = int(config.get("groups", 1))
    return Convolution(saved.weights["kernel"], saved.weights.get("bias"), window, groups, function)


def _depthwise(saved: SavedLayer) -> Operation | None:
    config = saved.config
    function = find_function(config["activation"])
    if function is None:
        return None
    kernel = saved.weights["kernel"]
    kh, kw, channels, multiplier = kernel.shape
    # A grouped convolution with one input channel in each group.
    grouped = kernel.reshape(kh, kw, 1, channels * multiplier)
    window = Window.from_keras(config, config["kernel_size"])
    return Convolution(grouped, saved.weights.get("bias"), window, channels, function)


def _separable(saved: SavedLayer) -> None:
    """Support no arithmetic; only the names of the weights are known."""


def _kernel_and_bias(config: Config) -> tuple[str, ...]:
    return ("kernel", "bias") if config.get("use_bias") else ("kernel",)


def _two_kernels_and_bias(config: Config) -> tuple[str, ...]:
    bias = ("bias",) if config.get("use_bias") else ()
    return ("depthwise_kernel", "pointwise_kernel", *bias)


KINDS = {
    "Conv2D": LayerKind(_convolution, _kernel_and_bias),
    "DepthwiseConv2D": LayerKind(_depthwise, _kernel_and_bias),
    "SeparableConv2D": LayerKind(_separable, _two_kernels_and_bias),
}
