"""Imports a network: from a file to a bundle that is served like our own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from app import bundle
from training.errors import ImportingError
from training.importing.adapter import Fit
from training.importing.classes import (
    IDENTITY,
    MIN_GAIN,
    ClassOrder,
    default_names,
    describe_order,
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
from training.importing.scale import (
    GOOD_ACCURACY,
    MIN_ACCURACY,
    RAW,
    Scale,
    Trial,
    parse_scale,
    rank,
    try_scales,
)
from training.importing.served import check_served
from training.importing.tflite_import import TfliteImport
from training.importing.tflite_source import TfliteCore, read_core
from training.importing.trust import load_trusted
from training.target import put_in_place, workspace


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
    place = models / options.name
    with workspace(place) as temporary:
        folder = temporary / options.name
        folder.mkdir()
        if isinstance(core, TfliteCore):
            result = TfliteImport(source, options, core, decisions).finish(folder, version)
        else:
            core = replace(core, changes=(*core.changes, *decisions.changes))
            result = KerasImport(source, options, core, decisions).finish(folder, version)
        check_served(folder)
        put_in_place(folder, place)
    return replace(result, folder=place)


def _decide(core: Core | TfliteCore, scale: Scale | None, options: Options) -> Decisions:
    """Find scale, size and order of the classes, as far as the user did not give them."""
    names = read_names(options.classes, core.classes)
    named = order_of_names(names) if names is not None else None
    have_digits = core.classes >= len(bundle.DIGITS) and (names is None or named is not None)
    trials = _try(core, scale, named, have_digits)
    best = trials[0]
    are_read = have_digits and best.accuracy >= MIN_ACCURACY
    if scale is None and have_digits and not are_read:
        raise ImportingError(
            f"The network reads {100 * best.accuracy:.0f} % of {best.digits} digits at best, so the"
            " range of its pixels cannot be found. Give it with --input 0..255, 0..1, -1..1,"
            " inverted, MEAN,STD or 'inverted MEAN,STD'; if its classes are not digits, name them"
            " with --classes. Digits that are mirrored or turned are not read either."
        )
    order = best.order if have_digits else IDENTITY
    sources = order.sources(core.classes) if order.is_permuted else list(range(core.classes))
    choice = Choice(best.scale, best.fit, sources)
    labels = default_names(sources) if names is None else [names[source] for source in sources]
    return Decisions(trials, choice, labels, are_read, _changes(best, sources, have_digits))


def _try(
    core: Core | TfliteCore, scale: Scale | None, order: ClassOrder | None, have_digits: bool
) -> list[Trial]:
    """Try the scales; if the digits are not read, also with rows and columns exchanged."""

    def run(fits: Sequence[Fit]) -> list[Trial]:
        return try_scales(
            core.answer,
            fits,
            core.classes,
            load_digits().scaled,
            (scale,) if scale else core.scales,
            order=order,
            are_digits=have_digits,
            products=core.products if isinstance(core, Core) else 0,
        )

    if isinstance(core, TfliteCore):
        return run(core.form.fits[:1])
    trials = run(core.form.fits)
    if have_digits and trials[0].accuracy < GOOD_ACCURACY and core.form.rare_fits:
        found = run(core.form.rare_fits)
        if found[0].accuracy >= max(GOOD_ACCURACY, trials[0].accuracy + MIN_GAIN):
            trials = rank([*found, *trials])
    return trials


def _changes(best: Trial, sources: Sequence[int], have_digits: bool) -> tuple[str, ...]:
    """Return what was changed, and what may be wrong, in sentences."""
    changes = [describe_order(sources)]
    if best.fit == "transposed":
        changes.append("Rows and columns of the image are exchanged, as the network expects them.")
    if have_digits and best.accuracy < GOOD_ACCURACY:
        changes.append(
            f"WARNING: the network reads only {100 * best.accuracy:.0f} % of {best.digits} digits."
            " The range of the pixels, the orientation of the image or the order of the classes"
            " may be wrong. Try --input 0..255, -1..1, inverted, MEAN,STD or 'inverted MEAN,STD';"
            " name the classes with --classes, in the order of the outputs."
        )
    return tuple(change for change in changes if change)


def _read_core(source: Source, options: Options, trusted: Mapping[str, Any]) -> Core | TfliteCore:
    """Read the network of a file up to its scores."""
    sample = load_digits().scaled.images[:20].astype(np.float32)[..., None]
    if source.format in ("tflite", "savedmodel"):
        content = source.content or convert_saved_model(source.path, options.trust)
        return read_core(content, sample)
    if source.format == "onnx":
        return rebuild(load_onnx(source.content), sample)
    return rebuild(load_network(source, trusted), sample)


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
