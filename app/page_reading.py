"""Reads all digits on an image, line by line.

Touching digits are cut apart at several places; the network scores every piece and the best chain
of pieces is the text. Builds on `app.recognise`. Knows images and models; knows nothing of HTTP.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.boxes import Box
from app.errors import BlankImageError, InvalidInputError
from app.imaging.decode import Upload
from app.imaging.polarity import DetectedPolarity
from app.imaging.prepare import IDENTITY
from app.imaging.segment import Segment, StrokeGroup, segment
from app.imaging.stages import NetworkInput
from app.inference.model import Model
from app.recognise import ImageInput, Options, ensure_decoded, working_bytes
from app.selection import CandidateBatch, select
from app.verdict import Verdict, energy, judge

# Penalty for each cut, in nats: a reading with one more digit must be e times as likely. Without
# it a curve cut in two often reads as a passable 1 and another digit.
CUT_PENALTY = 1.0
# Height of a second digit in heights of the tallest; lower ones are parts of a broken digit.
MIN_SEVERAL_HEIGHT, MIN_EQUAL_HEIGHT = 0.6, 0.7
MAX_WARNED_CHARACTERS = 40  # of the text in a warning
PAGE_VIEWS = ("upright", "turned")  # of pieces that are not sure
MAX_VIEWED_WIDTH = 1.2  # heights; a wider piece may be two digits or a dash


@dataclass(frozen=True)
class PageDigit:
    """One digit on a page.

    Attributes:
        digit: The most probable class, which is the digit in a model of digits.
        label: Name of that class.
        confidence: Its probability, 0..1.
        probabilities: float32 `[classes]`, sum 1.
        verdict: `digit`, `unsure` or `not-a-digit`.
        box: Its bounding box, in pixels of the upload.
    """

    digit: int
    label: str
    confidence: float
    probabilities: NDArray[np.float32]
    verdict: Verdict
    box: Box[int]


@dataclass(frozen=True)
class Field:
    """A printed frame on a page: a box, a field, a comb of cells or a table.

    Attributes:
        box: Its outline, in pixels of the upload.
        text: The text in it; the rows of a table are separated by line feeds.
    """

    box: Box[int]
    text: str


@dataclass(frozen=True)
class Page:
    """The digits on an image.

    Attributes:
        upload: The decoded image.
        polarity: Which side was taken as ink.
        lines: The digits of each line from left to right; lines from top to bottom.
        fields: The printed frames, with the text in each.
        warnings: What was not read, and what to do about it.
    """

    upload: Upload
    polarity: DetectedPolarity
    lines: tuple[tuple[PageDigit, ...], ...]
    fields: tuple[Field, ...]
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return the text of the lines, separated by line feeds."""
        return "\n".join(line_text(line) for line in self.lines)


def line_text(line: tuple[PageDigit, ...]) -> str:
    """Return the labels of a line as text, with `?` for a mark that is not a digit."""
    return "".join("?" if read.verdict == "not-a-digit" else read.label for read in line)


def read_page(image: ImageInput, model: Model, options: Options) -> Page:
    """Read all digits on an image.

    Raises:
        UndecodableError: The file is not an image, or it is damaged.
        TooLargeError: The image has more than `max_pixels` pixels.
        BlankImageError: The image shows no ink.
        InvalidInputError: `preprocess` is `none`.
    """
    if options.preprocess == "none":
        raise InvalidInputError(
            "Several digits can only be read from a prepared image: leave out preprocess=none, or"
            " send each digit to /predict."
        )
    upload = ensure_decoded(image, options)
    with options.working_memory(working_bytes(upload)):
        found = segment(upload, polarity=options.polarity, skip=options.skip)
    groups = found.groups
    pieces = [piece for group in groups for piece in group.segments]
    digits, likelihoods = _read_pieces(pieces, model)
    chains, used, start = list[tuple[int, list[int]]](), list[int](), 0
    for group in groups:
        stop = start + len(group.segments)
        best = _best_chain(group, likelihoods[start:stop], digits[start:stop])
        chain = [start + index for index in best]
        if group.is_sign:
            for index in chain:
                digits[index] = replace(digits[index], verdict="not-a-digit")
        else:
            used += chain
        chains.append((group.line, chain))
        start = stop
    _look_again(used, pieces, digits, model, options)
    lines: list[list[PageDigit]] = [[] for _ in range(max(group.line for group in groups) + 1)]
    for line, chain in chains:
        lines[line] += [digits[index] for index in chain]
    read = tuple(tuple(line) for line in lines)
    fields = tuple(Field(box, _text_inside(box, read)) for box in found.fields)
    return Page(upload, found.polarity, read, fields, (*found.warnings, *_warn_of_unsure(read)))


def _warn_of_unsure(lines: tuple[tuple[PageDigit, ...], ...]) -> list[str]:
    """Return a warning if digits of the text are unsure; the text itself does not show that."""
    digits = [read for line in lines for read in line if read.verdict != "not-a-digit"]
    unsure = sum(read.verdict == "unsure" for read in digits)
    if not unsure:
        return []
    return [f"{unsure} of {len(digits)} digits are unsure: see the verdict of each."]


def find_several(upload: Upload, model: Model, options: Options, *, in_doubt: bool) -> str:
    """Return a sentence that names the digits on an image, or "" if it does not show several.

    Args:
        upload: The decoded image.
        model: The network.
        options: How the image is read.
        in_doubt: The network may take all strokes for one digit, such as a broken one: only a line
            of sure digits of about one height are several.

    Raises:
        WorkCancelled: The client has gone, or its deadline has passed.
    """
    try:
        page = read_page(upload, model, options)
    except BlankImageError:
        return ""
    lines = [[read for read in line if read.verdict != "not-a-digit"] for line in page.lines]
    digits = [read for line in lines for read in line]
    if not _are_several(lines) or (in_doubt and not _are_one_line(page.lines)):
        return ""
    text = " ".join(page.text.split())
    if len(text) > MAX_WARNED_CHARACTERS:
        text = text[:MAX_WARNED_CHARACTERS] + "..."
    return f'The image seems to show {len(digits)} digits; POST /read reads "{text}".'


