"""Measures models on labelled pictures: finds them, has them read, and computes the figures.

Knows bundles, labels and answers; the caller supplies the processes that read and shows the result.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.bundle import Bundle
from app.errors import InvalidInputError
from app.evaluation.answer_file import AnswerFile
from app.evaluation.answers import Answer
from app.evaluation.figures import compare, model_figures, unreadable
from app.evaluation.reading import Answers
from app.evaluation.sample_warnings import copy_warnings, label_warnings, unreadable_warnings
from app.evaluation.schema import Figures, UnusedFile
from app.labelled_images import LabelledImage, LabelledImages
from app.model_version import ModelVersion
from app.version import VERSION

Read = Callable[[Iterable[LabelledImage]], Iterator[Answers]]


@dataclass(frozen=True)
class Collected:
    """The answers for labelled pictures.

    Attributes:
        answers: For each model its answer for each picture.
        resumed: Number of pictures whose answers were known.
    """

    answers: Sequence[Sequence[Answer]]
    resumed: int


def check_same_classes(bundles: Sequence[Bundle]) -> list[str]:
    """Return the names of the classes, in the order of the first model.

    Raises:
        InvalidInputError: The models do not have the same classes, so they cannot be compared.
    """
    first, *others = (bundle.metadata for bundle in bundles)
    for other in others:
        if set(other.classes) != set(first.classes):
            raise InvalidInputError(
                f"The models {first.name!r} and {other.name!r} know different classes:"
                f" {', '.join(first.classes)}; and {', '.join(other.classes)}. Measure each alone."
            )
    return first.classes


def collect_answers(
    images: Sequence[LabelledImage],
    versions: Sequence[ModelVersion],
    read: Read,
    store: AnswerFile | None,
    on_read: Callable[[], None] = lambda: None,
) -> Collected:
    """Have the pictures read whose answers are not known.

    Args:
        images: The labelled pictures and pages.
        versions: The models.
        read: Reads pictures with all models and yields their answers in order.
        store: Answers to use, which new ones are added to; None keeps none.
        on_read: Called for each picture, also for those whose answers were known.

    Raises:
        InvalidInputError: `store` cannot be written.
    """
    answers: list[Answers | None] = [None] * len(images)
    for index, image in enumerate(images):
        known = [store.find(image, each) if store else None for each in versions]
        complete = tuple(each for each in known if each)
        if len(complete) == len(versions):
            answers[index] = complete
            on_read()
    remaining = [index for index, each in enumerate(answers) if each is None]
    read_now = read(images[index] for index in remaining) if remaining else iter(())
    for index, new in zip(remaining, read_now, strict=True):
        answers[index] = new
        for version, answer in zip(versions, new, strict=True):
            if store:
                store.add(images[index], version, answer)
        on_read()
    complete_answers = [each for each in answers if each is not None]
    return Collected(list(zip(*complete_answers, strict=True)), len(images) - len(remaining))


def make_figures(
    place: Path,
    found: LabelledImages,
    bundles: Sequence[Bundle],
    collected: Collected,
) -> Figures:
    """Return the figures of all models, and their comparison.

    Args:
        place: The folder or the table, as it was given.
        found: What it holds; at least one picture.
        bundles: The models.
        collected: Their answers.
    """
    classes = bundles[0].metadata.classes
    names = [bundle.metadata.name for bundle in bundles]
    measured = [
        model_figures(bundle.metadata, classes, found.images, answers)
        for bundle, answers in zip(bundles, collected.answers, strict=True)
    ]
    unread = unreadable(found.images, collected.answers)
    return Figures(
        digitscope=VERSION,
        created=datetime.now(UTC).replace(microsecond=0),
        images=str(place),
        classes=classes,
        pictures=len(found.images),
        warnings=[
            *found.warnings,
            *label_warnings(measured),
            *copy_warnings(found.images, collected.answers[0]),
            *unreadable_warnings(unread, len(found.images)),
        ],
        unused=[UnusedFile(name=each.name, reason=each.reason) for each in found.refused],
        unreadable=unread,
        models=measured,
        comparisons=compare(found.images, collected.answers, names),
    )
