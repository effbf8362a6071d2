"""The compiled twin of a network, run by LiteRT with XNNPACK.

An interpreter is not safe to share between threads, so a pool lends one at a time. Tensors are
allocated once for each batch size and never resized. Imports no TensorFlow.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from app.bundle import COMPILED_FILE, INT8_FILE, Bundle
from app.errors import BundleError
from app.inference.runtime import Outputs, Pixels

PREDICT_OUTPUTS = ("features", "logits", "probabilities")


class LiteRtRuntime:
    """A pool of interpreters over one compiled network."""

    def __init__(
        self,
        twin: bytes,
        *,
        int8: bytes | None = None,
        interpreters: int,
        ready: int | None = None,
        threads: int = 1,
        batches: tuple[int, ...] = (1,),
    ) -> None:
        """Load the network and run each batch size once, so that the first request is fast.

        Args:
            twin: Content of a `.tflite` file with the signatures `predict` and `inspect`.
            int8: Content of a `.tflite` file of the same network in int8, for `predict`; without
                it the twin predicts too.
            interpreters: How many calls may run at once; each holds its own copy of the
                activations.
            ready: How many of them are loaded now, at least 1; each of the others when that many
                calls run for the first time. None loads all.
            threads: Threads that one call uses.
            batches: Numbers of images that are run together where a call has as many, the largest
                first, 1 last. Alone is as fast: the classic network takes 351 us an image one by
                one and 350 in batches of 16 on one thread, 333 and 335 on two; each batch of 32
                that is held ready takes 14 MB. But between two runs a thread waits its turn among
                the other threads.

        Raises:
            BundleError: The content is no LiteRT model or lacks the signature.
        """
        self._pool = _Pool(
            partial(_Interpreter, twin, int8, batches, threads),
            ready=interpreters if ready is None else ready,
            most=interpreters,
        )

    def predict(self, images: Pixels, *, exact: bool = False) -> Outputs:
        """Read images; waits while all interpreters are lent.

        Args:
            images: uint8 or float32 `[N, 28, 28]`, 0..255, ink high; N may be 0.
            exact: In float32, though int8 is there.

        Returns:
            The network's outputs for each image, in order.
        """
        pixels = images.astype(np.float32)[..., None]  # (N, 28, 28, 1)
        interpreter = self._pool.take()
        try:
            parts = interpreter.run_all(pixels, exact=exact)
        finally:
            self._pool.give(interpreter)
        if len(parts) == 1:
            return Outputs(**parts[0])
        joined = {name: np.concatenate([part[name] for part in parts]) for name in PREDICT_OUTPUTS}
        return Outputs(**joined)

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Return every layer's output; waits while all interpreters are lent.

        Args:
            images: uint8 or float32 `[N, 28, 28]`, 0..255, ink high; N at least 1.

        Returns:
            The outputs float32 `[N, ...]` by the layer's path.
        """
        pixels = images.astype(np.float32)[..., None]  # (N, 28, 28, 1)
        interpreter = self._pool.take()
        try:
            parts = [interpreter.inspect(pixel[None]) for pixel in pixels]
        finally:
            self._pool.give(interpreter)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class Float32Runtime:
    """The float32 twin of a network that is served in int8."""

    def __init__(self, runtime: LiteRtRuntime) -> None:
        """Use the interpreters of `runtime`."""
        self._runtime = runtime

    def predict(self, images: Pixels) -> Outputs:
        """Read images as `LiteRtRuntime.predict` does, in float32."""
        return self._runtime.predict(images, exact=True)

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Return what `LiteRtRuntime.inspect` does."""
        return self._runtime.inspect(images)


def open_runtime(bundle: Bundle, *, interpreters: int = 1, threads: int = 1) -> LiteRtRuntime:
    """Load a bundle's network as it is served: in int8, if the bundle has that.

    Raises:
        BundleError: The bundle has no compiled twin, or a file is not as published or no network.
    """
    return LiteRtRuntime(
        bundle.read(COMPILED_FILE),
        int8=bundle.read(INT8_FILE) if bundle.has(INT8_FILE) else None,
        interpreters=interpreters,
        threads=threads,
    )


class _Interpreter:
    """One network, loaded once per batch size."""

    def __init__(
        self, twin: bytes, int8: bytes | None, batch_sizes: tuple[int, ...], threads: int
    ) -> None:
        self._served = {}
        for size in batch_sizes:
            interpreter = _open(int8 or twin, "predict", PREDICT_OUTPUTS, threads)
            self._served[size] = interpreter.get_signature_runner("predict")
        self._exact = self._served
        if int8:
            interpreter = _open(twin, "predict", PREDICT_OUTPUTS, threads)
            self._exact = {1: interpreter.get_signature_runner("predict")}
        for runners in (self._served, self._exact):
            for size, runner in runners.items():
                runner(image=np.zeros((size, 28, 28, 1), np.float32))
        _demand(interpreter, "inspect", ())
        # One image at a time: the outputs of all layers are a few MB of each.
        self._inspector = interpreter.get_signature_runner("inspect")
        self.inspect(np.zeros((1, 28, 28, 1), np.float32))

    def inspect(self, pixels: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        outputs: dict[str, NDArray[np.float32]] = self._inspector(image=pixels)
        return outputs

    def run_all(
        self, pixels: NDArray[np.float32], *, exact: bool
    ) -> list[dict[str, NDArray[np.float32]]]:
        """Run a batch of any length in parts of the sizes that are loaded."""
        parts, start = [], 0
        runners = self._exact if exact else self._served
        for size, runner in runners.items():
            while len(pixels) - start >= size:
                parts.append(runner(image=pixels[start : start + size]))
                start += size
        if not parts:
            empty = runners[1](image=np.zeros((1, 28, 28, 1), np.float32))
            parts.append({name: values[:0] for name, values in empty.items()})
        return parts


class _Pool:
    """Lends interpreters, to who has waited longest; loads more when more are asked for at once.

    A queue would give one back to the thread that has just returned it and asks again, before
    those that wait have woken up.
    """

    def __init__(self, load: Callable[[], _Interpreter], *, ready: int, most: int) -> None:
        self._load, self._to_come = load, most - ready
        self._lock, self._free = threading.Lock(), [load() for _ in range(ready)]
        self._waiting: deque[queue.SimpleQueue[_Interpreter]] = deque()

    def take(self) -> _Interpreter:
        with self._lock:
            if self._free:
                return self._free.pop()
            if self._to_come:
                self._to_come -= 1
                turn = None
            else:
                turn = queue.SimpleQueue[_Interpreter]()
                self._waiting.append(turn)
        if turn:
            return turn.get()
        try:
            return self._load()
        except BaseException:
            with self._lock:
                self._to_come += 1
            raise

    def give(self, interpreter: _Interpreter) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().put(interpreter)
            else:
                self._free.append(interpreter)


def _open(content: bytes, signature: str, outputs: tuple[str, ...], threads: int) -> Interpreter:
    try:
        interpreter = Interpreter(model_content=content, num_threads=threads)
    except (ValueError, RuntimeError) as error:
        raise BundleError(f"The .tflite file is no LiteRT model: {error}") from error
    _demand(interpreter, signature, outputs)
    return interpreter


def _demand(interpreter: Interpreter, signature: str, outputs: tuple[str, ...]) -> None:
    """Raise a BundleError where a network lacks a signature or one of its outputs."""
    signatures = interpreter.get_signature_list()
    if signature not in signatures or not set(outputs) <= set(signatures[signature]["outputs"]):
        wanted = f" with the outputs {', '.join(outputs)}" if outputs else ""
        raise BundleError(
            f"The .tflite file needs a signature {signature!r}{wanted}; it has {signatures}."
        )