def _are_several(lines: list[list[PageDigit]]) -> bool:
    """Return whether there are two tall digits in a line, or three in all.

    Two above each other may be the parts of a broken digit, and a low one may be a part of another.
    """
    tallest = max((read.box.height for line in lines for read in line), default=0)
    counts = [
        sum(read.box.height >= MIN_SEVERAL_HEIGHT * tallest for read in line) for line in lines
    ]
    return max(counts, default=0) >= 2 or sum(counts) >= 3


def _are_one_line(lines: tuple[tuple[PageDigit, ...], ...]) -> bool:
    """Return whether all marks are sure digits of about one height in one line."""
    marks = [read for line in lines for read in line]
    heights = [read.box.height for read in marks]
    return (
        len(lines) == 1
        and all(read.verdict == "digit" for read in marks)
        and min(heights) >= MIN_EQUAL_HEIGHT * max(heights)
    )


def _text_inside(box: Box[int], lines: tuple[tuple[PageDigit, ...], ...]) -> str:
    """Return the text of the digits whose middle is inside a box, line by line."""
    inside = ((read for read in line if box.contains_middle_of(read.box)) for line in lines)
    texts = (line_text(tuple(line)) for line in inside)
    return "\n".join(text for text in texts if text)


def _read_pieces(pieces: list[Segment], model: Model) -> tuple[list[PageDigit], list[float]]:
    """Return the digit on each piece, and the log-likelihood that the piece is one whole digit."""
    outputs = model.runtime.predict(np.stack([piece.pixels for piece in pieces]))
    thresholds = model.bundle.metadata.verdict
    scores, confidences = energy(outputs.logits), outputs.probabilities.max(axis=1)
    verdicts = judge(
        scores.tolist(),
        confidences.tolist(),
        not_a_digit_below=thresholds.not_a_digit_below,
        unsure_below=thresholds.unsure_below,
    )
    rows = zip(pieces, outputs.probabilities, confidences.tolist(), verdicts, strict=True)
    classes, digits = model.bundle.metadata.classes, list[PageDigit]()
    for piece, probabilities, confidence, verdict in rows:
        digit, box = int(probabilities.argmax()), Box(*piece.box)
        digits.append(PageDigit(digit, classes[digit], confidence, probabilities, verdict, box))
    # A whole digit has a high confidence and a score above the threshold of `not-a-digit`; the
    # logistic function turns the score's distance to the threshold into 0..1.
    digit_like = 1 / (1 + np.exp(np.clip(2 * (thresholds.not_a_digit_below - scores), -50, 50)))
    likelihoods = np.log(confidences * digit_like + 1e-9)
    return digits, [float(likelihood) for likelihood in likelihoods]


def _look_again(
    used: list[int], pieces: list[Segment], digits: list[PageDigit], model: Model, options: Options
) -> None:
    """Try other views of the pieces that are read but not sure, and note what is better.

    Wide pieces are left alone, because they may be several digits.

    Args:
        used: Indices of the pieces that are read, signs left out.
        pieces: All pieces.
        digits: The digit on each piece, which changes.
        model: The network.
        options: How the page is read.
    """
    unsure = [
        index
        for index in used
        if digits[index].verdict != "digit"
        and digits[index].box.width <= MAX_VIEWED_WIDTH * digits[index].box.height
    ]
    views = tuple(name for name in PAGE_VIEWS if name not in options.skip)
    if not unsure or not views:
        return
    inputs = [
        NetworkInput(pieces[index].pixels, "light-on-dark", False, IDENTITY, views=views)
        for index in unsure
    ]
    pixels = np.stack([each.pixels for each in inputs])
    batch = CandidateBatch(pixels, [1] * len(inputs), viewable=dict(enumerate(inputs)))
    selection = select(batch, model, nullcontext())
    seen = selection.predictions
    for row in selection.views:
        digits[unsure[row]] = PageDigit(
            digit=seen.digits[row],
            label=model.bundle.metadata.classes[seen.digits[row]],
            confidence=float(seen.confidences[row]),
            probabilities=seen.probabilities[row],
            verdict=seen.verdicts[row],
            box=digits[unsure[row]].box,
        )


def _best_chain(group: StrokeGroup, likelihoods: list[float], digits: list[PageDigit]) -> list[int]:
    """Return the indices of the pieces that cover a group, left to right, at the best total.

    The total is the sum of the log-likelihoods minus the penalties of the cuts. Found by dynamic
    programming over the cuts from left to right. Pieces that are not digits are never used, except
    the piece that is the whole group.
    """
    best: list[tuple[float, list[int]] | None] = [(0.0, [])] + [None] * (group.cuts - 1)
    order = sorted(range(len(group.segments)), key=lambda index: _span(group.segments[index]))
    for index in order:
        piece = group.segments[index]
        before, rival = best[piece.start], best[piece.stop]
        whole = (piece.start, piece.stop) == (0, group.cuts - 1)
        if before is None or (not whole and digits[index].verdict == "not-a-digit"):
            continue
        total = before[0] + likelihoods[index] - CUT_PENALTY * (piece.start > 0)
        if rival is None or total > rival[0]:
            best[piece.stop] = (total, [*before[1], index])
    last = best[-1]
    return last[1] if last else []


def _span(piece: Segment) -> tuple[int, int]:
    return piece.start, piece.stop
