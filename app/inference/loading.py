"""Loads a bundle into a `Model`: builds its runtimes, measures their speed, checks their answers.

Knows bundles and runtimes; knows nothing of requests.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.bundle import COMPILED_FILE, INT8_FILE, KERAS_FILE, Bundle
from app.embeddings import EMBEDDINGS_FILE, Embeddings, read_embeddings
from app.errors import BundleError
from app.held_out import PREDICTIONS_FILE, HeldOutAnswers, read_held_out
from app.inference.batcher import BatchingRuntime
from app.inference.keras_runtime import KerasRuntime, load_small_keras
from app.inference.litert_runtime import Float32Runtime, LiteRtRuntime
from app.inference.model import INT8_BATCH_SIZES, Model
from app.inference.runtime import Runtime
from app.inference.tflite_runtime import TfliteRuntime
from app.network.graph import IMAGE
from app.network.keras_file import KerasFileError
from app.network.network import Network, read_network
from app.samples import sample_pixels

TIMED_RUNS = 15  # runs of one image each; their median is the time per image
# Largest allowed difference of a probability from the layers' own arithmetic in NumPy.
FLOAT32_TOLERANCE = 1e-3
INT8_TOLERANCE = 0.05  # on the sample digits, which are easy to read


@dataclass(frozen=True)
class LoadOptions:
    """How the runtimes of a model are built.

    Attributes:
        interpreters: Calls that a model runs at the same time.
        max_batch: Images of concurrent calls that are run together at most; 1 turns this off.
        max_delay_s: Seconds that an image waits for others at most while the network is busy.
        quick_below_s: A network that takes at most this many seconds per image also gets a runtime
            for the event loop.
    """

    interpreters: int
    max_batch: int = 1
    max_delay_s: float = 0.0
    quick_below_s: float = 0.0


def load_model(
    bundle: Bundle,
    compiled: bytes | None,
    options: LoadOptions,
    *,
    preloaded: int,
    on_batch: Callable[[int], None],
) -> Model:
    """Build the runtimes of a bundle.

    Args:
        bundle: The bundle.
        compiled: The compiled model, from the bundle or made from its Keras file; None for a bundle
            that is served by another runtime.
        options: How the runtimes are built.
        preloaded: Interpreters to load now; the others are loaded on demand.
        on_batch: Called after each run of a joined batch with its number of images.

    Raises:
        BundleError: A file is damaged, or the compiled model cannot be run.
        MemoryError: There is not enough memory.
    """
    with _naming(bundle):
        if compiled is None:
            return _load_source(bundle, options)
        int8 = bundle.read(INT8_FILE) if bundle.has(INT8_FILE) else None
        batch_sizes = INT8_BATCH_SIZES if int8 else tuple(sorted({options.max_batch, 1})[::-1])
        runtime = LiteRtRuntime(
            compiled,
            int8=int8,
            interpreters=options.interpreters,
            preloaded=preloaded,
            batch_sizes=batch_sizes,
        )
        features = _check_classes(bundle, runtime)
        network, embeddings = _read_layers(bundle, runtime), _read_embeddings(bundle, features)
        seconds_per_image, event_loop_runtime = _measure(runtime), None
        if seconds_per_image <= options.quick_below_s:
            event_loop_runtime = LiteRtRuntime(
                compiled, int8=int8, interpreters=1, batch_sizes=batch_sizes
            )
        return Model(
            bundle,
            _batching(runtime, options, on_batch),
            network,
            embeddings,
            seconds_per_image,
            Float32Runtime(runtime) if int8 else None,
            event_loop_runtime,
            _read_held_out(bundle),
        )


def read_compiled(bundle: Bundle) -> bytes | None:
    """Return the compiled model of a bundle; None if another runtime serves it.

    Raises:
        BundleError: The file is missing or damaged.
    """
    return bundle.read(COMPILED_FILE) if bundle.metadata.runtime == "litert" else None


def _load_source(bundle: Bundle, options: LoadOptions) -> Model:
    """Build the runtime of a bundle that is served from its source file."""
    content = bundle.read(bundle.source)
    runtime: Runtime
    if bundle.metadata.adapter and bundle.metadata.runtime == "tflite":
        tflite = TfliteRuntime(content, bundle.metadata.adapter, interpreters=options.interpreters)
        runtime, network = tflite, tflite.network
    else:
        runtime = KerasRuntime(load_small_keras(content, bundle.metadata.parameters))
        network = _read_layers(bundle, runtime)
    features = _check_classes(bundle, runtime)
    return Model(
        bundle,
        runtime,
        network,
        _read_embeddings(bundle, features),
        _measure(runtime),
        held_out=_read_held_out(bundle),
    )


@contextmanager
def _naming(bundle: Bundle) -> Iterator[None]:
    """Turn every error but a lack of memory into a `BundleError` that names the bundle."""
    try:
        yield
    except MemoryError:
        raise
    except BundleError as error:
        raise BundleError(f"{bundle.folder}: {error.detail}") from error
    except Exception as error:
        raise BundleError(f"{bundle.folder}: {type(error).__name__}: {error}") from error


def _batching(
    runtime: LiteRtRuntime, options: LoadOptions, on_batch: Callable[[int], None]
) -> Runtime:
    if options.max_batch == 1:
        return runtime
    return BatchingRuntime(
        runtime, max_batch=options.max_batch, max_delay_s=options.max_delay_s, on_batch=on_batch
    )


def _check_classes(bundle: Bundle, runtime: Runtime) -> int:
    """Return the number of the network's features.

    Raises:
        BundleError: The network has another number of outputs than classes.
    """
    answer = runtime.predict(np.zeros((1, 28, 28), np.uint8))
    outputs, classes = answer.probabilities.shape[1], len(bundle.metadata.classes)
    if outputs != classes:
        raise BundleError(
            f"the network has {outputs} outputs, but the bundle names {classes} classes."
        )
    return int(answer.features.shape[1])


def _read_layers(bundle: Bundle, runtime: Runtime) -> Network:
    """Read the layers from the Keras file and their output shapes from the compiled model."""
    outputs = runtime.inspect(np.zeros((1, 28, 28), np.uint8))
    shapes = {name: values.shape[1:] for name, values in outputs.items()}
    try:
        return read_network(
            bundle.read(KERAS_FILE), shapes, (28, 28, 1), bundle.metadata.parameters
        )
    except KerasFileError as error:
        raise BundleError(f"{KERAS_FILE} is {error}.") from error
    except ValueError as error:
        raise BundleError(f"{KERAS_FILE} and {COMPILED_FILE} do not fit: {error}.") from error


def _read_embeddings(bundle: Bundle, features: int) -> Embeddings | None:
    """Read the training digits' features, which must be as many as the network's."""
    if not bundle.has(EMBEDDINGS_FILE):
        return None
    embeddings = read_embeddings(bundle.read(EMBEDDINGS_FILE))
    if embeddings.directions.shape[1] != features:
        raise BundleError(
            f"{EMBEDDINGS_FILE} holds {embeddings.directions.shape[1]} features of each digit, but"
            f" the network has {features}."
        )
    return embeddings


def _read_held_out(bundle: Bundle) -> HeldOutAnswers | None:
    if not bundle.has(PREDICTIONS_FILE):
        return None
    return read_held_out(bundle.read(PREDICTIONS_FILE))


def _measure(runtime: Runtime) -> float:
    """Return the seconds per image: CPU time of this thread, which other load does not change."""
    blank, times = np.zeros((1, 28, 28), np.uint8), []
    for _ in range(TIMED_RUNS):
        began = time.thread_time()
        runtime.predict(blank)
        times.append(time.thread_time() - began)
    return statistics.median(times)


def check_model(model: Model) -> None:
    """Check that the runtimes and the Keras file give the same answers on the sample digits.

    A network with a layer whose arithmetic is unknown has no answers in NumPy: there each other
    layer is compared on its own, and int8 with float32.

    Raises:
        BundleError: They differ, or an answer is not a number.
    """
    digits = np.stack([sample_pixels(digit) for digit in range(10)])
    float32 = model.in_float32.runtime.predict(digits).probabilities
    expected, network = float32, model.network
    if all(layer.operation for layer in network.layers):
        size, pixels = network.batch_size, digits[..., None].astype(np.float32)
        expected = np.concatenate(
            [
                network.forward(pixels[start : start + size])[network.output]
                for start in range(0, len(pixels), size)
            ]
        )
    else:
        _check_layers(model, digits[4:5])
    answers = [(COMPILED_FILE, float32, FLOAT32_TOLERANCE)]
    if model.float32_runtime:
        int8 = model.runtime.predict(digits).probabilities
        answers.append((INT8_FILE, int8, INT8_TOLERANCE))
    for file, probabilities, tolerance in answers:
        difference = float(np.abs(probabilities - expected).max())
        if not difference <= tolerance:  # also true for NaN
            raise BundleError(
                f"{model.bundle.folder}: {file} and {KERAS_FILE} give different answers (by up to"
                f" {difference:.3g})."
            )


def _check_layers(model: Model, images: NDArray[np.uint8]) -> None:
    """Check each layer that can be computed: its output for the compiled model's own inputs.

    Raises:
        BundleError: A layer gives another output.
    """
    network, outputs = model.network, model.in_float32.runtime.inspect(images)
    pixels = images[..., None].astype(np.float32)
    for layer in network.layers:
        if layer.operation is None:
            continue
        inputs = [
            pixels if at == IMAGE else outputs[network.layers[at].name] for at in layer.inputs
        ]
        got, right = layer.operation.forward(inputs), outputs[layer.name]
        difference = float(np.abs(got - right).max())
        if not difference <= FLOAT32_TOLERANCE * max(1.0, float(np.abs(right).max())):
            raise BundleError(
                f"{model.bundle.folder}: {COMPILED_FILE} and {KERAS_FILE} give different values in"
                f" the layer {layer.name!r} (by up to {difference:.3g})."
            )
