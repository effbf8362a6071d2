"""The models that a process serves, by name.

Opens every bundle in a folder, loads its compiled twin, and makes the twin where a bundle has
none. Knows bundles and runtimes; knows nothing of requests.
"""

import logging
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from app.bundle import COMPILED_FILE, INT8_FILE, KERAS_FILE, METADATA, Bundle, open_bundle
from app.embeddings import EMBEDDINGS_FILE, Embeddings, read_embeddings
from app.errors import BundleError, NotFoundError, NotReadyError
from app.imaging.decode import decode
from app.inference.batcher import BatchingRuntime
from app.inference.keras_runtime import compile_model, load_keras
from app.inference.litert_runtime import Float32Runtime, LiteRtRuntime
from app.inference.runtime import Runtime
from app.network.network import Network, read_network
from app.samples import sample_png

log = logging.getLogger(__name__)
Stamp = tuple[int, ...]
RUNS = 15  # of a network, to learn what one image takes
# Images that a network in int8 runs together; being held ready, these take 0.5 MB in all.
BATCHES = (16, 8, 4, 2, 1)
TOLERANCE = 1e-3  # of a probability, between a twin and the arithmetic of its Keras file
INT8_TOLERANCE = 0.05  # likewise of a twin in int8, on digits that are easy to read
# How long one of many requests may keep a thread to itself, and the digits of the longest part:
# half as many take 1 % longer each.
PART_S, MAX_PART = 0.03, 512


@dataclass(frozen=True)
class Model:
    """A bundle and the runtime that serves it.

    Attributes:
        network: The layers, for looking inside.
        embeddings: Where training digits lie, if the bundle says.
        seconds: What one image took when the model was loaded, the median of some runs.
        exact: The same network in float32, where `runtime` is in int8.
        reserved: The same network once more, for the event loop alone, where it is quick.
    """

    bundle: Bundle
    runtime: Runtime
    network: Network
    embeddings: Embeddings | None
    seconds: float = float("inf")
    exact: Runtime | None = None
    event_loop_runtime: Runtime | None = None

    @property
    def part(self) -> int:
        """Return how many digits a thread should run before it looks at what else waits."""
        runs = int(PART_S / self.seconds) // BATCHES[0]
        return min(max(1, runs) * BATCHES[0], MAX_PART)

    @property
    def in_float32(self) -> "Model":
        """The same model in float32, whose answers are those of the layers that are shown of it."""
        if not self.exact:
            return self
        return replace(self, runtime=self.exact, exact=None, event_loop_runtime=None)

    @property
    def batches_requests(self) -> bool:
        """Tell whether the runtime puts the images of concurrent calls together."""
        return isinstance(self.runtime, BatchingRuntime)

    @cached_property
    def on_event_loop(self) -> "Model":
        """The same model on its own interpreter, for the event loop (`event_loop_runtime`)."""
        return replace(self, runtime=self.event_loop_runtime) if self.event_loop_runtime else self


