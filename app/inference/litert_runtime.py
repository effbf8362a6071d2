"""Runs a compiled model with LiteRT and its XNNPACK kernels.

An interpreter must not be shared between threads, so a pool lends each to one thread at a time.
Tensors are allocated once for each batch size and never resized. Imports no TensorFlow.
"""

import math
import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property, partial
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from app.bundle import COMPILED_FILE, INT8_FILE, Bundle
from app.errors import BundleError
from app.inference.native_logs import without_native_logs
from app.inference.runtime import Outputs, Pixels

MAX_TENSOR_BYTES = 1 << 29  # weights and activations; the largest published network has 58 MB
PREDICT_OUTPUTS = ("features", "logits", "probabilities")

_first_loaded = threading.Event()


class LiteRtRuntime:
    """A pool of interpreters that run one compiled model."""

    def __init__(
        self,
        compiled: bytes,
        *,
        int8: bytes | None = None,
        interpreters: int,
        preloaded: int | None = None,
        threads: int = 1,
        batch_sizes: tuple[int, ...] = (1,),
    ) -> None:
        """Load the model and run each batch size once, so that the first request is fast.

        Larger batches are not faster by themselves: on one thread the classic network takes 351 us
        per image one by one and 350 us in batches of 16; on two threads, 333 and 335 us. They save
        waiting: between two runs a thread has to take Python's global lock again. An interpreter
        for batches of 32 takes 14 MB.

        Args:
            compiled: Content of a `.tflite` file with the signatures `predict` and `inspect`.
            int8: Content of a `.tflite` file of the same network in int8, which then runs
                `predict`.
            interpreters: Calls that run at the same time, at most. Each has its own activations.
            preloaded: Interpreters to load now, at least 1; the others are loaded on demand. None
                loads all.
            threads: Threads of one call.
            batch_sizes: Images that run together if a call has as many; largest first, 1 last.

        Raises:
            BundleError: The content is no LiteRT model or lacks a signature.
        """
        # The first interpreter of a process logs that it uses XNNPACK.
        with nullcontext() if _first_loaded.is_set() else without_native_logs():
            self._pool = _InterpreterPool(
                partial(_Interpreter, compiled, int8, batch_sizes, threads),
                preloaded=interpreters if preloaded is None else preloaded,
                size=interpreters,
            )
        _first_loaded.set()

    def predict(self, images: Pixels, *, in_float32: bool = False) -> Outputs:
        """Run images; wait while all interpreters are in use.

        Args:
            images: uint8 or float32 `[N, 28, 28]`, 0..255, ink high; N may be 0.
            in_float32: Use the float32 model even if there is one in int8.

        Returns:
            The network's outputs for each image, in order.
        """
        pixels = images.astype(np.float32)[..., None]  # (N, 28, 28, 1)
        interpreter = self._pool.acquire()
        try:
            batches = interpreter.predict(pixels, in_float32=in_float32)
        finally:
            self._pool.release(interpreter)
        if len(batches) == 1:
            return Outputs(**batches[0])
        joined = {
            name: np.concatenate([outputs[name] for outputs in batches]) for name in PREDICT_OUTPUTS
        }
        return Outputs(**joined)

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Return every layer's output; wait while all interpreters are in use.

        Args:
            images: uint8 or float32 `[N, 28, 28]`, 0..255, ink high; N at least 1.

        Returns:
            The outputs float32 `[N, ...]` by the layer's path.
        """
        pixels = images.astype(np.float32)[..., None]  # (N, 28, 28, 1)
        interpreter = self._pool.acquire()
        try:
            batches = [interpreter.inspect(pixel[None]) for pixel in pixels]
        finally:
            self._pool.release(interpreter)
        return {name: np.concatenate([outputs[name] for outputs in batches]) for name in batches[0]}


class Float32Runtime:
    """Runs the float32 model of a network that is otherwise served in int8."""

    def __init__(self, runtime: LiteRtRuntime) -> None:
        """Share the interpreters of `runtime`."""
        self._runtime = runtime

    def predict(self, images: Pixels) -> Outputs:
        """Run images as `LiteRtRuntime.predict` does, in float32."""
        return self._runtime.predict(images, in_float32=True)

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Return what `LiteRtRuntime.inspect` returns, which is always in float32."""
        return self._runtime.inspect(images)


def open_runtime(bundle: Bundle, *, interpreters: int = 1, threads: int = 1) -> LiteRtRuntime:
    """Load a bundle's network as it is served: in int8 if the bundle has that, else in float32.

    Raises:
        BundleError: The bundle has no compiled model, or a file is damaged or no LiteRT model.
    """
    return LiteRtRuntime(
        bundle.read(COMPILED_FILE),
        int8=bundle.read(INT8_FILE) if bundle.has(INT8_FILE) else None,
        interpreters=interpreters,
        threads=threads,
    )


