"""Imports a `.tflite` file, which is served as it is: scale, classes, proof."""

import time
from dataclasses import dataclass

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from app.bundle import Adapter
from app.errors import BundleError
from app.inference.native_logs import without_native_logs
from app.inference.tflite_runtime import TfliteRuntime, arrange, open_tflite
from training.data import Images
from training.errors import ImportingError
from training.importing.adapter import MAX_PADDED, SIDE, Fit, InputForm, form_of
from training.importing.head import MAX_CLASSES, Kind
from training.importing.proof import Agreement
from training.importing.scale import CANDIDATES, RAW, Scale, log_probabilities

RANGE_TOLERANCE = 0.05  # of the range of a quantised input
PROVEN = 100  # digits that are compared with a plain interpreter


@dataclass(frozen=True)
class TfliteCore:
    """A `.tflite` file before its scale is known.

    Attributes:
        content: The file.
        form: Its input form.
        kind: What its output is.
        classes: Number of classes.
        seconds: Time of one image.
        limits: Smallest and largest number that a quantised input can hold; None for float32.
        step: Step of a quantised output, 0 for float32.
    """

    content: bytes
    form: InputForm
    kind: Kind
    classes: int
    seconds: float
    limits: tuple[float, float] | None = None
    step: float = 0.0

    @property
    def scales(self) -> tuple[Scale, ...]:
        """Return the scales to try; the range of a quantised input leaves few of them."""
        if self.form.integers:
            return (RAW,)
        if self.limits is None:
            return CANDIDATES
        low, high = self.limits
        fitting = tuple(
            scale
            for scale in CANDIDATES
            if np.allclose(scale.limits, (low, high), atol=RANGE_TOLERANCE * (high - low))
        )
        return fitting or CANDIDATES

    def adapter(self, scale: Scale, sources: list[int]) -> Adapter:
        """Return how an image becomes the input of the file."""
        return Adapter(
            shape=list(self.form.shape),
            side=self.form.side,
            channels=3 if self.form.channels == 3 else 1,
            channels_first=self.form.channels_first,
            factor=scale.factor,
            offset=scale.offset,
            output="logits" if self.kind == "log_softmax" else self.kind,
            sources=sources,
        )

    def answer(
        self, images: NDArray[np.float32], fit: Fit, factor: float, offset: float
    ) -> NDArray[np.float32]:
        """Return logarithms of probabilities, `[N, classes]`, for images `[N, 28, 28, 1]`."""
        adapter = self.adapter(Scale("", factor, offset), list(range(self.classes)))
        values = _run(self.content, arrange(images[..., 0], adapter))
        if self.kind in ("softmax", "sigmoid", "probabilities"):
            total = np.maximum(values.sum(axis=1, keepdims=True), 1e-30)
            least = max(self.step / 2, 1e-30)  # what a quantised 0 may be
            return log_probabilities(np.maximum(values / total, least), "probabilities")
        return log_probabilities(values, "logits")


def read_core(content: bytes, sample: NDArray[np.float32]) -> TfliteCore:
    """Look at a `.tflite` file.

    Args:
        content: The file.
        sample: Some images, `[N, 28, 28, 1]`, 0..255.

    Raises:
        ImportingError: It cannot be run, or its input or output is not that of a digit.
    """
    form, last, limits, step = _look(content)
    raw = TfliteCore(content, form, "logits", 2, 0.0)
    values = arrange(sample[..., 0], raw.adapter(Scale("0..1", 1 / 255), [0, 1]))
    began = time.perf_counter()
    output = _run(content, values)
    seconds = (time.perf_counter() - began) / len(values)
    classes = output.shape[1]
    if not 2 <= classes <= MAX_CLASSES:
        raise ImportingError(
            f"The network's output has {classes} numbers; expected 2 to {MAX_CLASSES} classes."
        )
    kind: Kind = "logits"
    if last == "LOGISTIC":
        kind = "sigmoid"
    elif (output >= 0).all() and np.allclose(output.sum(axis=1), 1, atol=0.05):
        kind = "softmax" if last == "SOFTMAX" else "probabilities"
    return TfliteCore(content, form, kind, classes, seconds, limits, step)


