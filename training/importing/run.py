"""Imports a network: from a file to a bundle that is served like our own."""

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from app import bundle
from app.errors import BundleError
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import KerasRuntime
from app.inference.litert_runtime import LiteRtRuntime
from app.inference.runtime import Runtime
from app.inference.tflite_runtime import TfliteRuntime
from app.network.keras_file import check_keras_file
from app.network.network import Network, read_network
from training.errors import ImportingError
from training.importing import proof
from training.importing.classes import (
    IDENTITY,
    ClassOrder,
    default_names,
    order_of_names,
    read_names,
)
from training.importing.digits import Digits, load_digits
from training.importing.formats import Source, read_source
from training.importing.keras_source import load_network
from training.importing.measure import MAX_SECONDS, measure
from training.importing.network import Choice, Core, build, rebuild
from training.importing.onnx_source import load_onnx
from training.importing.proof import Agreement
from training.importing.saved_model import convert_saved_model
from training.importing.scale import MIN_ACCURACY, RAW, Trial, parse_scale, try_scales
from training.importing.tflite_source import TfliteCore, compare_with_interpreter, read_core
from training.importing.trust import load_trusted
from training.importing.writing import Written, write_bundle

COMPILED_DIGITS = 100  # digits that tell whether the compiled model can serve; the proof reads all
TIMED_DIGITS = 20
MIN_MEASURED = 100  # digits that even a slow network reads
TFLITE_TOLERANCE = 1e-2  # largest difference of a probability; int8 kernels round differently


@dataclass(frozen=True)
class Options:
    """What the user chose.

    Attributes:
        name: Name of the model.
        input: The scale, or `auto`.
        classes: File with the names of the classes.
        trust: Modules, and `lambda`, whose code may run.
        calibrate: Whether to apply the temperature.
    """

    name: str
    input: str = "auto"
    classes: Path | None = None
    trust: Sequence[str] = ()
    calibrate: bool = False


@dataclass(frozen=True)
class Result:
    """An imported network.

    Attributes:
        metadata: Metadata of the bundle.
        folder: Its folder.
        network: The layers.
        agreements: The proof: how its forms agree.
        notes: What the user should know, in sentences.
    """

    metadata: bundle.Metadata
    folder: Path
    network: Network
    agreements: Mapping[str, Agreement]
    notes: tuple[str, ...]


def import_file(path: Path, options: Options, models: Path) -> Result:
    """Import a network into a folder of bundles.

    Args:
        path: The file.
        options: What the user chose.
        models: The folder of bundles.

    Raises:
        ImportingError: The file cannot be imported; a sentence says why and what to do.
    """
    trusted = load_trusted(options.trust)
    objects = {name: value for name, value in trusted.items() if value is not None}
    with keras.saving.custom_object_scope(objects):
        return _import(path, options, models, trusted)


def _import(path: Path, options: Options, models: Path, trusted: Mapping[str, Any]) -> Result:
    source = read_source(path)
    version = _next_version(models / options.name)
    scale = parse_scale(options.input)
    core = _read_core(source, options, trusted)
    if scale and core.form.integers and scale is not RAW:
        raise ImportingError("The network takes whole numbers from 0 to 255; leave out --input.")
    digits = load_digits()
    names = read_names(options.classes, core.classes)
    trials = try_scales(
        core.answer,
        core.form.fits[:1] if isinstance(core, TfliteCore) else core.form.fits,
        core.classes,
        digits.scaled,
        (scale,) if scale else core.scales,
    )
    best = trials[0]
    order = _choose_order(best, names, core.classes)
    if scale is None and names is None and best.accuracy < MIN_ACCURACY and core.classes >= 10:
        raise ImportingError(
            f"The network reads {100 * best.accuracy:.0f} % of 300 digits at best, so the range of"
            " its pixels cannot be found. Give it with --input 0..255, 0..1, -1..1, inverted or"
            " MEAN,STD; if its classes are not digits, name them with --classes."
        )
    sources = order.sources(core.classes) if order.is_permuted else list(range(core.classes))
    classes = _names(names, sources, core.classes)
    choice = Choice(best.scale, best.fit, sources)
    models.mkdir(parents=True, exist_ok=True)
    with _workspace(models, options.name) as folder:
        if isinstance(core, TfliteCore):
            work: KerasImport | TfliteImport = TfliteImport(
                source, options, core, trials, choice, classes
            )
        else:
            work = KerasImport(source, options, core, trials, choice, classes)
        result = work.finish(folder, version)
        place = models / options.name
        if place.exists():
            shutil.rmtree(place)
        folder.rename(place)
    return replace(result, folder=place)


