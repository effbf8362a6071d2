"""Writes the bundle of a trained network: calibrate, compile, evaluate, describe, seal."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from app import bundle
from app.bundle import Metadata, Quantization
from app.embeddings import EMBEDDINGS_FILE
from app.evaluation.statistics import expected_calibration_error
from app.inference.keras_runtime import KerasRuntime, load_keras
from app.inference.runtime import Outputs
from training import calibrate, card, data, embeddings, snapshots
from training.compiled import Compiled, compile_network, count_multiply_adds, open_on_one_thread
from training.data import Split
from training.evaluate import (
    evaluate,
    microseconds_per_image,
    reliability,
)
from training.fit import Fitted
from training.held_out import HeldOut, measure_held_out, measure_int8, published_held_out
from training.predictions import PREDICTIONS_FILE, Predictions, StoredLogits
from training.recipe import Ensemble, Recipe
from training.target import put_in_place, workspace
from training.teachers import teacher_path

LIBRARIES = ("ai-edge-litert", "keras", "numpy", "scipy", "tensorflow")
DECIDED_BY_TRAINING = (
    "description",
    "recipe",
    "seed",
    "epochs",
    "published_epoch",
    "refitted",
    "teachers",
    "temperature",
    "calibration_error_before",
)
SNAPSHOTS = "snapshots"


@dataclass(frozen=True)
class Trained:
    """A network and the run that made it; an ensemble has no seed and no epochs of its own."""

    recipe: Recipe | Ensemble
    seed: int | None
    fitted: Fitted


@dataclass(frozen=True)
class Splits:
    """The digits that a bundle is made with.

    Attributes:
        validation: The held-out digits: they choose the temperature and the thresholds.
        test: The official test split; None if it is not opened.
        train: The digits that the network was trained on, for the embeddings and the value ranges
            of an int8 network; None leaves the embeddings out.
    """

    validation: Split
    test: Split | None
    train: Split | None = None


@dataclass(frozen=True)
class _Network:
    """A calibrated network and everything about it that does not depend on the compiler.

    Attributes:
        keras: The network to publish.
        int8: Whether it is served in int8.
        snapshots: Content of the snapshot files, by name.
        decided: Values of the metadata fields in `DECIDED_BY_TRAINING`.
        opened_with: The version with which the test split was first opened for these weights.
    """

    keras: keras.Model
    int8: bool
    snapshots: Mapping[str, bytes]
    decided: Mapping[str, Any]
    opened_with: int | None = None


def publish(trained: Trained, splits: Splits, folder: Path, *, after_version: int = 0) -> Metadata:
    """Write the bundle of a trained network. It replaces an older bundle in the same folder.

    The test split is opened here, once, after every choice has been made. For a refitted network,
    the held-out digits are given to the network before the refit, which has not seen them; that
    network is saved as a teacher next to the bundle. The embeddings are those of the served
    network.

    Args:
        trained: The network to publish. Its logits layer is scaled in place, unless it is an
            ensemble, whose members are already calibrated.
        splits: The digits.
        folder: The bundle's folder, with the recipe's name.
        after_version: The new version number is at least one more than this.

    Returns:
        The metadata as written.

    Raises:
        PublishError: The compiled model does not agree with the network.
    """
    fitted, recipe = trained.fitted, trained.recipe
    published = fitted.refitted or fitted.network
    decided = _calibrate(trained, splits.validation)
    names = [snapshots.file_name(epoch) for epoch in snapshots.choose_epochs(len(fitted.history))]
    network = _Network(
        published,
        int8=isinstance(recipe, Recipe) and recipe.int8,
        snapshots={name: (fitted.snapshots / name).read_bytes() for name in names},
        decided=decided,
    )
    with workspace(folder) as place:
        served = _compile(network.keras, place / folder.name, network, splits)
        unrefitted = served
        if fitted.refitted:
            unrefitted = _compile(fitted.network, place / "before-refit", network, splits)
        held_out = measure_held_out(unrefitted, splits.validation, refitted=unrefitted != served)
        number = max(after_version + 1, _next_version(folder))
        sealed = _write(network, served, held_out, splits, place / folder.name, number)
        if fitted.refitted:
            _move_teacher(place / "before-refit", folder)
        put_in_place(place / folder.name, folder)
    return sealed


def recompile(old: bundle.Bundle, splits: Splits, folder: Path) -> Metadata:
    """Write the next version of a bundle: the same weights, compiled and measured again.

    The held-out figures of a refitted model stay as they are, because the network before its refit
    is not part of the bundle.

    Args:
        old: The bundle.
        splits: The digits; the test split only if the old version was measured on it.
        folder: The new bundle's folder.

    Returns:
        The metadata as written.

    Raises:
        BundleError: A file is missing or damaged.
        PublishError: The compiled model does not agree with the network.
    """
    names = [name for name in old.metadata.files if name.startswith(f"{SNAPSHOTS}/")]
    network = _Network(
        load_keras(old.read(bundle.KERAS_FILE)),
        int8=old.has(bundle.INT8_FILE),
        snapshots={Path(name).name: old.read(name) for name in names},
        decided={name: getattr(old.metadata, name) for name in DECIDED_BY_TRAINING},
        opened_with=old.metadata.opened_with or (old.metadata.version if splits.test else None),
    )
    with workspace(folder) as place:
        served = _compile(network.keras, place / folder.name, network, splits)
        if old.metadata.refitted:
            held_out = published_held_out(old)
        else:
            held_out = measure_held_out(served, splits.validation, refitted=False)
        number = max(old.metadata.version + 1, _next_version(folder))
        sealed = _write(network, served, held_out, splits, place / folder.name, number)
        put_in_place(place / folder.name, folder)
    return sealed


def _calibrate(trained: Trained, validation: Split) -> dict[str, Any]:
    """Fold the temperature into the network; return the fields that training has decided."""
    fitted, recipe = trained.fitted, trained.recipe
    temperature, uncalibrated = 1.0, fitted.uncalibrated
    if uncalibrated is None:  # not an ensemble
        outputs = KerasRuntime(fitted.network).predict(validation.images)
        uncalibrated = outputs.probabilities
        temperature = calibrate.fit_temperature([outputs.logits], validation.labels)
        for network in {fitted.network, fitted.refitted or fitted.network}:
            calibrate.fold_temperature(network, temperature)
    return {
        "description": recipe.description,
        "recipe": recipe.describe(),
        "seed": trained.seed,
        "epochs": [bundle.EpochFigures(**asdict(epoch)) for epoch in fitted.history],
        "published_epoch": fitted.epoch,
        "refitted": fitted.refitted is not None,
        "teachers": dict(fitted.teachers),
        "temperature": temperature,
        "calibration_error_before": expected_calibration_error(
            reliability(uncalibrated, validation.labels)
        ),
    }


def _compile(keras_model: keras.Model, folder: Path, network: _Network, splits: Splits) -> Compiled:
    return compile_network(
        keras_model,
        folder,
        int8=network.int8,
        check=splits.validation.images,
        calibration=(splits.train or splits.validation).images,
    )


def _write(
    network: _Network,
    served: Compiled,
    held_out: HeldOut,
    splits: Splits,
    folder: Path,
    version_number: int,
) -> Metadata:
    """Add everything but the network to a bundle's folder, and seal it."""
    _write_snapshots(network, folder)
    if splits.train:
        embedded = embeddings.make(served.served, splits.train, splits.validation)
        (folder / EMBEDDINGS_FILE).write_bytes(embedded.to_bytes())
    outputs = served.served.predict(splits.validation.images)
    _write_predictions(outputs, held_out, splits.validation, folder)
    test = splits.test
    quantization = held_out.int8 and Quantization(
        validation=held_out.int8, test=measure_int8(served, test) if test else None
    )
    metadata = Metadata(
        name=folder.name,
        version=version_number,
        created=datetime.now(UTC).replace(microsecond=0),
        data_md5=data.IDX_MD5,
        libraries={name: version(name) for name in LIBRARIES},
        parameters=network.keras.count_params(),
        multiply_adds=count_multiply_adds(network.keras),
        microseconds=microseconds_per_image(open_on_one_thread(folder, int8=network.int8)),
        verdict=held_out.verdict,
        validation=held_out.validation,
        test=evaluate(served.served, test, "test") if test else None,
        quantization=quantization,
        opened_with=network.opened_with,
        robustness=held_out.robustness,
        inputs=[bundle.Tensor(name="image", shape=[-1, 28, 28, 1])],
        outputs=[
            bundle.Tensor(name=name, shape=[-1, *values.shape[1:]])
            for name, values in vars(outputs).items()
        ],
        files={},
        **network.decided,
    )
    card.write(metadata, folder, test)
    return bundle.seal(folder, metadata)


def _write_snapshots(network: _Network, folder: Path) -> None:
    (folder / SNAPSHOTS).mkdir()
    for name, content in network.snapshots.items():
        (folder / SNAPSHOTS / name).write_bytes(content)


def _write_predictions(
    outputs: Outputs, held_out: HeldOut, validation: Split, folder: Path
) -> None:
    """Store the answers on the held-out digits, for `digitscope verify`."""
    answers = StoredLogits.of(outputs.logits)
    predictions = Predictions(validation.indices.astype(np.int32), answers, held_out.logits)
    (folder / PREDICTIONS_FILE).write_bytes(predictions.to_bytes())


def _move_teacher(compiled: Path, folder: Path) -> None:
    """Keep the Keras file of the network before the refit."""
    path = teacher_path(folder)
    path.parent.mkdir(exist_ok=True)
    (compiled / bundle.KERAS_FILE).replace(path)


def _next_version(folder: Path) -> int:
    if not (folder / bundle.METADATA).exists():
        return 1
    return bundle.open_bundle(folder).metadata.version + 1
