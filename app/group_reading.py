"""Reads the stroke groups of a page: which segments are digits, and where a group is cut.

Touching digits are cut apart at several places; the network scores every piece and the best chain
of pieces is the text. Knows segments and models; knows nothing of files or HTTP.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from app.boxes import Box
from app.imaging.prepare import IDENTITY
from app.imaging.segment import Segmentation
from app.imaging.segments import PageInk, Segment, StrokeGroup
from app.imaging.stages import NetworkInput
from app.inference.model import Model
from app.selection import CandidateBatch, select
from app.verdict import Verdict, energy, judge

# Penalty for each cut, in nats: a reading with one more digit must be e times as likely. Without
# it a curve cut in two often reads as a passable 1 and another digit.
CUT_PENALTY = 1.0
# Log-likelihood above which a whole group is not cut. Likelihoods are at most 1, so no chain with a
# cut has a total above `-CUT_PENALTY`; the small rest is for rounding.
SETTLED_LIKELIHOOD = -CUT_PENALTY + 1e-5
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
        pixels: The 28x28 that the network received, uint8 `[28, 28]`; of a digit that was read in
            another view, the one before it.
    """

    digit: int
    label: str
    confidence: float
    probabilities: NDArray[np.float32] = field(repr=False, compare=False)
    verdict: Verdict
    box: Box[int]
    pixels: NDArray[np.uint8] = field(repr=False, compare=False)


@dataclass
class _ReadSegment:
    """A segment and the digit on it.

    Attributes:
        segment: The segment.
        digit: The digit on it.
        likelihood: Log-likelihood that the segment is one whole digit, at most about 0.
        is_sign: Whether it is a sign, which is not looked at again.
    """

    segment: Segment
    digit: PageDigit
    likelihood: float
    is_sign: bool = False


def read_groups(
    pages: Sequence[Segmentation], model: Model, skip: AbstractSet[str] = frozenset()
) -> list[list[list[PageDigit]]]:
    """Return the digits of each stroke group of each page, from left to right.

    Args:
        pages: The pages; the network reads the groups of all together.
        model: The network.
        skip: Names of views that are left out.

    Raises:
        WorkCancelled: The client has gone, or its deadline has passed.
    """
    groups = [(found.page, group) for found in pages for group in found.groups]
    chains = _read_chains(groups, model)
    _look_again(list(chain.from_iterable(chains)), model, skip)
    rest = iter([[each.digit for each in read] for read in chains])
    return [list(islice(rest, len(found.groups))) for found in pages]


def _read_chains(
    groups: list[tuple[PageInk, StrokeGroup]], model: Model
) -> list[list[_ReadSegment]]:
    """Return the segments that are read of each group: the most likely chain of them.

    The whole groups are read first. Most are so likely that they need not be cut.
    """
    wholes = iter(_read_segments([group.whole for _, group in groups if group.whole], model))
    chains = [[next(wholes)] if group.whole else [] for _, group in groups]
    unsettled = [
        index
        for index, (_, group) in enumerate(groups)
        if group.may_be_cut and group.whole and chains[index][0].likelihood <= SETTLED_LIKELIHOOD
    ]
    made = list[list[Segment]]()
    for index in unsettled:
        page, group = groups[index]
        made.append(page.make_segments(group.box, page.find_spans(group.box)))
    parts = iter(_read_segments(list(chain.from_iterable(made)), model))
    for index, segments in zip(unsettled, made, strict=True):
        candidates = [*chains[index], *islice(parts, len(segments))]
        chains[index] = _best_chain(candidates, groups[index][1].box.width)
    for (_, group), read in zip(groups, chains, strict=True):
        for each in read:
            each.is_sign = group.is_sign
            if group.is_sign:
                each.digit = replace(each.digit, verdict="not-a-digit")
    return chains


def _read_segments(segments: list[Segment], model: Model) -> list[_ReadSegment]:
    """Return the digit on each segment, and the likelihood that the segment is one whole digit."""
    if not segments:
        return []
    outputs = model.runtime.predict(np.stack([segment.pixels for segment in segments]))
    thresholds = model.bundle.metadata.verdict
    scores, confidences = energy(outputs.logits), outputs.probabilities.max(axis=1)
    verdicts = judge(
        scores.tolist(),
        confidences.tolist(),
        not_a_digit_below=thresholds.not_a_digit_below,
        unsure_below=thresholds.unsure_below,
    )
    # A whole digit has a high confidence and a score above the threshold of `not-a-digit`; the
    # logistic function turns the score's distance to the threshold into 0..1.
    digit_like = 1 / (1 + np.exp(np.clip(2 * (thresholds.not_a_digit_below - scores), -50, 50)))
    likelihoods = np.log(confidences * digit_like + 1e-9).tolist()
    rows = zip(
        segments, outputs.probabilities, confidences.tolist(), verdicts, likelihoods, strict=True
    )
    classes, read = model.bundle.metadata.classes, list[_ReadSegment]()
    for each, probabilities, confidence, verdict, likelihood in rows:
        best, box = int(probabilities.argmax()), Box(*each.box)
        digit = PageDigit(best, classes[best], confidence, probabilities, verdict, box, each.pixels)
        read.append(_ReadSegment(each, digit, likelihood))
    return read


def _look_again(read: list[_ReadSegment], model: Model, skip: AbstractSet[str]) -> None:
    """Try other views of the segments that are read but not sure, and note what is better.

    Wide segments are left alone, because they may be several digits. So are signs.

    Args:
        read: The segments that are read. Their digits change.
        model: The network.
        skip: Names of views that are left out.
    """
    unsure = [
        each
        for each in read
        if each.digit.verdict != "digit"
        and not each.is_sign
        and each.digit.box.width <= MAX_VIEWED_WIDTH * each.digit.box.height
    ]
    views = tuple(name for name in PAGE_VIEWS if name not in skip)
    if not unsure or not views:
        return
    inputs = [
        NetworkInput(each.segment.pixels, "light-on-dark", False, IDENTITY, views=views)
        for each in unsure
    ]
    pixels = np.stack([each.pixels for each in inputs])
    batch = CandidateBatch(pixels, [1] * len(inputs), viewable=dict(enumerate(inputs)))
    selection = select(batch, model, nullcontext())
    seen = selection.predictions
    for row in selection.views:
        unsure[row].digit = replace(
            unsure[row].digit,
            digit=seen.digits[row],
            label=model.bundle.metadata.classes[seen.digits[row]],
            confidence=float(seen.confidences[row]),
            probabilities=seen.probabilities[row],
            verdict=seen.verdicts[row],
        )


def _best_chain(segments: list[_ReadSegment], width: int) -> list[_ReadSegment]:
    """Return the segments that cover a group, left to right, at the best total.

    The total is the sum of the log-likelihoods minus the penalties of the cuts. Found by dynamic
    programming over the cuts from left to right. Segments that are not digits are never used,
    except the one that is the whole group.

    Args:
        segments: All segments of the group, the whole among them.
        width: Width of the group.
    """
    best: dict[int, tuple[float, list[_ReadSegment]]] = {0: (0.0, [])}  # by the column of a cut
    for read in sorted(segments, key=lambda each: each.segment.span):
        start, stop = read.segment.span
        is_whole = read.segment.span == (0, width)
        if start not in best or (not is_whole and read.digit.verdict == "not-a-digit"):
            continue
        total, before = best[start]
        total += read.likelihood - CUT_PENALTY * (start > 0)
        if stop not in best or total > best[stop][0]:
            best[stop] = (total, [*before, read])
    return best[width][1]
