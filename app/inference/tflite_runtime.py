"""Runs an imported `.tflite` file as it is: its own operations, also quantised ones.

The file has no signatures of ours, so the image is brought into its input form here, and its output
becomes probabilities here. All tensors of an interpreter are kept, so that every operation's output
can be shown. Imports no TensorFlow.
"""

import queue
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from app.bundle import Adapter
from app.errors import BundleError
from app.inference.litert_runtime import check_tensors
from app.inference.native_logs import without_native_logs
from app.inference.runtime import Outputs, Pixels
from app.network.functions import log_probabilities, softmax
from app.network.graph import IMAGE
from app.network.network import Layer, Network
from app.network.operation import Shapes

SIDE = 28
MAX_OPERATIONS = 2000  # of a file; each becomes a layer


def open_tflite(content: bytes) -> Interpreter:
    """Open a `.tflite` file that keeps all tensors; allocate nothing.

    Raises:
        BundleError: It is no LiteRT model, or its tensors are too large.
    """
    try:
        with without_native_logs():
            interpreter = Interpreter(
                model_content=content,
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"The .tflite file is no LiteRT model: {error}") from error
    check_tensors(interpreter)
    return interpreter


def arrange(pixels: NDArray[np.float32], adapter: Adapter) -> NDArray[np.float32]:
    """Bring images into the form that a file expects.

    Args:
        pixels: `[N, 28, 28]`, 0..255, ink high.
        adapter: The form.

    Returns:
        `[N, *adapter.shape]`.
    """
    before = (adapter.side - SIDE) // 2
    margin = (before, adapter.side - SIDE - before)
    images = np.pad(pixels, ((0, 0), margin, margin))[..., None]
    images = np.repeat(images, adapter.channels, axis=3)
    if adapter.channels_first:
        images = images.transpose(0, 3, 1, 2)
    scaled = images * np.float32(adapter.factor) + np.float32(adapter.offset)
    return scaled.reshape(len(pixels), *adapter.shape).astype(np.float32)


def to_outputs(output: NDArray[np.float32], adapter: Adapter, logits: Any = None) -> Outputs:
    """Turn the output of a file, `[N, classes]`, into logits and probabilities."""
    output = output[:, list(adapter.sources)]
    if adapter.output == "logits":
        return Outputs(softmax(output), output, output)
    if adapter.output == "sigmoid":
        output = output / np.maximum(output.sum(axis=1, keepdims=True), 1e-30)
    scores = log_probabilities(output) if logits is None else logits[:, list(adapter.sources)]
    return Outputs(output, scores, scores)


class _Runner:
    """One interpreter that keeps its tensors, and a plain one whose kernels are faster."""

    def __init__(self, content: bytes) -> None:
        self.interpreter = open_tflite(content)
        with without_native_logs():
            try:
                self.interpreter.allocate_tensors()
                self.plain = Interpreter(model_content=content)
                self.plain.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                raise BundleError(f"The .tflite file cannot be run: {error}") from error
        inputs, outputs = (
            self.interpreter.get_input_details(),
            self.interpreter.get_output_details(),
        )
        if len(inputs) != 1:
            raise BundleError(f"The .tflite file takes {len(inputs)} inputs; a digit is one image.")
        self.input, self.output = inputs[0], outputs[0]
        self.details = {each["index"]: each for each in self.interpreter.get_tensor_details()}

    def answer(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run one image in the plain interpreter; return the output `[classes]`."""
        self.plain.set_tensor(self.input["index"], self._quantised(values))
        self.plain.invoke()
        output = self.plain.get_tensor(self.output["index"])
        return self._dequantised(output, self.output["index"]).reshape(-1)

    def run(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run one image in the input's form, keep all tensors; return the output `[classes]`."""
        self.interpreter.set_tensor(self.input["index"], self._quantised(values))
        self.interpreter.invoke()
        return self.read(self.output["index"]).reshape(-1)

    def _quantised(self, values: NDArray[np.float32]) -> NDArray[Any]:
        dtype, (scale, zero) = np.dtype(self.input["dtype"]), self.input["quantization"]
        shaped = values.reshape(self.input["shape"])
        if dtype.kind == "f":
            return shaped.astype(dtype)
        if scale:
            shaped = shaped / scale + zero
        limits = np.iinfo(dtype)
        return np.clip(np.rint(shaped), limits.min, limits.max).astype(dtype)

    def read(self, index: int) -> NDArray[np.float32]:
        """Return a tensor that was kept as float32, without its quantisation."""
        return self._dequantised(self.interpreter.get_tensor(index), index)

    def _dequantised(self, values: NDArray[Any], index: int) -> NDArray[np.float32]:
        if values.dtype.kind == "f":
            return np.asarray(values, np.float32)
        parameters = self.details[index]["quantization_parameters"]
        scales, zeros = parameters["scales"], parameters["zero_points"]
        if not len(scales):
            return np.asarray(values, np.float32)
        shape = [1] * values.ndim
        if len(scales) > 1:
            shape[parameters["quantized_dimension"]] = len(scales)
        return np.asarray(
            (values.astype(np.float32) - zeros.reshape(shape)) * scales.reshape(shape), np.float32
        )


class TfliteRuntime:
    """A pool of interpreters that run one imported file, image by image."""

    def __init__(self, content: bytes, adapter: Adapter, *, interpreters: int) -> None:
        """Open a file.

        Args:
            content: The file.
            adapter: How an image becomes its input, and its output probabilities.
            interpreters: Calls that run at the same time, at most.

        Raises:
            BundleError: The file is damaged or cannot be run.
        """
        self._adapter = adapter
        self._idle: queue.LifoQueue[_Runner] = queue.LifoQueue()
        first = _Runner(content)
        self._idle.put(first)
        for _ in range(interpreters - 1):
            self._idle.put(_Runner(content))
        first.run(arrange(np.zeros((1, SIDE, SIDE), np.float32), adapter)[0])
        self.network, self._tensors = _read_network(first)
        self._logits = _logits_tensor(first)

    def predict(self, images: Pixels) -> Outputs:
        """Return the outputs for `[N, 28, 28]` images, 0..255, ink high."""
        values, classes = arrange(images.astype(np.float32), self._adapter), self.classes
        rows, logits = np.empty((len(images), classes), np.float32), None
        if self._logits is not None:
            logits = np.empty_like(rows)

        def work(runner: _Runner) -> None:
            for at, value in enumerate(values):
                rows[at] = runner.answer(value)
                if logits is not None and self._logits is not None:
                    runner.run(value)  # for the logits, which a plain interpreter does not keep
                    logits[at] = runner.read(self._logits).reshape(-1)

        self._borrow(work)
        return to_outputs(rows, self._adapter, logits)

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return len(self._adapter.sources)

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Return every operation's output for `[N, 28, 28]` images, by its name."""
        values = arrange(images.astype(np.float32), self._adapter)
        rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in self._tensors}

        def work(runner: _Runner) -> None:
            for value in values:
                runner.run(value)
                for name, index in self._tensors.items():
                    rows[name].append(_without_batch(runner.read(index)))

        self._borrow(work)
        return {name: np.stack(parts) for name, parts in rows.items()}

    def _borrow(self, work: Callable[[_Runner], None]) -> None:
        runner = self._idle.get()
        try:
            work(runner)
        finally:
            self._idle.put(runner)


