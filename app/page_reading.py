"""Many digits on one image: every way to part touching strokes is scored, the best one is the text.

Knows images and models, like `app.recognise`; knows nothing of HTTP.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.errors import InvalidInputError
from app.imaging.decode import Upload
from app.imaging.polarity import DetectedPolarity
from app.imaging.segment import Group, Piece, segment
from app.inference.registry import Model
from app.recognise import ImageInput, Options, decode_only
from app.verdict import Verdict, energy, judge

# What each further cut costs, in nats: a reading of more digits must be likelier by this factor,
# because a curve cut in two often gives a passable 1 and something else.
CUT_COST = 1.0


@dataclass(frozen=True)
class DigitRead:
    """One digit of a page.

    Attributes:
        digit: 0..9.
        confidence: Its probability.
        probabilities: float32 `[10]`.
        verdict: `digit`, `unsure` or `not-a-digit`.
        box: x, y, width and height in the upload's own pixels.
    """

    digit: int
    confidence: float
    probabilities: NDArray[np.float32]
    verdict: Verdict
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Page:
    """What stands on an image: lines of digits in reading order."""

    upload: Upload
    polarity: DetectedPolarity
    lines: tuple[tuple[DigitRead, ...], ...]

    @property
    def text(self) -> str:
        """Return the digits line by line, with a question mark for what is no digit."""
        return "\n".join(line_text(line) for line in self.lines)


def line_text(line: tuple[DigitRead, ...]) -> str:
    """Return the digits of a line, with a question mark for what is no digit."""
    return "".join("?" if read.verdict == "not-a-digit" else str(read.digit) for read in line)


def read_page(image: ImageInput, model: Model, options: Options) -> Page:
    """Read all digits of an image.

    Raises:
        UndecodableError: Not an image, or a damaged one.
        TooLargeError: Too many pixels.
        BlankImageError: Nothing is written on it.
        InvalidInputError: `preprocess` is `none`.
    """
    if options.preprocess == "none":
        raise InvalidInputError(
            "Several digits can only be read from a prepared image: leave preprocess=none out, or"
            " send each digit to /predict."
        )
    upload = decode_only(image, options)
    groups, polarity = segment(upload, polarity=options.polarity)
    pieces = [piece for group in groups for piece in group.pieces]
    reads, chances = _read_pieces(pieces, model)
    lines: list[list[DigitRead]] = [[] for _ in range(max(g.line for g in groups) + 1)]
    start = 0
    for group in groups:
        stop = start + len(group.pieces)
        best = _best_chain(group, chances[start:stop], reads[start:stop])
        lines[group.line] += [reads[start + at] for at in best]
        start = stop
    return Page(upload, polarity, tuple(tuple(line) for line in lines))


def _read_pieces(pieces: list[Piece], model: Model) -> tuple[list[DigitRead], list[float]]:
    """Return what each piece is read as, and the logarithm of how likely it is one whole digit."""
    outputs = model.runtime.predict(np.stack([piece.pixels for piece in pieces]))
    thresholds = model.bundle.metadata.verdict
    scores, confidences = energy(outputs.logits), outputs.probabilities.max(axis=1)
    verdicts = judge(
        scores.tolist(),
        confidences.tolist(),
        not_a_digit_below=thresholds.not_a_digit_below,
        unsure_below=thresholds.unsure_below,
    )
    found = zip(pieces, outputs.probabilities, confidences.tolist(), verdicts, strict=True)
    reads = [
        DigitRead(int(probabilities.argmax()), confidence, probabilities, verdict, piece.box)
        for piece, probabilities, confidence, verdict in found
    ]
    # One whole digit: sure of its class, and as digit-like as digits are.
    likely = 1 / (1 + np.exp(np.clip(2 * (thresholds.not_a_digit_below - scores), -50, 50)))
    chances = np.log(confidences * likely + 1e-9)
    return reads, [float(chance) for chance in chances]


def _best_chain(group: Group, chances: list[float], reads: list[DigitRead]) -> list[int]:
    """Return the indices of the pieces that lead from the first cut to the last at the best total.

    Dynamic programming over the cuts, from left to right. A group is only cut into digits: what
    gives anything else stays whole.
    """
    reached: list[tuple[float, list[int]] | None] = [(0.0, [])] + [None] * (group.cuts - 1)
    order = sorted(range(len(group.pieces)), key=lambda at: _ends(group.pieces[at]))
    for at in order:
        piece = group.pieces[at]
        before, there = reached[piece.start], reached[piece.stop]
        whole = (piece.start, piece.stop) == (0, group.cuts - 1)
        if before is None or (not whole and reads[at].verdict == "not-a-digit"):
            continue
        total = before[0] + chances[at] - CUT_COST * (piece.start > 0)
        if there is None or total > there[0]:
            reached[piece.stop] = (total, [*before[1], at])
    last = reached[-1]
    return last[1] if last else []


def _ends(piece: Piece) -> tuple[int, int]:
    return piece.start, piece.stop
