"""Segment a page into text lines, stroke groups and segments that may be single digits.

Touching digits are over-segmented: a wide stroke group is cut at several columns, and every stretch
between two cuts is offered as a segment. Only a network can tell which segments are digits;
`app.group_reading` finds the best path through them.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from app.boxes import Box
from app.cancellation import check_cancelled
from app.errors import BlankImageError
from app.imaging.components import find_components, stroke_mask
from app.imaging.cracks import remove_cracks
from app.imaging.decode import Upload
from app.imaging.filters import Grey, Mask
from app.imaging.frames import remove_frames
from app.imaging.ink import extract_ink, remove_ruled_lines, to_grey
from app.imaging.polarity import DetectedPolarity, Polarity, measure_polarity
from app.imaging.segments import PageInk, StrokeGroup
from app.imaging.sheet import without_desk
from app.imaging.stroke_groups import StrokeBox, are_signs, find_groups
from app.imaging.surroundings import without_surroundings
from app.imaging.text_lines import text_lines

MAX_SEGMENTS = 600  # segments on a page, after which groups are no longer cut
MAX_CUTS = 7  # cuts inside a stroke group
MAX_INK_SHARE = 0.75  # of a page; a tight crop of one bold digit has 0.55
# Lengths below are in heights of the stroke group.
MIN_CUT_WIDTH = 0.8  # a narrower group is one digit
MIN_PAIR_WIDTH = 1.0  # a narrower group is most often one digit
MIN_CUT_DISTANCE = 0.2  # between two cuts
MIN_SEGMENT_WIDTH, MAX_SEGMENT_WIDTH = 0.12, 1.4


@dataclass(frozen=True)
class Segmentation:
    """What is on a page.

    Attributes:
        groups: The stroke groups in reading order: lines from the top, groups from the left.
        page: The ink, from which the segments of a group are made when they are needed.
        polarity: Which side was taken as ink.
        fields: The printed frames, in pixels of the upload.
        warnings: What was left out, and what to do about it.
    """

    groups: tuple[StrokeGroup, ...]
    page: PageInk
    polarity: DetectedPolarity
    fields: tuple[Box[int], ...]
    warnings: tuple[str, ...] = ()


def segment(
    upload: Upload, *, polarity: Polarity = "auto", skip: AbstractSet[str] = frozenset()
) -> Segmentation:
    """Find the stroke groups of a page.

    Args:
        upload: The decoded image.
        polarity: Whether the ink is dark or light; `auto` detects it.
        skip: Names of rules to skip (`app.imaging.stages.RULES`).

    Raises:
        BlankImageError: There is no ink on the image.
    """
    grey, _ = to_grey(upload)
    check_cancelled()
    if "desk" not in skip:
        grey = without_desk(grey)
    if "surroundings" not in skip:
        grey = without_surroundings(grey)
    check_cancelled()
    evidence = measure_polarity(grey, corners="corners" not in skip)
    chosen = evidence.polarity if polarity == "auto" else polarity
    ink, _ = extract_ink(grey, chosen, reject_shading="shading" not in skip)
    check_cancelled()
    ink, frames = remove_frames(ink) if "frames" not in skip else (ink, ())
    if "lines" not in skip:
        ink, _ = remove_ruled_lines(ink)
    check_cancelled()
    mask = stroke_mask(ink)
    components = find_components(ink, mask)
    if not len(components):
        raise BlankImageError("No ink was found: the image shows nothing but ruled lines or noise.")
    cleaned = remove_cracks(ink, components) if "cracks" not in skip else ink
    if cleaned is not ink:
        ink, mask = cleaned, stroke_mask(cleaned)
        components = find_components(ink, mask)
    boxes, left_out = find_groups(components)
    page = PageInk(ink, components, upload.factor)
    groups: list[StrokeGroup] = []
    segments = uncut = 0
    for line, line_boxes in enumerate(text_lines(boxes, frames)):
        for box, is_sign in zip(line_boxes, are_signs(line_boxes), strict=True):
            check_cancelled()
            cut = segments < MAX_SEGMENTS and not is_sign
            group = _find_segments(box, line, page, cut=cut)
            groups.append(replace(group, is_sign=is_sign))
            segments += len(group.parts) + (group.whole is not None)
            uncut += not cut and not is_sign and box.width >= MIN_PAIR_WIDTH * box.height
    fields = tuple(_on_upload(frame.box, upload.factor) for frame in frames)
    warnings = _warnings(chosen, float(mask.mean()), len(boxes), left_out, uncut)
    return Segmentation(tuple(groups), page, chosen, fields, warnings)


def _warnings(
    polarity: DetectedPolarity, ink_share: float, read: int, left_out: int, uncut: int
) -> tuple[str, ...]:
    """Return a sentence for each way in which the page may have been read wrong.

    Args:
        polarity: Which side was taken as ink.
        ink_share: Share of the page that is ink, 0..1.
        read: Number of marks that are read.
        left_out: Number of marks that are not.
        uncut: Number of marks that are read but may be several digits.
    """
    warnings: list[str] = []
    if ink_share > MAX_INK_SHARE:
        other = "dark-on-light" if polarity == "light-on-dark" else "light-on-dark"
        warnings.append(
            f"What was taken as ink covers {ink_share:.0%} of the image and may be its background."
            f" Send polarity={other}, or parts of the page if its marks are small."
        )
    if left_out:
        warnings.append(
            f"Only the {read} marks with the most ink were read, of about {read + left_out}. Send"
            " parts of the page to read all of them."
        )
    if uncut:
        warnings.append(
            f"{uncut} wide marks were not cut apart, because the page has many marks: digits that"
            " touch each other are read as one. Send parts of the page."
        )
    return tuple(warnings)


def _on_upload(box: Box[int], factor: int) -> Box[int]:
    return Box(box.x * factor, box.y * factor, box.width * factor, box.height * factor)


def _find_segments(box: StrokeBox, line: int, page: PageInk, *, cut: bool) -> StrokeGroup:
    """Return a stroke group with its possible segments; only the whole group if `cut` is False.

    Args:
        box: The group's box.
        line: Index of its text line.
        page: The ink of the page.
        cut: Whether the group may be cut.
    """
    amount = page.amount_in(box)
    mask = amount > page.ink.faint
    cuts = _cut_columns(amount, mask, box) if cut else [0, box.width]
    inked: Mask = np.asarray(mask.any(axis=0))
    if not inked.any():
        return StrokeGroup(line, box, tuple(cuts), None)
    last = len(cuts) - 1
    parts = tuple(
        (start, stop)
        for start, stop in combinations(range(last + 1), 2)
        if (start, stop) != (0, last)
        and _is_digit_width(cuts[stop] - cuts[start], box.height)
        and inked[cuts[start] : cuts[stop]].any()
    )
    whole = page.make_segment(amount, box, cuts, 0, last)
    return StrokeGroup(line, box, tuple(cuts), whole, parts)


def _is_digit_width(width: int, height: int) -> bool:
    """Return whether a segment of a group of this height may be one digit, by its width."""
    return MIN_SEGMENT_WIDTH * height <= width <= MAX_SEGMENT_WIDTH * height


def _cut_columns(amount: Grey, mask: Mask, box: StrokeBox) -> list[int]:
    """Return the columns at which a stroke group may be cut, both ends included.

    Touching digits meet where a column has little ink: the minima of the smoothed vertical
    projection are taken in ascending order, at least a fifth of the height apart.

    Args:
        amount: float32 `[h, w]`, the group's ink.
        mask: bool `[h, w]`, the group's pixels.
        box: The group's box.
    """
    cuts = [0, box.width]
    if box.width < MIN_CUT_WIDTH * box.height:
        return cuts
    projection = amount.sum(axis=0) + 0.25 * amount.max() * mask.sum(axis=0)
    radius = max(1, box.height // 25)
    kernel = np.ones(2 * radius + 1) / (2 * radius + 1)
    smoothed = np.convolve(projection, kernel, mode="same")
    for column in np.argsort(smoothed, kind="stable"):
        if len(cuts) == MAX_CUTS + 2:
            break
        if all(abs(int(column) - other) >= MIN_CUT_DISTANCE * box.height for other in cuts):
            cuts.append(int(column))
    return sorted(cuts)