def _read_core(source: Source, options: Options, trusted: Mapping[str, Any]) -> Core | TfliteCore:
    """Read the network of a file up to its scores."""
    sample = load_digits().scaled.images[:20].astype(np.float32)[..., None]
    if source.format in ("tflite", "savedmodel"):
        content = source.content or convert_saved_model(source.path, options.trust)
        return read_core(content, sample)
    if source.format == "onnx":
        return rebuild(load_onnx(source.content), sample)
    return rebuild(load_network(source, trusted), sample)


@dataclass(frozen=True)
class KerasImport:
    """An import whose choices have been made."""

    source: Source
    options: Options
    core: Core
    trials: Sequence[Trial]
    choice: Choice
    classes: Sequence[str]

    def finish(self, folder: Path, version: int) -> Result:
        """Build, prove, measure and write the network."""
        notes = list[str]()
        network = build(self.core, self.choice)
        runtime, compiled = self._compile(network, notes)
        digits = load_digits().first(_affordable(runtime))
        measured = measure(runtime, digits, self.core.classes)
        choice = self.choice
        if self.options.calibrate and measured.temperature:
            choice = Choice(choice.scale, choice.fit, choice.sources, measured.temperature)
            network = build(self.core, choice)
            runtime, compiled = self._compile(network, notes)
            measured = measure(runtime, digits, self.core.classes)
        layers = self._save(network, folder, runtime)
        if compiled:
            (folder / bundle.COMPILED_FILE).write_bytes(compiled)
        agreements = self._prove(network, compiled, runtime, layers, choice, digits, notes)
        written = Written(
            self.options.name,
            version,
            self.classes,
            "litert" if compiled else "keras",
            self.core.changes,
            self.trials,
            choice,
            self.core.form.describe(choice.fit),
            tuple(self.options.trust),
            agreements,
            network.count_params(),
            self.core.products,
        )
        metadata = write_bundle(folder, self.source, written, measured, digits)
        return Result(metadata, folder, layers, agreements, tuple(notes))

    def _compile(self, network: keras.Model, notes: list[str]) -> tuple[Runtime, bytes | None]:
        """Compile a network; where LiteRT cannot, return Keras's runtime and note why."""
        digits = load_digits().measured.images[:COMPILED_DIGITS]
        reason = ""
        try:
            compiled = compile_model(network)
            runtime = LiteRtRuntime(compiled, interpreters=1, threads=2)
            agreement = proof.compare_compiled(network, runtime, digits)
            if agreement.holds:
                return runtime, compiled
            reason = (
                f"LiteRT computes the layer {agreement.layer!r} differently (a probability by"
                f" {agreement.difference:.2g})"
            )
        except BundleError as error:
            reason = error.detail.rstrip(".")
        if self.options.trust:
            raise ImportingError(
                f"{reason}. Keras would have to serve this network, but a service runs no code of"
                " an imported file. Replace the layers that needed --trust by layers of Keras."
            )
        note = f"{reason}. Keras serves this network instead, which is slower and needs its extra."
        if note not in notes:
            notes.append(note)
        return KerasRuntime(network), None

    def _save(self, network: keras.Model, folder: Path, runtime: Runtime) -> Network:
        """Write the Keras file and read it as the service does."""
        path = folder / bundle.KERAS_FILE
        network.save(path)
        content = path.read_bytes()
        check_keras_file(content)
        outputs = runtime.inspect(np.zeros((1, 28, 28), np.uint8))
        shapes = {name: values.shape[1:] for name, values in outputs.items()}
        return read_network(content, shapes, (28, 28, 1))

    def _prove(
        self,
        network: keras.Model,
        compiled: bytes | None,
        runtime: Runtime,
        layers: Network,
        choice: Choice,
        digits: Digits,
        notes: list[str],
    ) -> dict[str, Agreement]:
        """Compare all forms of the network on the measured digits."""
        images = digits.measured.images
        found: dict[str, Agreement] = {}
        if choice.temperature == 1.0:
            try:
                found["file"] = proof.compare_with_file(self.core, choice, network, images)
            except Exception as error:  # noqa: BLE001 - what the file's own network cannot do here
                notes.append(f"The file's own network does not run here: {_short(error)}")
        half = any("precision" in change for change in self.core.changes)
        limit = proof.HALF_TOLERANCE if half else proof.TOLERANCE
        if "file" in found and not found["file"].difference <= limit:
            raise ImportingError(
                "The rebuilt network answers differently from the file's own: a probability by"
                f" {found['file'].difference:.2g}. Please report this network."
            )
        if compiled:
            found["compiled"] = proof.compare_compiled(network, runtime, images)
        unknown = [layer for layer in layers.layers if layer.operation is None]
        if unknown:
            names = ", ".join(sorted({layer.kind for layer in unknown}))
            notes.append(
                f"The service has no arithmetic for {names}: activations are shown, equations,"
                " gradients and ablations through them are not."
            )
            return found
        ours = proof.compare_arithmetic(layers, runtime, images, self.core.products)
        found["arithmetic"] = ours
        if not ours.holds:
            raise ImportingError(
                f"The service computes the layer {ours.layer} differently: a probability by"
                f" {ours.difference:.2g}. Please report this network."
            )
        return found