class Registry:
    """Every model in a folder: bundles are fixed at once, the runtimes come with `load`."""

    def __init__(
        self,
        folder: Path,
        default: str,
        *,
        interpreters: int,
        max_batch: int = 1,
        max_delay_s: float = 0.0,
        quick_below_s: float = 0.0,
    ) -> None:
        """Open and verify every bundle.

        Args:
            folder: The folder with one bundle in each subfolder.
            default: Name of the model that answers where none is named.
            interpreters: Calls that a model serves at once; the default one is ready for them.
            max_batch: Most images of concurrent calls that are run together; 1 runs each at once.
            max_delay_s: Longest time that an image waits for others while the network is busy.
            quick_below_s: A network that takes at most this long for an image is quick.

        Raises:
            BundleError: There is no bundle, a damaged one, or none with the default's name.
        """
        folders = sorted(path.parent for path in folder.glob(f"*/{METADATA}"))
        strays = sorted(
            path.parent for path in folder.glob(f"*/{KERAS_FILE}") if path.parent not in folders
        )
        if strays:
            raise BundleError(
                f"{strays[0]} has no {METADATA}: the bundle is incomplete. Restore it or delete it."
            )
        if not folders:
            raise BundleError(
                f"{folder} holds no model bundle (no */{METADATA}). Set DIGITSCOPE_MODEL_DIR to a"
                " folder of bundles, or make one with 'digitscope train'."
            )
        self.bundles = {path.name: open_bundle(path) for path in folders}
        if default not in self.bundles:
            raise BundleError(
                f"The default model {default!r} is not in {folder}, which holds"
                f" {', '.join(self.bundles)}. Set DIGITSCOPE_DEFAULT_MODEL to one of these."
            )
        self.default = default
        self._interpreters = interpreters
        self._max_batch, self._max_delay_s = max_batch, max_delay_s
        self._quick_below_s = quick_below_s
        self._models: dict[str, Model] = {}
        self._failures: dict[str, str] = {}
        self._maker: ThreadPoolExecutor | None = None
        self._stamps = {name: _stamp(bundle) for name, bundle in self.bundles.items()}
        self._refused: dict[str, Stamp] = {}
        self._loading = threading.Lock()
        # Told of each model that begins to serve: its name and version.
        self.serves: Callable[[str, int], None] = lambda name, version: None
        # Told of each run of images that were put together: how many.
        self.on_run: Callable[[int], None] = lambda images: None

    def load(self) -> None:
        """Load the default model; make the twins that bundles lack, one by one in the background.

        Another model is loaded when it is asked for: each takes some 20 to 50 MB, the
        ensemble 180.

        Raises:
            BundleError: The default's twin is no model that can be run.
        """
        bundle = self.bundles[self.default]
        if bundle.has(COMPILED_FILE):
            self._models[self.default] = self._load(bundle, bundle.read(COMPILED_FILE))
        missing = [name for name, bundle in self.bundles.items() if not bundle.has(COMPILED_FILE)]
        if missing:
            self._maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="twin")
            for name in missing:
                self._maker.submit(self._make, name)

    def reload(self, name: str) -> Model:
        """Load a model's bundle anew and put it in the place of the old one, all at once.

        Requests that have begun go on with the model that they have.

        Raises:
            NotFoundError: There is no such model.
            BundleError: The bundle is damaged, or its files do not give the same answers; the old
                model stays.
        """
        self.describe(name)
        with self._loading:
            fresh = self._load_anew(name)
        log.info("the model %s is now version %d", name, fresh.bundle.metadata.version)
        return fresh

    def _load_anew(self, name: str) -> Model:
        files = _stamp_of_files(self.bundles[name])
        try:
            return self._replace(name)
        except BundleError:
            self._refused[name] = files
            raise

    def _replace(self, name: str) -> Model:
        folder = self.bundles[name].folder
        stamp, bundle = _stamp(self.bundles[name]), open_bundle(folder)
        twin = (
            bundle.read(COMPILED_FILE)
            if bundle.has(COMPILED_FILE)
            else compile_model(load_keras(bundle.read(KERAS_FILE)))
        )
        fresh = self._load(bundle, twin)
        _check(fresh)
        self._models[name], self.bundles[name] = fresh, bundle
        self._stamps[name] = stamp
        self._failures.pop(name, None)
        self.serves(name, bundle.metadata.version)
        return fresh

    def changed(self) -> list[str]:
        """Return the models whose bundles have been written since they were loaded or refused."""
        return [
            name
            for name in {**self._models, **self._failures}
            if _stamp(self.bundles[name]) not in (None, self._stamps[name])
            and _stamp_of_files(self.bundles[name]) != self._refused.get(name)
        ]

    def close(self) -> None:
        """Stop making twins."""
        if self._maker:
            self._maker.shutdown(wait=True, cancel_futures=True)

    def get(self, name: str | None) -> Model:
        """Return the model of this name, or the default for None; load it if it is not loaded.

        Raises:
            NotFoundError: There is no such model.
            NotReadyError: It is still being compiled, or it cannot be loaded.
        """
        name = name or self.default
        if name in self._models:
            return self._models[name]
        bundle = self.describe(name)
        if name not in self._failures and bundle.has(COMPILED_FILE):
            with self._loading:
                if name not in self._models:
                    self._try(name)
        if name not in self._models:
            raise self._reason(name)
        return self._models[name]

    def wait_for(self, name: str | None) -> Model:
        """Return what `get` returns, after waiting for a twin that is still being made."""
        self.describe(name or self.default)
        if self._maker:
            self._maker.shutdown(wait=True)
        return self.get(name)

    def describe(self, name: str) -> Bundle:
        """Return the bundle of this name, loaded or not.

        Raises:
            NotFoundError: There is no such model.
        """
        if name not in self.bundles:
            raise NotFoundError(f"There is no model {name!r}.", valid=list(self.bundles))
        return self.bundles[name]

    def is_loaded(self, name: str | None) -> bool:
        """Tell whether a model, or the default for None, answers at once."""
        return (name or self.default) in self._models

    def is_ready(self, name: str) -> bool:
        """Tell whether a model can be asked, loaded or not."""
        compiled = name in self._models or self.bundles[name].has(COMPILED_FILE)
        return compiled and name not in self._failures

    def check_ready(self) -> None:
        """Do nothing when the default is loaded and no other model is still being compiled.

        A model that cannot be loaded refuses those who ask for it, and nobody else.

        Raises:
            NotReadyError: The models are not ready.
        """
        for name in self.bundles:
            if name == self.default:
                ready = self.is_loaded(name)
            else:
                ready = self.is_ready(name) or name in self._failures
            if not ready:
                raise self._reason(name)

    def _load(self, bundle: Bundle, twin: bytes) -> Model:
        try:
            # What is asked for seldom has one interpreter until more are wanted at once; each takes
            # some 10 MB, of the ensemble 60.
            ready = self._interpreters if bundle.metadata.name == self.default else 1
            int8 = bundle.read(INT8_FILE) if bundle.has(INT8_FILE) else None
            batches = BATCHES if int8 else (1,) if self._max_batch == 1 else (self._max_batch, 1)
            runtime = LiteRtRuntime(
                twin, int8=int8, interpreters=self._interpreters, ready=ready, batches=batches
            )
            network, known = _network(bundle, runtime), _embeddings(bundle)
        except BundleError as error:
            raise BundleError(f"{bundle.folder}: {error.detail}") from error
        served: Runtime = runtime
        if self._max_batch > 1:
            served = BatchingRuntime(
                runtime,
                max_batch=self._max_batch,
                max_delay_s=self._max_delay_s,
                on_run=lambda images: self.on_run(images),
            )
        exact = Float32Runtime(runtime) if int8 else None
        seconds, event_loop_runtime = _seconds(runtime), None
        if seconds <= self._quick_below_s:
            event_loop_runtime = LiteRtRuntime(twin, int8=int8, interpreters=1, batches=batches)
        return Model(bundle, served, network, known, seconds, exact, event_loop_runtime)

    def _make(self, name: str) -> None:
        log.info("compiling the twin of %s, which its bundle lacks", name)
        with self._loading:
            self._try(name)

    def _try(self, name: str) -> None:
        """Load a model; keep why it cannot be, if it cannot."""
        try:
            self._load_anew(name)
        except BundleError as error:
            self._failures[name] = error.detail
            log.error("the model %s cannot be served: %s", name, error.detail)

    def _reason(self, name: str) -> NotReadyError:
        if name in self._failures:
            return NotReadyError(f"The model {name!r} could not be loaded: {self._failures[name]}")
        return NotReadyError(
            f"The model {name!r} (version {self.bundles[name].metadata.version}) is being compiled;"
            " try again in a few seconds."
        )


