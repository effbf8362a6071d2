"""Decides whether an adaptation succeeds; if not, an error says why and what is needed."""

import math
from collections.abc import Sequence

from app.bundle import Comparison
from training.adapting.comparison import MAX_P_VALUE, MIN_MENDED, pictures_needed
from training.adapting.folds import FOLDS
from training.adapting.labels import DoubtfulLabel
from training.errors import AdaptError

MAX_RISE = 0.0005  # of the error on MNIST's held-out digits
MIN_DOUBTFUL_SHARE = 0.5  # of the pictures that are still misread, if their labels are the reason
UNCHANGED = "Nothing was written."


def check_can_gain(misread: int, pictures: int, base: str) -> None:
    """Check that there are enough misread pictures for a proof.

    Args:
        misread: Number of different pictures that the base misreads; copies count once.
        pictures: Number of different pictures.
        base: Name of the base.

    Raises:
        AdaptError: They are too few.
    """
    if not misread:
        raise AdaptError(
            f"Nothing to learn: {base} reads all {pictures:,} pictures as they are labelled."
            f" {UNCHANGED}"
        )
    if misread < MIN_MENDED or pictures < FOLDS:
        needed = max(FOLDS, math.ceil(pictures * MIN_MENDED / misread))
        raise AdaptError(
            f"Too few pictures: {base} misreads {misread} of {pictures:,}. McNemar's test needs"
            f" {MIN_MENDED} that are read right afterwards: about {needed:,} pictures like these."
            f" {UNCHANGED}"
        )


def check_gain(found: Comparison, doubtful: Sequence[DoubtfulLabel] | None) -> None:
    """Check that the pictures are read better, and not by chance.

    Args:
        found: What the base and the networks of the cross-validation misread.
        doubtful: Labels that look wrong; None if they were not checked.

    Raises:
        AdaptError: They are not; the reason is the labels, no gain, or too few pictures.
    """
    if found.mended > found.spoilt and found.p_value < MAX_P_VALUE:
        return
    counts = (
        f"on pictures that it has not learned, an adapted network reads {found.mended} right that"
        f" were misread and misreads {found.spoilt} that were read right"
        f" (McNemar's p = {found.p_value:.2g})"
    )
    if doubtful and len(doubtful) >= MIN_DOUBTFUL_SHARE * found.misread_after:
        raise AdaptError(
            f"Labels look wrong: {len(doubtful):,}, listed above, of {found.misread_after} pictures"
            f" that are still misread; {counts}. Correct them and run the command again."
            f" {UNCHANGED}"
        )
    needed = pictures_needed(found)
    if needed is None:
        raise AdaptError(f"No gain: {counts}. {UNCHANGED}")
    raise AdaptError(
        f"Too few pictures: {counts}. About {needed:,} pictures like these would be needed for p <"
        f" {MAX_P_VALUE}. {UNCHANGED}"
    )


def check_forgetting(
    found: Comparison, doubtful: Sequence[DoubtfulLabel] | None, *, deep: bool
) -> None:
    """Check that MNIST's digits are still read.

    Args:
        found: What both networks misread of the held-out digits.
        doubtful: Labels of the pictures that look wrong; None if they were not checked.
        deep: Whether more than the dense end has learned.

    Raises:
        AdaptError: The error on the held-out digits rises by more than `MAX_RISE`.
    """
    rise = (found.misread_after - found.misread_before) / found.images
    if rise > MAX_RISE:
        advice = " Try without --deep." if deep else ""
        if doubtful:
            advice += f" Check the labels listed above that look wrong ({len(doubtful):,})."
        raise AdaptError(
            f"Forgetting: the adapted network misreads {found.misread_after} of {found.images:,}"
            f" held-out digits of MNIST, the old one {found.misread_before}. The error rises by"
            f" {100 * rise:.2f} points; {100 * MAX_RISE:.2f} points are allowed. Wrong"
            f" labels may be the reason.{advice} {UNCHANGED}"
        )
