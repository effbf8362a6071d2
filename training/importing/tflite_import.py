"""Finishes the import of a `.tflite` file, which is served as it is: prove, measure, write."""

from dataclasses import dataclass
from pathlib import Path

from app import bundle
from app.inference.tflite_runtime import TfliteRuntime
from training.errors import ImportingError
from training.importing.digits import load_digits
from training.importing.formats import Source
from training.importing.measure import MAX_SECONDS, MIN_MEASURED, measure
from training.importing.options import Decisions, Options, Result
from training.importing.tflite_source import TfliteCore, compare_with_interpreter
from training.importing.writing import Written, write_bundle

TFLITE_TOLERANCE = 1e-2  # largest difference of a probability; int8 kernels round differently


@dataclass(frozen=True)
class TfliteImport:
    """An import of a `.tflite` file whose choices have been made."""

    source: Source
    options: Options
    core: TfliteCore
    decisions: Decisions

    def finish(self, folder: Path, version: int) -> Result:
        """Prove, measure and write the file."""
        if self.options.calibrate:
            raise ImportingError(
                "--calibrate changes weights, which a .tflite file does not allow."
            )
        adapter = self.core.adapter(
            self.decisions.choice.scale, list(self.decisions.choice.sources)
        )
        (folder / bundle.SOURCE_FILE).write_bytes(self.core.content)
        runtime = TfliteRuntime(self.core.content, adapter, interpreters=1)
        digits = load_digits().first(max(MIN_MEASURED, int(MAX_SECONDS / self.core.seconds)))
        agreement = compare_with_interpreter(self.core, runtime, adapter, digits.measured.images)
        if not agreement.difference <= TFLITE_TOLERANCE:
            raise ImportingError(
                "The service answers differently from the file's own interpreter: a probability by"
                f" {agreement.difference:.2g}. Please report this file."
            )
        measured = measure(runtime, digits, are_digits=self.decisions.are_digits)
        agreements = {"interpreter": agreement}
        weights = [each for layer in runtime.network.layers for each in layer.weights.values()]
        written = Written(
            self.options.name,
            version,
            self.decisions.classes,
            "tflite",
            self.decisions.changes,
            self.decisions.trials,
            self.decisions.choice,
            self.core.form.describe(self.decisions.choice.fit),
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
