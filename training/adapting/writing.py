"""Writes the bundle of an adapted network: compile, measure, describe, seal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app import bundle
from app.bundle import Adapted, Comparison, Metadata, Quantization
from app.embeddings import EMBEDDINGS_FILE
from app.evaluation.statistics import expected_calibration_error
from app.inference.runtime import Outputs
from training import data, embeddings
from training.adapting import card
from training.adapting.anchors import draw_outliers
from training.adapting.base import Base
from training.adapting.calibration import Calibrating
from training.adapting.comparison import compare
from training.adapting.labels import DoubtfulLabel
from training.adapting.learning import Learned
from training.adapting.pictures import Pictures
from training.adapting.refusal import check_forgetting
from training.adapting.sureness import Sureness, are_sure, count_sure
from training.compiled import compile_network, count_multiply_adds, open_on_one_thread
from training.data import Split
from training.evaluate import evaluate, microseconds_per_image, reliability
from training.held_out import measure_int8
from training.importing.served import check_served
from training.predictions import PREDICTIONS_FILE, Predictions, StoredLogits

LIBRARIES = ("ai-edge-litert", "keras", "numpy", "scipy", "tensorflow")
OUTLIERS, OUTLIER_SEED = 4000, 2028  # images without a digit that choose the thresholds


@dataclass(frozen=True)
class Adaptation:
    """An adapted network, before it is compiled.

    Attributes:
        base: The network, whose tail has learned and is calibrated.
        pictures: What it learned.
        gain: What the cross-validation found.
        before: Logits of the base on the different pictures, float32 `[N, classes]`.
        learned: How it learned.
        calibrating: What chose the temperature and chooses the thresholds.
        temperature: The temperature, which is folded in.
        doubtful: Labels that look wrong; None if they were not checked.
    """

    base: Base
    pictures: Pictures
    gain: Comparison
    before: NDArray[np.float32]
    learned: Learned
    calibrating: Calibrating
    temperature: float
    doubtful: Sequence[DoubtfulLabel] | None


def write_adapted(
    adaptation: Adaptation, train: Split, held_out: Split, folder: Path, number: int
) -> tuple[Metadata, Sureness]:
    """Compile a network and write its bundle into a new folder; also count its sure answers.

    Args:
        adaptation: The network.
        train: MNIST's training digits without the held-out ones: they set the value ranges of an
            int8 network, and some are embedded.
        held_out: The held-out digits.
        folder: The folder, with the model's name.
        number: Version of the model.

    Raises:
        AdaptError: The network forgets too much.
        PublishError: The compiled model does not agree with the network.
        ImportingError: The service would not serve the bundle.
    """
    base, network = adaptation.base.bundle, adaptation.base.split.network
    int8 = base.has(bundle.INT8_FILE)
    compiled = compile_network(
        network, folder, int8=int8, check=held_out.images, calibration=train.images
    )
    served = compiled.served
    outputs = served.predict(held_out.images)
    adapted = _describe(adaptation, outputs, held_out)
    check_forgetting(adapted.held_out, adaptation.doubtful, deep=len(adapted.layers) > 1)
    strange = draw_outliers(held_out.images, OUTLIERS, np.random.default_rng(OUTLIER_SEED))
    calibrating = adaptation.calibrating
    sure = are_sure(adaptation.base.model.runtime.predict(strange).logits, base.metadata.verdict)
    verdict = calibrating.choose_thresholds(
        adaptation.temperature, served.predict(strange), float(sure.mean())
    )
    flips = measure_int8(compiled, held_out)
    embedded = embeddings.make(served, train, held_out)
    (folder / EMBEDDINGS_FILE).write_bytes(embedded.to_bytes())
    stored = Predictions(held_out.indices.astype(np.int32), StoredLogits.of(outputs.logits))
    (folder / PREDICTIONS_FILE).write_bytes(stored.to_bytes())
    metadata = Metadata(
        name=folder.name,
        version=number,
        created=datetime.now(UTC).replace(microsecond=0),
        description=(
            f"{adapted.model}, version {adapted.version}, adapted to {adapted.pictures.images:,}"
            " labelled pictures of a user."
        ),
        classes=base.metadata.classes,
        data_md5=data.IDX_MD5,
        libraries={name: version(name) for name in LIBRARIES},
        parameters=network.count_params(),
        multiply_adds=count_multiply_adds(network),
        microseconds=microseconds_per_image(open_on_one_thread(folder, int8=int8)),
        temperature=adaptation.temperature,
        calibration_error_before=_calibration_error(calibrating),
        verdict=verdict,
        validation=evaluate(served, held_out, "validation"),
        quantization=Quantization(validation=flips, test=None) if flips else None,
        adapted=adapted,
        outputs=[
            bundle.Tensor(name=name, shape=[-1, *values.shape[1:]])
            for name, values in vars(outputs).items()
        ],
        files={},
    )
    count = len(adaptation.before)
    labels = calibrating.labels[:count]
    before, wrong_before = count_sure(adaptation.before, labels, base.metadata.verdict)
    calibrated = calibrating.outputs(adaptation.temperature).logits[:count]
    after, wrong_after = count_sure(calibrated, labels, verdict)
    sureness = Sureness(count, before, after, wrong_before, wrong_after)
    card.write_card(metadata, adapted, sureness, folder)
    sealed = bundle.seal(folder, metadata)
    check_served(folder)
    return sealed, sureness


def _calibration_error(calibrating: Calibrating) -> float:
    """Return the calibration error on the pictures and as many digits before the temperature."""
    rows = slice(2 * calibrating.pictures)
    probabilities = calibrating.outputs(1.0).probabilities[rows]
    return expected_calibration_error(reliability(probabilities, calibrating.labels[rows]))


def _describe(adaptation: Adaptation, outputs: Outputs, held_out: Split) -> Adapted:
    """Return what the metadata say of the adaptation.

    Args:
        adaptation: The adaptation.
        outputs: Answers of the served network on the held-out digits.
        held_out: These digits. Those that are among the user's pictures are not counted.
    """
    base, split = adaptation.base, adaptation.base.split
    rows = adaptation.pictures.not_among(held_out.images)
    before = base.model.runtime.predict(held_out.images)
    old, new = (each.probabilities.argmax(axis=1)[rows] for each in (before, outputs))
    return Adapted(
        model=base.name,
        version=base.bundle.metadata.version,
        sha256=base.bundle.metadata.files[bundle.KERAS_FILE],
        layers=list(split.layers),
        share=adaptation.learned.share,
        iterations=adaptation.learned.iterations,
        pictures=adaptation.gain,
        held_out=compare(old, new, held_out.labels[rows]),
        doubtful_labels=None if adaptation.doubtful is None else len(adaptation.doubtful),
    )
