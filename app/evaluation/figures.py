"""Computes the figures of models from their answers.

Knows answers and labels; knows nothing of files or of how the figures are shown.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from app.bundle import Metadata
from app.evaluation.answers import Answer, Place, Reading
from app.evaluation.schema import (
    Calibration,
    Comparison,
    DigitFigures,
    FolderFigures,
    MisreadPage,
    MisreadPicture,
    ModelFigures,
    PageDigit,
    PageFigures,
    UnusedFile,
    VerdictFigures,
)
from app.evaluation.statistics import (
    CALIBRATION_BINS,
    expected_calibration_error,
    mcnemar,
    reliability,
    wilson,
)
from app.labelled_images import LabelledImage
from app.verdict import Verdict

VERDICTS: tuple[Verdict, ...] = ("digit", "unsure", "not-a-digit")


class ReadPicture(NamedTuple):
    """A picture of a digit, and what a model read in it."""

    image: LabelledImage
    reading: Reading
    answer: Answer

    @property
    def is_right(self) -> bool:
        """Return whether the answer is the label."""
        return self.reading.answer == self.image.label


def model_figures(
    metadata: Metadata,
    classes: Sequence[str],
    images: Sequence[LabelledImage],
    answers: Sequence[Answer],
) -> ModelFigures:
    """Return the figures of a model.

    Args:
        metadata: The model.
        classes: Names of the classes, in the order of the confusion matrix.
        images: The labelled pictures and pages.
        answers: The model's answer for each.
    """
    pages = [
        (image, answer)
        for image, answer in zip(images, answers, strict=True)
        if image.text and not answer.error
    ]
    return ModelFigures(
        name=metadata.name,
        version=metadata.version,
        digits=_digit_figures(_read_pictures(images, answers), classes),
        pages=_page_figures(pages),
    )


def unreadable(
    images: Sequence[LabelledImage], answers: Sequence[Sequence[Answer]]
) -> list[UnusedFile]:
    """Return the labelled files that a model could not read, with the first reason."""
    reasons = [next((a.error for a in each if a.error), "") for each in zip(*answers, strict=True)]
    return [
        UnusedFile(name=image.name, reason=reason)
        for image, reason in zip(images, reasons, strict=True)
        if reason
    ]


def compare(
    images: Sequence[LabelledImage], answers: Sequence[Sequence[Answer]], names: Sequence[str]
) -> list[Comparison]:
    """Compare each pair of models by the pictures that only one of them misreads.

    Args:
        images: The labelled pictures and pages; pages are left out.
        answers: Answers of each model for the pictures.
        names: Names of the models.
    """
    right = [
        {read.image.name: read.is_right for read in _read_pictures(images, each)}
        for each in answers
    ]
    comparisons = []
    for first, second in combinations(range(len(names)), 2):
        both = right[first].keys() & right[second].keys()
        counts = Counter((right[first][name], right[second][name]) for name in both)
        only_first, only_second = counts[False, True], counts[True, False]
        comparisons.append(
            Comparison(
                first=names[first],
                second=names[second],
                pictures=len(both),
                only_first_wrong=only_first,
                only_second_wrong=only_second,
                p_value=mcnemar(only_first, only_second),
            )
        )
    return comparisons


def _read_pictures(images: Sequence[LabelledImage], answers: Sequence[Answer]) -> list[ReadPicture]:
    return [
        ReadPicture(image, answer.reading, answer)
        for image, answer in zip(images, answers, strict=True)
        if answer.reading
    ]


def _digit_figures(read: list[ReadPicture], classes: Sequence[str]) -> DigitFigures | None:
    if not read:
        return None
    wrong = [each for each in read if not each.is_right]
    places = {name: index for index, name in enumerate(classes)}
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    for each in read:
        confusion[places[each.image.label], places[each.reading.answer]] += 1
    confidences = [each.reading.confidence for each in read]
    bins = reliability(confidences, [each.is_right for each in read])
    return DigitFigures(
        pictures=len(read),
        wrong=len(wrong),
        error_rate=len(wrong) / len(read),
        interval=wilson(len(wrong), len(read)),
        calibration=Calibration(
            expected_calibration_error=expected_calibration_error(bins),
            bins=CALIBRATION_BINS,
            mean_confidence=float(np.mean(confidences)),
            reliability=bins,
        ),
        verdicts=_verdicts([(each.reading.verdict, each.is_right) for each in read]),
        confusion=confusion.tolist(),
        folders=_folders(read),
        misread=[_misread(each) for each in sorted(wrong, key=_surest_first)],
    )


def _surest_first(read: ReadPicture) -> tuple[float, str]:
    return -read.reading.confidence, read.image.name


def _verdicts(answers: Sequence[tuple[Verdict, bool]]) -> list[VerdictFigures]:
    """Count verdicts, and the wrong answers with each, from pairs of a verdict and `is_right`."""
    counts = Counter(answers)
    return [
        VerdictFigures(
            verdict=verdict,
            answers=counts[verdict, True] + counts[verdict, False],
            wrong=counts[verdict, False],
        )
        for verdict in VERDICTS
    ]


def _folders(read: list[ReadPicture]) -> list[FolderFigures]:
    groups = defaultdict[str, list[ReadPicture]](list)
    for each in read:
        groups[each.image.folder].append(each)
    folders = []
    for folder, inside in groups.items():
        wrong = sum(not each.is_right for each in inside)
        folders.append(
            FolderFigures(
                folder=folder,
                pictures=len(inside),
                wrong=wrong,
                error_rate=wrong / len(inside),
                interval=wilson(wrong, len(inside)),
                refused=sum(each.reading.verdict != "digit" for each in inside),
            )
        )
    return sorted(folders, key=lambda each: (-each.wrong, each.folder))


def _misread(read: ReadPicture) -> MisreadPicture:
    return MisreadPicture(
        name=read.image.name,
        label=read.image.label,
        answer=read.reading.answer,
        confidence=read.reading.confidence,
        verdict=read.reading.verdict,
        runner_up=read.reading.runner_up,
        warnings=list(read.answer.warnings),
        prepared=read.reading.prepared,
        picture=read.answer.picture,
    )


def _page_figures(pages: Sequence[tuple[LabelledImage, Answer]]) -> PageFigures | None:
    if not pages:
        return None
    places = [place for _, answer in pages for place in answer.places]
    misread = [(image, answer) for image, answer in pages if _page_errors(answer)]
    right = sum(place.is_right for place in places)
    missing = sum(place.reading is None for place in places)
    extra = sum(not place.expected for place in places)
    digits = len(places) - extra
    return PageFigures(
        pages=len(pages),
        exact=len(pages) - len(misread),
        digits=digits,
        right=right,
        wrong=digits - right - missing,
        missing=missing,
        extra=extra,
        marks=sum(answer.marks for _, answer in pages),
        error_rate=(digits - right) / digits,
        interval=wilson(digits - right, digits),
        verdicts=_verdicts(
            [(each.reading.verdict, each.is_right) for each in places if each.reading]
        ),
        misread=[
            MisreadPage(
                name=image.name,
                digits=[_page_digit(place) for place in answer.places],
                warnings=list(answer.warnings),
            )
            for image, answer in sorted(misread, key=lambda each: -_page_errors(each[1]))
        ],
    )


def _page_errors(answer: Answer) -> int:
    return sum(not place.is_right for place in answer.places)


def _page_digit(place: Place) -> PageDigit:
    reading = place.reading or Reading("", 0.0, "digit")
    return PageDigit(
        expected=place.expected,
        answer=reading.answer,
        confidence=reading.confidence,
        verdict=reading.verdict if place.reading else "",
        prepared=reading.prepared,
    )
