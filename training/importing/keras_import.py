"""Finishes the import of a network that Keras can build: compile, prove, measure, write."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from app import bundle
from app.errors import BundleError
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import KerasRuntime
from app.inference.litert_runtime import LiteRtRuntime
from app.inference.runtime import Runtime
from app.network.keras_file import check_keras_file
from app.network.network import Network, read_network
from training.data import Images
from training.errors import ImportingError
from training.importing import proof
from training.importing.digits import load_digits
from training.importing.formats import Source
from training.importing.measure import MAX_SECONDS, MIN_MEASURED, measure
from training.importing.network import Choice, Core, build
from training.importing.options import Decisions, Options, Result
from training.importing.proof import Agreement, Probabilities
from training.importing.writing import Written, write_bundle

COMPILED_DIGITS = 100  # digits that tell whether the compiled model can serve; the proof reads all
TIMED_DIGITS = 20


@dataclass(frozen=True)
class KerasImport:
    """An import whose choices have been made."""

    source: Source
    options: Options
    core: Core
    decisions: Decisions

    def finish(self, folder: Path, version: int) -> Result:
        """Build, prove, measure and write the network."""
        notes = list[str]()
        network = build(self.core, self.decisions.choice)
        runtime, compiled = self._compile(network, notes)
        digits = load_digits().first(_affordable(runtime))
        measured = measure(runtime, digits, are_digits=self.decisions.are_digits)
        choice = self.decisions.choice
        if self.options.calibrate and measured.temperature:
            choice = Choice(choice.scale, choice.fit, choice.sources, measured.temperature)
            network = build(self.core, choice)
            runtime, compiled = self._compile(network, notes)
            calibrated = measure(runtime, digits, are_digits=self.decisions.are_digits)
            # Of the divided logits, the temperature that fits is 1.
            measured = replace(calibrated, temperature=choice.temperature)
        layers, stored = self._save(network, folder, runtime)
        if compiled:
            (folder / bundle.COMPILED_FILE).write_bytes(compiled)
        images, answers = digits.measured.images, measured.outputs.probabilities
        # Without a compiled model, the rebuilt network itself serves.
        rebuilt = KerasRuntime(network).predict(images).probabilities if compiled else answers
        agreements = self._prove_file(network, choice, images, rebuilt, notes)
        if compiled:
            agreements["compiled"] = Agreement.of(rebuilt, answers)
        agreements |= self._prove_arithmetic(layers, runtime, images, answers, notes)
        written = Written(
            self.options.name,
            version,
            self.decisions.classes,
            "litert" if compiled else "keras",
            self.core.changes,
            self.decisions.trials,
            choice,
            self.core.form.describe(choice.fit),
            tuple(self.options.trust),
            agreements,
            max(stored, network.count_params()),  # some layers store a weight twice
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

    def _save(self, network: keras.Model, folder: Path, runtime: Runtime) -> tuple[Network, int]:
        """Write the Keras file and read it as the service does; count the weights in it."""
        path = folder / bundle.KERAS_FILE
        network.save(path)
        content = path.read_bytes()
        stored = check_keras_file(content)
        outputs = runtime.inspect(np.zeros((1, 28, 28), np.uint8))
        shapes = {name: values.shape[1:] for name, values in outputs.items()}
        return read_network(content, shapes, (28, 28, 1)), stored

    def _prove_file(
        self,
        network: keras.Model,
        choice: Choice,
        images: Images,
        rebuilt: Probabilities,
        notes: list[str],
    ) -> dict[str, Agreement]:
        """Compare the rebuilt network's answers with those of the file's own network."""
        if choice.temperature != 1.0:
            return {}
        try:
            agreement = proof.compare_with_file(self.core, choice, images, rebuilt)
        except Exception as error:  # noqa: BLE001 - what the file's own network cannot do here
            notes.append(f"The file's own network does not run here: {_short(error)}")
            return {}
        limit = proof.HALF_TOLERANCE if self.core.other_precision else proof.TOLERANCE
        if not agreement.difference <= limit:
            layer = proof.differing_from_file(
                self.core, choice, network, images[:5], max(proof.LAYER_TOLERANCE, limit)
            )
            place = f", first in the layer {layer}" if layer else ""
            raise ImportingError(
                "The rebuilt network answers differently from the file's own: a probability by"
                f" {agreement.difference:.2g}{place}. Please report this network."
            )
        return {"file": agreement}

    def _prove_arithmetic(
        self,
        layers: Network,
        runtime: Runtime,
        images: Images,
        answers: Probabilities,
        notes: list[str],
    ) -> dict[str, Agreement]:
        """Compare the service's own arithmetic with the answers of the runtime that serves."""
        unknown = [layer for layer in layers.layers if layer.operation is None]
        if unknown:
            names = ", ".join(sorted({layer.kind for layer in unknown}))
            notes.append(
                f"The service has no arithmetic for {names}: activations are shown, equations,"
                " gradients and ablations through them are not."
            )
            return {}
        agreement = proof.compare_arithmetic(layers, runtime, images, answers, self.core.products)
        if not agreement.holds:
            raise ImportingError(
                f"The service computes the layer {agreement.layer} differently: a probability by"
                f" {agreement.difference:.2g}. Please report this network."
            )
        return {"arithmetic": agreement}


def _affordable(runtime: Runtime) -> int:
    """Return how many digits a runtime can read in some seconds."""
    images = load_digits().measured.images[:TIMED_DIGITS]
    runtime.predict(images)
    began = time.perf_counter()
    runtime.predict(images)
    seconds = (time.perf_counter() - began) / len(images)
    return max(MIN_MEASURED, int(MAX_SECONDS / seconds))


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
