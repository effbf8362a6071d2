"""Reads labelled pictures and pages with one or more models.

A picture is decoded and prepared once for all models. Knows pictures and models; knows nothing of
processes or figures.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from app.errors import DigitscopeError, InvalidInputError
from app.evaluation.alignment import GAP, MAX_LENGTH, align
from app.evaluation.answers import Answer, Place, Reading, encode_thumbnail
from app.group_reading import PageDigit
from app.image_files import read_image_file
from app.imaging.decode import Upload
from app.imaging.passthrough import SIDE
from app.inference.model import Model
from app.labelled_images import LabelledImage
from app.page_reading import Page, read_pages
from app.predictions import Prediction, PreparedImage
from app.recognise import Options, ensure_decoded, predict, read_image, warn_of_several
from app.render import png_base64

DIGEST_BYTES = 16  # of the hash that tells copies of a file; a chance match is out of reach
Answers = tuple[Answer, ...]  # of one picture, one for each model


def read_labelled(
    images: Sequence[LabelledImage], models: Sequence[Model], options: Options
) -> list[Answers]:
    """Read a few pictures and pages; return the answers of all models for each."""
    uploads, digests = zip(*(_decode(image, options) for image in images), strict=True)
    prepared = {
        index: _prepare(upload, options)
        for index, (image, upload) in enumerate(zip(images, uploads, strict=True))
        if image.label
    }
    columns = [
        _read_digits(images, prepared, model, options)
        | _read_pages(images, uploads, model, options)
        for model in models
    ]
    return [
        tuple(replace(column[index], file_digest=digest) for column in columns)
        for index, digest in enumerate(digests)
    ]


def _decode(image: LabelledImage, options: Options) -> tuple[Upload | DigitscopeError, str]:
    """Return a picture and the hash of its file; why there is no picture and ""."""
    try:
        content = read_image_file(image.path, max_pixels=options.max_pixels)
        digest = hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()
        return ensure_decoded(content, options), digest
    except DigitscopeError as error:
        return error, ""


def _prepare(upload: Upload | DigitscopeError, options: Options) -> PreparedImage | DigitscopeError:
    if isinstance(upload, DigitscopeError):
        return upload
    try:
        return read_image(upload, options)
    except DigitscopeError as error:
        return error


def _read_digits(
    images: Sequence[LabelledImage],
    prepared: dict[int, PreparedImage | DigitscopeError],
    model: Model,
    options: Options,
) -> dict[int, Answer]:
    """Return a model's answers for pictures of one digit, by their indices."""
    answers = {
        index: Answer(error=each.detail)
        for index, each in prepared.items()
        if isinstance(each, DigitscopeError)
    }
    readable = {
        index: warn_of_several(each, model, options)
        for index, each in prepared.items()
        if isinstance(each, PreparedImage)
    }
    if not readable:
        return answers
    for index, prediction in zip(readable, predict(list(readable.values()), model), strict=True):
        answers[index] = _digit_answer(
            prediction, images[index].label, model.bundle.metadata.classes
        )
    return answers


def _digit_answer(prediction: Prediction, label: str, classes: Sequence[str]) -> Answer:
    upload, warnings = prediction.upload, prediction.upload.warnings + prediction.prepared.warnings
    reading = Reading(
        classes[prediction.digit],
        prediction.confidence,
        prediction.verdict,
        classes[prediction.runner_up],
    )
    if reading.answer == label:
        return Answer(reading=reading, warnings=warnings)
    is_same = upload.pixels.shape == (SIDE, SIDE)
    return Answer(
        reading=replace(reading, prepared=png_base64(prediction.prepared.pixels)),
        warnings=warnings,
        picture="" if is_same else encode_thumbnail(upload.pixels),
    )


def _read_pages(
    images: Sequence[LabelledImage],
    uploads: Sequence[Upload | DigitscopeError],
    model: Model,
    options: Options,
) -> dict[int, Answer]:
    """Return a model's answers for pages, by their indices."""
    answers, readable = dict[int, Answer](), dict[int, Upload]()
    for index, (image, upload) in enumerate(zip(images, uploads, strict=True)):
        if not image.text:
            continue
        if isinstance(upload, DigitscopeError):
            answers[index] = Answer(error=upload.detail)
        else:
            readable[index] = upload
    pages = read_pages(readable.values(), model, options) if readable else []
    for index, page in zip(readable, pages, strict=True):
        try:
            answers[index] = _page_answer(page, images[index].text, model.bundle.metadata.classes)
        except DigitscopeError as error:
            answers[index] = Answer(error=error.detail)
    return answers


def _page_answer(page: Page | DigitscopeError, text: str, classes: Sequence[str]) -> Answer:
    """Compare a page with its text: only the characters that are classes count."""
    if isinstance(page, DigitscopeError):
        raise page
    marks = [read for line in page.lines for read in line]
    digits = [read for read in marks if read.verdict != "not-a-digit"]
    expected = "".join(char for char in text if char in classes)
    if max(len(expected), len(digits)) > MAX_LENGTH:
        raise InvalidInputError(
            f"The text has {len(expected):,} digits and {len(digits):,} were read; pages of at most"
            f" {MAX_LENGTH:,} are compared."
        )
    rest, places = iter(digits), list[Place]()
    for pair in align(expected, "".join(read.label for read in digits)):
        digit = next(rest) if pair.read != GAP else None
        places.append(Place(pair.expected, _page_reading(digit, pair.expected)))
    return Answer(
        places=tuple(places),
        marks=len(marks) - len(digits),
        warnings=page.upload.warnings + page.warnings,
    )


def _page_reading(digit: PageDigit | None, expected: str) -> Reading | None:
    if digit is None:
        return None
    prepared = "" if digit.label == expected else png_base64(digit.pixels)
    return Reading(digit.label, digit.confidence, digit.verdict, prepared=prepared)