class _Interpreter:
    """One copy of a network: a signature runner for each batch size.

    What looks inside the network is loaded when it is first needed: most copies only predict.
    """

    def __init__(
        self, compiled: bytes, int8: bytes | None, batch_sizes: tuple[int, ...], threads: int
    ) -> None:
        self._compiled, self._is_int8, self._threads = compiled, int8 is not None, threads
        self._runners = {}
        for size in batch_sizes:
            self._last = _open(int8 or compiled, "predict", PREDICT_OUTPUTS, threads)
            self._runners[size] = self._last.get_signature_runner("predict")
            self._runners[size](image=np.zeros((size, 28, 28, 1), np.float32))

    @cached_property
    def _float32(self) -> Interpreter:
        if not self._is_int8:
            return self._last
        return _open(self._compiled, "predict", PREDICT_OUTPUTS, self._threads)

    @cached_property
    def _float32_runners(self) -> dict[int, Any]:
        if not self._is_int8:
            return self._runners
        return {1: self._float32.get_signature_runner("predict")}

    @cached_property
    def _inspector(self) -> Any:
        _check_signature(self._float32, "inspect", ())
        return self._float32.get_signature_runner("inspect")

    # Images are inspected one by one: the outputs of all layers of an image take a few MB.
    def inspect(self, pixels: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        outputs: dict[str, NDArray[np.float32]] = self._inspector(image=pixels)
        return outputs

    def predict(
        self, pixels: NDArray[np.float32], *, in_float32: bool
    ) -> list[dict[str, NDArray[np.float32]]]:
        """Split `[N, 28, 28, 1]` into batches of the loaded sizes; return each batch's outputs."""
        batches, start = [], 0
        runners = self._float32_runners if in_float32 else self._runners
        for size, runner in runners.items():
            while len(pixels) - start >= size:
                batches.append(runner(image=pixels[start : start + size]))
                start += size
        if not batches:
            blank = runners[1](image=np.zeros((1, 28, 28, 1), np.float32))
            batches.append({name: values[:0] for name, values in blank.items()})
        return batches


class _InterpreterPool:
    """Lends interpreters in the order in which threads ask; loads more while there are too few.

    A plain queue is unfair: the thread that has just returned an interpreter takes it again before
    a waiting thread wakes up.
    """

    def __init__(self, load: Callable[[], _Interpreter], *, preloaded: int, size: int) -> None:
        self._load, self._size, self._unloaded = load, size, size - preloaded
        self._lock, self._idle = threading.Lock(), [load() for _ in range(preloaded)]
        self._waiting: deque[queue.SimpleQueue[_Interpreter]] = deque()
        _pools.add(self)

    def forget_threads(self) -> None:
        """After a fork, replace the interpreters that threads of the parent hold."""
        self._lock, self._waiting = threading.Lock(), deque()
        self._unloaded = self._size - len(self._idle)

    def acquire(self) -> _Interpreter:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._unloaded:
                self._unloaded -= 1
                handover = None
            else:
                handover = queue.SimpleQueue[_Interpreter]()
                self._waiting.append(handover)
        if handover:
            return handover.get()
        try:
            return self._load()
        except BaseException:
            with self._lock:
                self._unloaded += 1
            raise

    def release(self, interpreter: _Interpreter) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().put(interpreter)
            else:
                self._idle.append(interpreter)


_pools: weakref.WeakSet[_InterpreterPool] = weakref.WeakSet()


def _forget_threads() -> None:
    for pool in list(_pools):
        pool.forget_threads()


os.register_at_fork(after_in_child=_forget_threads)


def _open(content: bytes, signature: str, outputs: tuple[str, ...], threads: int) -> Interpreter:
    try:
        interpreter = Interpreter(model_content=content, num_threads=threads)
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"The .tflite file is no LiteRT model: {error}") from error
    _check_signature(interpreter, signature, outputs)
    check_tensors(interpreter)
    return interpreter


def check_compiled(content: bytes) -> None:
    """Check a compiled model without allocating its tensors.

    Raises:
        BundleError: It is no LiteRT model, or its tensors are too large.
    """
    _open(content, "predict", PREDICT_OUTPUTS, threads=1)


def check_tensors(interpreter: Interpreter) -> None:
    """Check the size of all tensors of a model for one image, before they are allocated.

    Raises:
        BundleError: They are too large.
    """
    declared = sum(
        math.prod(map(int, tensor["shape"])) * np.dtype(tensor["dtype"]).itemsize
        for subgraph in range(interpreter._interpreter.NumSubgraphs())
        for tensor in interpreter.get_tensor_details(subgraph)
    )
    if declared > MAX_TENSOR_BYTES:
        raise BundleError(
            f"The .tflite file declares tensors of {declared} bytes; at most {MAX_TENSOR_BYTES} are"
            " allocated."
        )


def _check_signature(interpreter: Interpreter, signature: str, outputs: tuple[str, ...]) -> None:
    """Raise a `BundleError` if the model lacks a signature or one of its outputs."""
    signatures = interpreter.get_signature_list()
    if signature not in signatures or not set(outputs) <= set(signatures[signature]["outputs"]):
        expected = f" with the outputs {', '.join(outputs)}" if outputs else ""
        raise BundleError(
            f"The .tflite file needs a signature {signature!r}{expected}; it has {signatures}."
        )
