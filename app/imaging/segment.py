"""Segment a page into text lines, stroke groups and segments that may be single digits.

Touching digits are over-segmented: a wide stroke group is cut at several columns, and every stretch
between two cuts is offered as a segment. Only a network can tell which segments are digits;
`app.group_reading` finds the best path through them.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from app.boxes import Box
from app.cancellation import check_cancelled
from app.errors import BlankImageError
from app.imaging.components import find_components, stroke_mask
from app.imaging.cracks import remove_cracks
from app.imaging.decode import Upload
from app.imaging.frames import remove_frames
from app.imaging.ink import Ink, extract_ink, remove_ruled_lines, to_grey
from app.imaging.lone_digit import find_clean_ink, find_lone_digit
from app.imaging.polarity import DetectedPolarity, Polarity, measure_polarity
from app.imaging.segments import MAX_GROUP_SEGMENTS, MAX_INK_SHARE, PageInk, StrokeGroup
from app.imaging.sheet import without_desk
from app.imaging.stroke_groups import StrokeBox, are_signs, find_groups
from app.imaging.surroundings import without_surroundings
from app.imaging.text_lines import text_lines

MAX_SEGMENTS = 600  # segments on a page, after which groups are no longer cut
MIN_PAIR_WIDTH = 1.0  # heights; a narrower group is most often one digit


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
    (found,) = segment_together([upload], polarity=polarity, skip=skip)
    if isinstance(found, BlankImageError):
        raise found
    return found


def segment_together(
    uploads: Sequence[Upload],
    *,
    polarity: Polarity = "auto",
    skip: AbstractSet[str] = frozenset(),
) -> list[Segmentation | BlankImageError]:
    """Find the stroke groups of many pages; what `segment` raises is in the place of a page.

    Each test of the short way for small images runs on all of them: its code stays in the
    processor's caches, which saves a sixth of the time.
    """
    takes_short_way = polarity != "dark-on-light" and not skip
    inks = [find_clean_ink(upload) if takes_short_way else None for upload in uploads]
    digits = [find_lone_digit(ink) if ink else None for ink in inks]
    found = list[Segmentation | BlankImageError]()
    for upload, ink, digit in zip(uploads, inks, digits, strict=True):
        if ink and digit:
            page, box = PageInk(ink, digit[0], upload.factor), digit[1]
            group = StrokeGroup(0, box, page.make_whole(box))
            found.append(Segmentation((group,), page, "light-on-dark", ()))
            continue
        try:
            found.append(_segment_page(upload, ink, polarity, skip))
        except BlankImageError as error:
            found.append(error)
    return found


def _segment_page(
    upload: Upload, ink: Ink | None, polarity: Polarity, skip: AbstractSet[str]
) -> Segmentation:
    """Find the stroke groups of a page, of which the clean ink may be known already."""
    chosen: DetectedPolarity = "light-on-dark"
    if ink is None:
        ink, chosen = _extract_ink(upload, polarity, skip)
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
    groups = _make_groups(page, text_lines(boxes, frames))
    uncut = sum(
        not (group.may_be_cut or group.is_sign)
        and group.box.width >= MIN_PAIR_WIDTH * group.box.height
        for group in groups
    )
    fields = tuple(_on_upload(frame.box, upload.factor) for frame in frames)
    warnings = _warnings(chosen, float(mask.mean()), len(boxes), left_out, uncut)
    return Segmentation(groups, page, chosen, fields, warnings)


def _make_groups(page: PageInk, lines: list[list[StrokeBox]]) -> tuple[StrokeGroup, ...]:
    """Return the groups of the lines; they may be cut until there are `MAX_SEGMENTS`."""
    groups, segments = list[StrokeGroup](), 0
    is_counted = sum(map(len, lines)) * MAX_GROUP_SEGMENTS > MAX_SEGMENTS
    for line, boxes in enumerate(lines):
        for box, is_sign in zip(boxes, are_signs(boxes), strict=True):
            may_be_cut = segments < MAX_SEGMENTS and not is_sign
            groups.append(StrokeGroup(line, box, page.make_whole(box), may_be_cut, is_sign))
            segments += 1
            if may_be_cut and is_counted:
                segments += len(page.find_spans(box))
    return tuple(groups)


def _extract_ink(
    upload: Upload, polarity: Polarity, skip: AbstractSet[str]
) -> tuple[Ink, DetectedPolarity]:
    """Return the ink of a page without its desk and surroundings, and which side was taken as ink.

    Raises what `segment` raises.
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
    return ink, chosen


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