def compare_with_interpreter(
    core: TfliteCore, runtime: TfliteRuntime, adapter: Adapter, images: Images
) -> Agreement:
    """Compare the service's answers with those of a plain interpreter of the file."""
    some = images[:PROVEN]
    expected = _run(core.content, arrange(some.astype(np.float32), adapter))[:, adapter.sources]
    if core.kind == "sigmoid":
        expected = expected / np.maximum(expected.sum(axis=1, keepdims=True), 1e-30)
    elif core.kind == "logits":
        expected = np.exp(log_probabilities(expected, "logits"))
    actual = runtime.predict(some).probabilities
    return Agreement(len(some), float(np.abs(expected - actual).max()))


def _look(content: bytes) -> tuple[InputForm, str, tuple[float, float] | None, float]:
    """Return input form, name of the last operation, and `limits` and `step` of a core."""
    interpreter = _open(content)
    inputs = interpreter.get_input_details()
    if len(inputs) != 1:
        names = ", ".join(str(each["name"]) for each in inputs)
        raise ImportingError(
            f"The network takes {len(inputs)} inputs ({names}); a digit is one image."
        )
    shape, dtype = tuple(int(size) for size in inputs[0]["shape"]), np.dtype(inputs[0]["dtype"])
    if shape[:1] != (1,):
        raise ImportingError(f"The network takes {list(shape)}; expected a batch of one image.")
    integers = dtype.kind in "iu" and not inputs[0]["quantization"][0]
    form = form_of(shape[1:], integers=integers)
    if not SIDE <= form.side <= MAX_PADDED:
        raise ImportingError(
            f"The network takes images of {form.side}x{form.side}; a .tflite file is served at"
            f" {SIDE} to {MAX_PADDED} rows only. Import its Keras file instead."
        )
    output = int(interpreter.get_output_details()[0]["index"])
    producers = {
        int(index): operation
        for operation in interpreter._get_ops_details()
        for index in operation["outputs"]
        if operation["op_name"] != "DELEGATE"
    }
    operation = producers.get(output)
    while operation and operation["op_name"] in ("DEQUANTIZE", "QUANTIZE", "RESHAPE"):
        operation = producers.get(int(operation["inputs"][0]))
    last = str(operation["op_name"]) if operation else ""
    step = float(interpreter.get_output_details()[0]["quantization"][0])
    scale, zero = inputs[0]["quantization"]
    if not scale or dtype.kind == "f":
        return form, last, None, step
    numbers = np.iinfo(dtype)
    limits = float((numbers.min - zero) * scale), float((numbers.max - zero) * scale)
    return form, last, limits, step


def _open(content: bytes) -> Interpreter:
    try:
        open_tflite(content)  # checks the sizes
        with without_native_logs():
            interpreter = Interpreter(model_content=content)
            interpreter.allocate_tensors()
    except BundleError as error:
        raise ImportingError(error.detail.rstrip(".") + ".") from error
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ImportingError(f"The .tflite file cannot be run: {reason}.") from error
    return interpreter


def _run(content: bytes, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run images in the input's form with a plain interpreter; return `[N, classes]`."""
    interpreter = _open(content)
    taken, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for value in values:
        interpreter.set_tensor(taken["index"], _quantise(value.reshape(taken["shape"]), taken))
        interpreter.invoke()
        rows.append(_dequantise(interpreter.get_tensor(made["index"]), made).reshape(-1))
    return np.stack(rows)


def _quantise(values: NDArray[np.float32], details: dict[str, object]) -> NDArray[np.generic]:
    dtype = np.dtype(details["dtype"])  # type: ignore[call-overload]
    if dtype.kind == "f":
        return values.astype(dtype)
    scale, zero = details["quantization"]  # type: ignore[misc]
    shifted = values / scale + zero if scale else values  # type: ignore[has-type]
    limits = np.iinfo(dtype)
    return np.clip(np.rint(shifted), limits.min, limits.max).astype(dtype)


def _dequantise(values: NDArray[np.generic], details: dict[str, object]) -> NDArray[np.float32]:
    scale, zero = details["quantization"]  # type: ignore[misc]
    raw = np.asarray(values, np.float32)
    return (raw - zero) * np.float32(scale) if scale else raw  # type: ignore[has-type]