def _network(bundle: Bundle, runtime: Runtime) -> Network:
    """Read a bundle's layers from its Keras file; their shapes are those that the runtime gives."""
    outputs = runtime.inspect(np.zeros((1, 28, 28), np.uint8))
    shapes = {name: values.shape[1:] for name, values in outputs.items()}
    try:
        return read_network(bundle.read(KERAS_FILE), shapes, (28, 28, 1))
    except ValueError as error:
        raise BundleError(f"{KERAS_FILE} and {COMPILED_FILE} do not fit: {error}.") from error


def _embeddings(bundle: Bundle) -> Embeddings | None:
    if not bundle.has(EMBEDDINGS_FILE):
        return None
    return read_embeddings(bundle.read(EMBEDDINGS_FILE))


def _stamp(bundle: Bundle) -> Stamp | None:
    """Return what changes when a bundle is written again; None while it is not there."""
    try:
        found = (bundle.folder / METADATA).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _stamp_of_files(bundle: Bundle) -> Stamp:
    """Return what changes when any of a bundle's files is written again."""
    stamp: list[int] = []
    for path in sorted(bundle.folder.rglob("*")):
        with suppress(OSError):  # gone meanwhile
            found = path.stat()
            stamp += (found.st_mtime_ns, found.st_size, found.st_ino)
    return tuple(stamp)


def _seconds(runtime: Runtime) -> float:
    """Measure one image's run: the thread's own time, without what it waits for others."""
    blank, times = np.zeros((1, 28, 28), np.uint8), []
    for _ in range(RUNS):
        began = time.thread_time()
        runtime.predict(blank)
        times.append(time.thread_time() - began)
    return statistics.median(times)


def _check(model: Model) -> None:
    """Hold what was compiled against the arithmetic of the Keras file, where that is known.

    Raises:
        BundleError: They differ, or an answer is no number.
    """
    digits = np.stack([decode(sample_png(digit), max_pixels=784).pixels for digit in range(10)])
    twin = model.in_float32.runtime.predict(digits).probabilities
    expected, network = twin, model.network
    if all(layer.operation for layer in network.layers):
        expected = network.forward(digits[..., None].astype(np.float32))[network.output]
    compiled = [(COMPILED_FILE, twin, TOLERANCE)]
    if model.exact:
        served = model.runtime.predict(digits).probabilities
        compiled.append((INT8_FILE, served, INT8_TOLERANCE))
    for name, got, tolerance in compiled:
        apart = float(np.abs(got - expected).max())
        if not apart <= tolerance:
            raise BundleError(
                f"{model.bundle.folder}: {name} and {KERAS_FILE} give different answers (by up to"
                f" {apart:.3g})."
            )
