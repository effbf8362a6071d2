"""From a trained network to a bundle in `model/`: calibrate, export, evaluate, describe, seal."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from app import bundle
from app.embeddings import EMBEDDINGS_FILE
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import KerasRuntime, load_keras
from app.inference.litert_runtime import LiteRtRuntime
from training import calibrate, card, data, embeddings, quantize, robustness, snapshots
from training.data import Split
from training.evaluate import (
    evaluate,
    expected_calibration_error,
    microseconds_an_image,
    reliability,
)
from training.fit import Fitted
from training.pre_refit import load_pre_refit
from training.recipe import Ensemble, Recipe

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
# Largest difference of a probability between the Keras file and the compiled model.
COMPILED_TOLERANCE = 1e-5


class PublishError(Exception):
    """A network that cannot be published; the message says why."""


@dataclass(frozen=True)
class Trained:
    """A network and the run that it comes from; an ensemble has no seed or epochs of its own."""

    recipe: Recipe | Ensemble
    seed: int | None
    fitted: Fitted


def publish(
    trained: Trained,
    validation: Split,
    test: Split | None,
    folder: Path,
    *,
    train: Split | None = None,
) -> bundle.Metadata:
    """Write the bundle of a trained network; an older one in its place is replaced as a whole.

    The test split is opened here, once, after everything has been chosen. Of a network that was
    refitted on all digits, what held-out digits decide or measure is taken from the network before,
    but for the distances of the embeddings, which belong to the layers that are served.

    Args:
        trained: The network with the weights to publish; its logits layer is scaled in place, if
            it is no ensemble, whose members are calibrated already.
        validation: The held-out digits, for the temperature and the thresholds.
        test: The official test split, or None to publish without.
        folder: Where the bundle goes; its name must be the recipe's.
        train: The digits that it was trained on, for the embeddings; None leaves them out.

    Returns:
        The metadata as written.

    Raises:
        PublishError: The compiled model does not agree with the network.
    """
    fitted, recipe = trained.fitted, trained.recipe
    published = fitted.refitted or fitted.network
    temperature, uncalibrated = 1.0, fitted.uncalibrated
    if uncalibrated is None:  # no ensemble, whose members have temperatures of their own
        before = KerasRuntime(fitted.network).predict(validation.images)
        uncalibrated = before.probabilities
        temperature = calibrate.fit_temperature([before.logits], validation.labels)
        for network in {fitted.network, published}:
            calibrate.fold_temperature(network, temperature)
    names = [snapshots.file_name(epoch) for epoch in snapshots.choose_epochs(len(fitted.history))]
    decided = {
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
    calibrated = _Calibrated(
        published,
        fitted.network if fitted.refitted else None,
        int8=isinstance(recipe, Recipe) and recipe.int8,
        snapshots={name: (fitted.snapshots / name).read_bytes() for name in names},
        decided=decided,
    )
    return _write(calibrated, validation, test, train, folder)


def recompile(
    old: bundle.Bundle, validation: Split, test: Split | None, train: Split
) -> bundle.Metadata:
    """Write a bundle's next version in its place: the same weights, compiled and measured anew.

    Args:
        old: The bundle.
        validation: The digits that it was measured with.
        test: The official test split, or None if it was not opened for the weights, either.
        train: The other training digits.

    Returns:
        The metadata as written.

    Raises:
        BundleError: A file is missing, not as published or no network.
        PublishError: The compiled model does not agree with the network.
    """
    names = [name for name in old.metadata.files if name.startswith(f"{SNAPSHOTS}/")]
    calibrated = _Calibrated(
        load_keras(old.read(bundle.KERAS_FILE)),
        load_pre_refit(old) if old.metadata.refitted else None,
        int8=old.has(bundle.INT8_FILE),
        snapshots={Path(name).name: old.read(name) for name in names},
        decided={name: getattr(old.metadata, name) for name in DECIDED_BY_TRAINING},
    )
    return _write(calibrated, validation, test, train, old.folder)


@dataclass(frozen=True)
class _Calibrated:
    """What training has left, calibrated.

    Attributes:
        network: What is published.
        before_refit: The network that has not seen the held-out digits, if that is another.
        int8: Whether it is served in int8.
        snapshots: Files of some epochs, by name.
        decided: The fields of the metadata that do not depend on how it is compiled.
    """

    network: keras.Model
    before_refit: keras.Model | None
    int8: bool
    snapshots: Mapping[str, bytes]
    decided: Mapping[str, Any]


def _write(
    calibrated: _Calibrated,
    validation: Split,
    test: Split | None,
    train: Split | None,
    folder: Path,
) -> bundle.Metadata:
    """Compile, measure, describe and seal; an older bundle is replaced as a whole."""
    network, int8 = calibrated.network, calibrated.int8
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as workplace:
        fresh = Path(workplace) / folder.name
        served = _compile(network, fresh, int8, validation, train or validation)
        blind = served  # has not seen the held-out digits
        if calibrated.before_refit:
            chosen = Path(workplace) / "chosen"
            blind = _compile(calibrated.before_refit, chosen, int8, validation, train or validation)
            shutil.copyfile(chosen / bundle.KERAS_FILE, fresh / bundle.PRE_REFIT_FILE)
        (fresh / SNAPSHOTS).mkdir()
        for name, content in calibrated.snapshots.items():
            (fresh / SNAPSHOTS / name).write_bytes(content)
        if train:
            made = embeddings.make(served.runtime, train, validation)
            (fresh / EMBEDDINGS_FILE).write_bytes(made.to_bytes())
        after = blind.runtime.predict(validation.images)
        metadata = bundle.Metadata(
            name=folder.name,
            version=_next_version(folder),
            created=datetime.now(UTC).replace(microsecond=0),
            data_md5=data.IDX_MD5,
            libraries={name: version(name) for name in LIBRARIES},
            parameters=network.count_params(),
            multiply_adds=multiply_adds(network),
            microseconds=microseconds_an_image(_on_one_thread(fresh, int8)),
            verdict=calibrate.choose_thresholds(after, validation.labels),
            validation=evaluate(blind.runtime, validation, "validation"),
            test=evaluate(served.runtime, test, "test") if test else None,
            quantization=bundle.Quantization(
                validation=quantize.count_flips(blind.exact, blind.runtime, validation),
                test=quantize.count_flips(served.exact, served.runtime, test) if test else None,
            )
            if int8
            else None,
            robustness=robustness.measure(blind.runtime, validation),
            inputs=[bundle.Tensor(name="image", shape=[-1, 28, 28, 1])],
            outputs=[
                bundle.Tensor(name=name, shape=[-1, *values.shape[1:]])
                for name, values in vars(after).items()
            ],
            files={},
            **calibrated.decided,
        )
        card.write(metadata, fresh, test)
        sealed = bundle.seal(fresh, metadata)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    return sealed


@dataclass(frozen=True)
class _Compiled:
    """A network as it will run: the compiled model, and what is served, which may be int8."""

    exact: LiteRtRuntime
    runtime: LiteRtRuntime


def _compile(
    network: keras.Model, folder: Path, int8: bool, checked: Split, shown: Split
) -> _Compiled:
    """Write a network and its compiled forms into a new folder.

    Args:
        network: The calibrated network.
        folder: Where the files go.
        int8: Make one that computes in int8, too.
        checked: The compiled model must agree with the network on these.
        shown: The ranges of the int8 network's values are taken from these.
    """
    folder.mkdir()
    network.save(folder / bundle.KERAS_FILE)
    reloaded = load_keras((folder / bundle.KERAS_FILE).read_bytes())
    compiled = compile_model(reloaded)
    (folder / bundle.COMPILED_FILE).write_bytes(compiled)
    exact = LiteRtRuntime(compiled, interpreters=1, threads=2)
    _check_compiled(KerasRuntime(reloaded), exact, checked)
    if not int8:
        return _Compiled(exact, exact)
    quantized = quantize.compile_int8(network, shown.images)
    (folder / bundle.INT8_FILE).write_bytes(quantized)
    return _Compiled(exact, LiteRtRuntime(compiled, int8=quantized, interpreters=1, threads=2))


def _on_one_thread(folder: Path, int8: bool) -> LiteRtRuntime:
    """Load what is served from a bundle's folder."""
    quantized = (folder / bundle.INT8_FILE).read_bytes() if int8 else None
    compiled = (folder / bundle.COMPILED_FILE).read_bytes()
    return LiteRtRuntime(compiled, int8=quantized, interpreters=1)


def multiply_adds(model: keras.Model) -> int:
    """Count the multiplications of one image's convolutions and dense layers."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += multiply_adds(layer)
        elif isinstance(layer, keras.layers.Conv2D):
            total += int(np.prod(layer.output.shape[1:3])) * int(np.prod(layer.kernel.shape))
        elif isinstance(layer, keras.layers.Dense):
            total += int(np.prod(layer.kernel.shape))
    return total


def _check_compiled(reference: KerasRuntime, compiled: LiteRtRuntime, digits: Split) -> None:
    images = digits.images[:1000]
    apart = np.abs(
        reference.predict(images).probabilities - compiled.predict(images).probabilities
    ).max()
    if not apart <= COMPILED_TOLERANCE:
        raise PublishError(
            "The compiled model gives other probabilities than the Keras file: they differ by up to"
            f" {apart:.2e}, more than {COMPILED_TOLERANCE:.0e}, on {len(images)} held-out digits."
        )


def _next_version(folder: Path) -> int:
    if not (folder / bundle.METADATA).exists():
        return 1
    return bundle.open_bundle(folder).metadata.version + 1
