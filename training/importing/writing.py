"""Writes the bundle of an imported network: embeddings, predictions, card and metadata."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from app import bundle
from app.bundle import Adapter, Imported, Metadata, RuntimeKind, ScaleTrial
from app.embeddings import EMBEDDINGS_FILE
from training.importing.card import write_card
from training.importing.digits import Digits
from training.importing.formats import Source
from training.importing.measure import Measured
from training.importing.network import Choice
from training.importing.proof import Agreement
from training.importing.scale import Trial
from training.predictions import PREDICTIONS_FILE, Predictions, StoredLogits

LIBRARIES = ("ai-edge-litert", "keras", "numpy", "tensorflow")


@dataclass(frozen=True)
class Written:
    """What the metadata say of an import.

    Attributes:
        name: Name of the model.
        version: Its version.
        classes: Names of the classes.
        runtime: What serves it.
        changes: What was changed, in sentences.
        trials: The scales that were tried, the best first.
        choice: What was decided.
        form: The input form in words.
        trusted: What was trusted.
        agreements: The proof.
        parameters: Number of weights.
        products: Multiplications for one image; 0 if not counted.
        adapter: For a `.tflite` file that is served as it is.
    """

    name: str
    version: int
    classes: Sequence[str]
    runtime: RuntimeKind
    changes: Sequence[str]
    trials: Sequence[Trial]
    choice: Choice
    form: str
    trusted: Sequence[str]
    agreements: Mapping[str, Agreement]
    parameters: int
    products: int
    adapter: Adapter | None = None


def write_bundle(
    folder: Path, source: Source, written: Written, measured: Measured, digits: Digits
) -> Metadata:
    """Add everything but the network to a bundle's folder, and seal it."""
    if measured.embeddings:
        (folder / EMBEDDINGS_FILE).write_bytes(measured.embeddings.to_bytes())
    answers = StoredLogits.of(measured.outputs.logits)
    stored = Predictions(digits.measured.indices.astype(np.int32), answers)
    (folder / PREDICTIONS_FILE).write_bytes(stored.to_bytes())
    tried = [
        ScaleTrial(
            scale=_trial_name(trial),
            negative_log_likelihood=trial.loss,
            accuracy=trial.accuracy,
        )
        for trial in written.trials
    ]
    verdict = {"verdict": measured.verdict} if measured.verdict else {}
    metadata = Metadata(
        name=written.name,
        version=written.version,
        created=datetime.now(UTC).replace(microsecond=0),
        description=f"Imported from {source.path.name}; training unknown.",
        classes=list(written.classes),
        runtime=written.runtime,
        libraries={name: version(name) for name in LIBRARIES},
        parameters=written.parameters,
        multiply_adds=written.products,
        adapter=written.adapter,
        microseconds=1e6 * measured.seconds_per_image,
        temperature=written.choice.temperature,
        fitted_temperature=measured.temperature,
        validation=measured.validation,
        imported=Imported(
            file=source.path.name,
            sha256=source.sha256,
            format=source.format,
            input=written.form,
            scale=written.choice.scale.name,
            trials=tried if len(tried) > 1 else [],
            changes=list(written.changes),
            trusted=list(written.trusted),
        ),
        outputs=[
            bundle.Tensor(name=name, shape=[-1, *values.shape[1:]])
            for name, values in vars(measured.outputs).items()
        ],
        files={},
        **verdict,
    )
    write_card(metadata, written.agreements, folder)
    return bundle.seal(folder, metadata)


def _trial_name(trial: Trial) -> str:
    return trial.scale.name if trial.fit == "same" else f"{trial.scale.name}, {trial.fit}"
