"""Adapts a network to a folder of pictures: from labels to a bundle, or to a plain refusal."""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy import special

from app.bundle import Bundle, Metadata
from app.version import VERSION
from training import calibrate, data
from training.adapting.anchors import read_anchors
from training.adapting.base import Base, open_base
from training.adapting.cache import FeatureCache
from training.adapting.calibration import Calibrating
from training.adapting.comparison import compare
from training.adapting.folds import cross_validate
from training.adapting.labels import find_doubtful
from training.adapting.learning import TailTrainer
from training.adapting.options import (
    AdaptOptions,
    check_room,
    names_the_folder,
    next_version,
)
from training.adapting.pictures import PictureReader, Pictures
from training.adapting.refusal import check_can_gain, check_gain
from training.adapting.report import (
    NOT_LEARNED,
    count,
    count_refused,
    describe,
    describe_sureness,
    list_doubtful,
    list_refused,
)
from training.adapting.writing import Adaptation, write_adapted
from training.data import Split
from training.target import put_in_place, workspace

RULES = "single digits only"  # of which pictures are kept; entries made by other ones are not used
HELD_OUT = 5000  # digits that our recipes hold out; an imported network names none
Say = Callable[[str], None]
Show = Callable[[str, int, int], None]


def adapt(
    bundle: Bundle,
    options: AdaptOptions,
    digits: Split,
    say: Say,
    show: Show,
) -> Metadata:
    """Adapt a network and write its bundle.

    Args:
        bundle: The network.
        options: What the user chose.
        digits: MNIST's training split.
        say: Called with each result, a line.
        show: Called with the stage of the work, its steps so far and their number.

    Returns:
        The metadata as written.

    Raises:
        TrainingError: The network is not adapted; the message says why.
        DigitscopeError: The pictures or the bundle cannot be read.
    """
    number = next_version(options, bundle)
    check_room(options, bundle)
    base = open_base(bundle, deep=options.deep)
    train, held_out = _split(bundle, digits)
    cache = FeatureCache(options.cache, base.sha256, VERSION, RULES, base.split.layers[0])
    try:
        reader = PictureReader(base.model, base.split, options.reading, cache)
        pictures = reader.read(options.pictures, partial(show, "Reading"))
        _report_pictures(pictures, say)
        _check_pictures(base, pictures)
        trainer = TailTrainer(base.split, read_anchors(base.split, train, cache))
    finally:
        cache.shrink()
    adaptation = _learn(base, pictures, trainer, held_out, say, partial(show, "Training"))
    show("Compiling", 0, 1)
    with names_the_folder(options.models), workspace(options.folder) as place:
        written = place / options.name
        metadata, sureness = write_adapted(adaptation, train, held_out, written, number)
        put_in_place(written, options.folder)
    if metadata.adapted:
        held_out_digits = "MNIST's held-out digits"
        say(describe(metadata.adapted.held_out, held_out_digits, base.name, "the new network"))
    for line in describe_sureness(sureness, base.name):
        say(line)
    if unused := count_refused(pictures):
        say(unused)
    return metadata


def _split(bundle: Bundle, digits: Split) -> tuple[Split, Split]:
    """Return the digits to learn from, and the held-out ones: those that the base holds out."""
    metadata = bundle.metadata
    own = metadata.validation if metadata.imported is None else None
    return data.hold_out(digits, min(own.digits if own else HELD_OUT, len(digits) // 4))


def _report_pictures(pictures: Pictures, say: Say) -> None:
    for line in list_refused(pictures):
        say(line)
    copies = len(pictures) - len(pictures.different)
    counted = f", of which {count(copies, 'is a copy', 'are copies')} and not counted"
    say(f"{count(len(pictures), 'labelled picture')}{counted if copies else ''}.")


def _check_pictures(base: Base, pictures: Pictures) -> None:
    """Check that the base misreads enough of the pictures."""
    rows = pictures.different
    logits = base.split.logits(pictures.features[rows])
    misread = int((logits.argmax(axis=1) != pictures.labels[rows]).sum())
    check_can_gain(misread, len(rows), base.name)


def _learn(
    base: Base,
    pictures: Pictures,
    trainer: TailTrainer,
    held_out: Split,
    say: Say,
    show: Callable[[int, int], None],
) -> Adaptation:
    """Cross-validate, check the gain, train on all pictures, and calibrate."""
    tried, rows = cross_validate(trainer, pictures, show), pictures.different
    before, after, labels = tried.before[rows], tried.after[rows], pictures.labels[rows]
    gain = compare(before.argmax(axis=1), after.argmax(axis=1), labels)
    probabilities = special.softmax(after, axis=1)
    names, classes = pictures.names_with_copies, base.bundle.metadata.classes
    doubtful = find_doubtful(names, labels, probabilities, classes)
    for line in [
        *list_doubtful(doubtful, labels),
        describe(gain, "Your pictures", base.name, NOT_LEARNED),
    ]:
        say(line)
    check_gain(gain, doubtful)
    learned = trainer.train(pictures.features, pictures.labels, iterations=tried.iterations)
    unseen = held_out.take(pictures.not_among(held_out.images))
    logits = trainer.logits(learned.weights, base.split.features(unseen.images))
    calibrating = Calibrating(
        np.concatenate([after, logits]), np.concatenate([labels, unseen.labels]), len(rows)
    )
    temperature = calibrating.temperature
    calibrate.fold_temperature(base.split.network, temperature, base.split.layers[-1])
    return Adaptation(base, pictures, gain, before, learned, calibrating, temperature, doubtful)
