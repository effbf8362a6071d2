"""Sentences on why the figures of an evaluation may not hold for other pictures.

Knows labels, answers and figures; knows nothing of files.
"""

from collections import defaultdict
from collections.abc import Sequence

from app.evaluation.answers import Answer
from app.evaluation.schema import ModelFigures, UnusedFile
from app.labelled_images import LabelledImage
from app.printable import printable

SUSPICIOUS_ERROR, MIN_SUSPICIOUS = 0.5, 20  # error and number of pictures of labels to check
MANY_UNREADABLE = 0.05  # share of labelled files; the figures hold only for the others


def label_warnings(models: Sequence[ModelFigures]) -> list[str]:
    """Return a sentence if the labels look wrong: all models misread most of many pictures."""
    measured = [model.digits for model in models if model.digits]
    if not measured or min(digits.error_rate for digits in measured) < SUSPICIOUS_ERROR:
        return []
    if measured[0].pictures < MIN_SUSPICIOUS:
        return []
    return [
        "Most answers differ from the labels. Check that the labels are the digits: a folder or an"
        " end of a name may be a number of something else."
    ]


def unreadable_warnings(unreadable: Sequence[UnusedFile], total: int) -> list[str]:
    """Return a sentence if many labelled files could not be read."""
    if not unreadable or len(unreadable) < MANY_UNREADABLE * total:
        return []
    return [
        f"{len(unreadable) / total:.0%} of the labelled files could not be read, and the error of"
        " the others may differ from theirs. See the reasons, such as"
        f" {printable(unreadable[0].name)}: {printable(unreadable[0].reason)}"
    ]


def copy_warnings(images: Sequence[LabelledImage], answers: Sequence[Answer]) -> list[str]:
    """Return sentences on files with the same bytes: those with two labels, and all others.

    Args:
        images: The labelled pictures and pages.
        answers: The answers of one model for them.
    """
    files = defaultdict[str, list[LabelledImage]](list)
    for image, answer in zip(images, answers, strict=True):
        if answer.file_digest:
            files[answer.file_digest].append(image)
    groups = [group for group in files.values() if len(group) > 1]
    torn = [group for group in groups if len({(each.label, each.text) for each in group}) > 1]
    sentences = []
    if torn:
        first = torn[0][0]
        other = next(
            each for each in torn[0] if (each.label, each.text) != (first.label, first.text)
        )
        sentences.append(
            f"{len(torn):,} {'file has' if len(torn) == 1 else 'files have'} copies with another"
            f" label, such as {_named(first)} and {_named(other)}. At most one of them is right."
        )
    if groups:
        copies = sum(len(group) - 1 for group in groups)
        are = "picture is a copy of another" if copies == 1 else "pictures are copies of others"
        sentences.append(
            f"{copies:,} {are},"
            f" such as {printable(groups[0][1].name)} of {printable(groups[0][0].name)}. All are"
            " counted, so the intervals are too narrow."
        )
    return sentences


def _named(image: LabelledImage) -> str:
    return f"{printable(image.name)} ({printable(image.label or image.text)[:40]})"