@dataclass(frozen=True)
class TfliteImport:
    """An import of a `.tflite` file whose choices have been made."""

    source: Source
    options: Options
    core: TfliteCore
    trials: Sequence[Trial]
    choice: Choice
    classes: Sequence[str]

    def finish(self, folder: Path, version: int) -> Result:
        """Prove, measure and write the file."""
        if self.options.calibrate:
            raise ImportingError(
                "--calibrate changes weights, which a .tflite file does not allow."
            )
        adapter = self.core.adapter(self.choice.scale, list(self.choice.sources))
        (folder / bundle.SOURCE_FILE).write_bytes(self.core.content)
        runtime = TfliteRuntime(self.core.content, adapter, interpreters=1)
        digits = load_digits().first(max(MIN_MEASURED, int(MAX_SECONDS / self.core.seconds)))
        agreement = compare_with_interpreter(self.core, runtime, adapter, digits.measured.images)
        if not agreement.difference <= TFLITE_TOLERANCE:
            raise ImportingError(
                "The service answers differently from the file's own interpreter: a probability by"
                f" {agreement.difference:.2g}. Please report this file."
            )
        measured = measure(runtime, digits, self.core.classes)
        agreements = {"interpreter": agreement}
        weights = [each for layer in runtime.network.layers for each in layer.weights.values()]
        written = Written(
            self.options.name,
            version,
            self.classes,
            "tflite",
            (),
            self.trials,
            self.choice,
            self.core.form.describe(self.choice.fit),
            tuple(self.options.trust),
            agreements,
            max(1, sum(values.size for values in weights)),
            0,
            adapter,
        )
        metadata = write_bundle(folder, self.source, written, measured, digits)
        note = (
            "A .tflite file is served as it is: activations are shown; equations, gradients and"
            " ablations need the Keras file."
        )
        return Result(metadata, folder, runtime.network, agreements, (note,))


def _affordable(runtime: Runtime) -> int:
    """Return how many digits a runtime can read in some seconds."""
    images = load_digits().measured.images[:TIMED_DIGITS]
    runtime.predict(images)
    began = time.perf_counter()
    runtime.predict(images)
    seconds = (time.perf_counter() - began) / len(images)
    return max(MIN_MEASURED, int(MAX_SECONDS / seconds))


def _choose_order(best: Trial, names: Sequence[str] | None, classes: int) -> ClassOrder:
    """Return which class is which digit: names tell it, else the confusion."""
    if names is not None:
        return order_of_names(names) or IDENTITY
    return best.order if classes >= len(bundle.DIGITS) else IDENTITY


def _names(names: Sequence[str] | None, sources: Sequence[int], classes: int) -> list[str]:
    if names is None:
        return default_names(classes)
    return [names[source] for source in sources]


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _next_version(folder: Path) -> int:
    """Return the version of a new bundle; refuse to replace one that was trained here."""
    if not (folder / bundle.METADATA).exists():
        if folder.exists():
            raise ImportingError(f"{folder} exists and is no bundle; choose another --name.")
        return 1
    old = bundle.open_bundle(folder).metadata
    if old.imported is None:
        raise ImportingError(
            f"The model {old.name!r} was trained here and is not replaced; choose another --name."
        )
    return old.version + 1


@contextmanager
def _workspace(models: Path, name: str) -> Iterator[Path]:
    """Create a folder on the same disk, so that the bundle appears as a whole."""
    with tempfile.TemporaryDirectory(dir=models, prefix=f".{name}-") as path:
        folder = Path(path) / name
        folder.mkdir()
        yield folder
