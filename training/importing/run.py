"""Imports a network: from a file to a bundle that is served like our own."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from app import bundle
from training.errors import ImportingError
from training.importing.classes import (
    IDENTITY,
    ClassOrder,
    default_names,
    order_of_names,
    read_names,
)
from training.importing.digits import load_digits
from training.importing.formats import Source, read_source
from training.importing.keras_import import KerasImport
from training.importing.keras_source import load_network
from training.importing.network import Choice, Core, rebuild
from training.importing.onnx_source import load_onnx
from training.importing.options import Decisions, Options, Result
from training.importing.saved_model import convert_saved_model
from training.importing.scale import MIN_ACCURACY, RAW, Scale, Trial, parse_scale, try_scales
from training.importing.served import check_served
from training.importing.tflite_import import TfliteImport
from training.importing.tflite_source import TfliteCore, read_core
from training.importing.trust import load_trusted


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
    decisions = _decide(core, scale, options)
    models.mkdir(parents=True, exist_ok=True)
    with _workspace(models, options.name) as folder:
        if isinstance(core, TfliteCore):
            result = TfliteImport(source, options, core, decisions).finish(folder, version)
        else:
            result = KerasImport(source, options, core, decisions).finish(folder, version)
        check_served(folder)
        place = models / options.name
        if place.exists():
            shutil.rmtree(place)
        folder.rename(place)
    return replace(result, folder=place)


def _decide(core: Core | TfliteCore, scale: Scale | None, options: Options) -> Decisions:
    """Find scale, size and order of the classes, as far as the user did not give them."""
    names = read_names(options.classes, core.classes)
    trials = try_scales(
        core.answer,
        core.form.fits[:1] if isinstance(core, TfliteCore) else core.form.fits,
        core.classes,
        load_digits().scaled,
        (scale,) if scale else core.scales,
    )
    best = trials[0]
    are_read = core.classes >= len(bundle.DIGITS) and best.accuracy >= MIN_ACCURACY
    if scale is None and not are_read and core.classes >= len(bundle.DIGITS):
        raise ImportingError(
            f"The network reads {100 * best.accuracy:.0f} % of 300 digits at best, so the range of"
            " its pixels cannot be found. Give it with --input 0..255, 0..1, -1..1, inverted or"
            " MEAN,STD; if its classes are not digits, name them with --classes."
        )
    order = _choose_order(best, names, core.classes)
    sources = order.sources(core.classes) if order.is_permuted else list(range(core.classes))
    choice = Choice(best.scale, best.fit, sources)
    return Decisions(trials, choice, _names(names, sources, core.classes), are_read)


def _read_core(source: Source, options: Options, trusted: Mapping[str, Any]) -> Core | TfliteCore:
    """Read the network of a file up to its scores."""
    sample = load_digits().scaled.images[:20].astype(np.float32)[..., None]
    if source.format in ("tflite", "savedmodel"):
        content = source.content or convert_saved_model(source.path, options.trust)
        return read_core(content, sample)
    if source.format == "onnx":
        return rebuild(load_onnx(source.content), sample)
    return rebuild(load_network(source, trusted), sample)


def _choose_order(best: Trial, names: Sequence[str] | None, classes: int) -> ClassOrder:
    """Return which class is which digit: names tell it, else the confusion."""
    if names is not None:
        return order_of_names(names) or IDENTITY
    return best.order if classes >= len(bundle.DIGITS) else IDENTITY


def _names(names: Sequence[str] | None, sources: Sequence[int], classes: int) -> list[str]:
    if names is None:
        return default_names(classes)
    return [names[source] for source in sources]


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