def _without_batch(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return one image's values with at least one axis."""
    inner = values[0] if values.ndim > 1 and values.shape[0] == 1 else values
    return np.atleast_1d(inner)


def _read_network(runner: _Runner) -> tuple[Network, dict[str, int]]:
    """Return the operations as layers without arithmetic, and the tensor of each."""
    operations = runner.interpreter._get_ops_details()
    if len(operations) > MAX_OPERATIONS:
        raise BundleError(f"The .tflite file has {len(operations)} operations.")
    made: dict[int, int] = {int(runner.input["index"]): IMAGE}
    layers, tensors, counts = list[Layer](), dict[str, int](), dict[str, int]()
    for operation in operations:
        kind = str(operation["op_name"])
        outputs = [int(index) for index in operation["outputs"]]
        if not outputs or kind == "DELEGATE":
            continue
        inputs = [int(index) for index in operation["inputs"] if index >= 0]
        name = _free_name(kind, counts)
        shape = _without_batch(runner.read(outputs[0])).shape
        sources = tuple(made[index] for index in inputs if index in made)
        shapes = tuple(
            (SIDE, SIDE, 1) if at == IMAGE else layers[at].shapes.output for at in sources
        )
        weights = {
            f"input_{nth}": runner.read(index)
            for nth, index in enumerate(inputs)
            if index not in made and runner.details[index]["dtype"] != np.str_
        }
        layer = Layer(
            len(layers), name, kind, {}, sources or (IMAGE,), weights, Shapes(shapes, shape), None
        )
        made |= dict.fromkeys(outputs, layer.index)
        tensors[name] = outputs[0]
        layers.append(layer)
    output = made.get(int(runner.output["index"]), IMAGE)
    if output == IMAGE:
        raise BundleError("The .tflite file has no operations.")
    return Network(tuple(layers), output, (SIDE, SIDE, 1)), tensors


def _free_name(kind: str, counts: dict[str, int]) -> str:
    plain = re.sub(r"[^a-z0-9]+", "_", kind.lower()).strip("_") or "operation"
    counts[plain] = counts.get(plain, -1) + 1
    return f"{plain}_{counts[plain]}" if counts[plain] else plain


def _logits_tensor(runner: _Runner) -> int | None:
    """Return the input of a final softmax; None if the file ends in something else."""
    output, producers = int(runner.output["index"]), dict[int, Any]()
    for operation in runner.interpreter._get_ops_details():
        producers |= dict.fromkeys(map(int, operation["outputs"]), operation)
    operation = producers.get(output)
    while operation and operation["op_name"] in ("DEQUANTIZE", "QUANTIZE", "RESHAPE"):
        operation = producers.get(int(operation["inputs"][0]))
    if operation is None or operation["op_name"] != "SOFTMAX":
        return None
    index = int(operation["inputs"][0])
    return index if runner.details[index]["dtype"] == np.float32 else None
