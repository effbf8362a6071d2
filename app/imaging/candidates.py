"""Offer the interpretations of an image that a rule on pixels cannot decide between.

The network that reads the image chooses among them (`app.recognise`).
"""

from collections.abc import Set as AbstractSet
from dataclasses import replace

import numpy as np

from app.errors import BlankImageError
from app.imaging.decode import Upload
from app.imaging.passthrough import (
    MAX_BLACK,
    MAX_LONGER_SIDE,
    MIN_LONGER_SIDE,
    is_centred,
    is_grey_28x28,
    longer_side,
)
from app.imaging.polarity import DetectedPolarity, Polarity
from app.imaging.prepare import as_is, pass_through, prepare_variants
from app.imaging.stages import NetworkInput
from app.imaging.views import view_names

# Smallest range of grey levels of a 28x28 image without detected ink that is still offered as it
# is. Fog may hide a digit from the preprocessing and not from the network.
MIN_RANGE = 48


def candidates(
    upload: Upload,
    *,
    polarity: Polarity = "auto",
    skip: AbstractSet[str] = frozenset(),
    record: bool = False,
) -> tuple[NetworkInput, ...]:
    """Return the interpretations of an upload, the preprocessed one first.

    - A MNIST-shaped upload has one: itself.
    - Another grey 28x28 is offered preprocessed and as it is, in each possible polarity. If its ink
      is smaller than MNIST's digits or not centred, all compete. Otherwise the digit may have
      MNIST's size and place, and fog, stripes or lines cover the rest: there the network reads the
      digit as it is better than the preprocessing finds it, so the preprocessed one is the
      fallback.
    - An upload of doubtful polarity, such as a digit cropped to its ink, is offered in both; the
      other one is the fallback if there is little doubt.
    - Every other upload has the preprocessed one, with its variants
      (`app.imaging.prepare.prepare_variants`).

    All but MNIST-shaped uploads name the views of them that are tried if the network is not sure.

    Args:
        upload: The decoded image.
        polarity: Whether the ink is dark or light; `auto` detects it.
        skip: Names of stages and rules to skip (`stages.OPTIONAL_STAGES`, `stages.RULES`).
        record: Add a report of every stage to the preprocessed one.

    Raises:
        BlankImageError: There is no ink on the image.
    """
    unchanged = pass_through(upload, polarity=polarity, record=record)
    if unchanged and "pass-through" not in skip:
        return (unchanged,)
    may_be_as_it_is = is_grey_28x28(upload) and "unprepared" not in skip
    prepared: tuple[NetworkInput, ...] = ()
    try:
        prepared = tuple(prepare_variants(upload, polarity=polarity, skip=skip, record=record))
    except BlankImageError:
        if not may_be_as_it_is or np.ptp(upload.pixels) < MIN_RANGE:
            raise
    if not may_be_as_it_is:
        if "other polarity" in skip:
            return prepared
        return (*prepared, *_other_polarity(upload, prepared[0], skip))
    polarities: tuple[DetectedPolarity, ...] = (
        ("light-on-dark", "dark-on-light") if polarity == "auto" else (polarity,)
    )
    unprepared = tuple(_unprepared(upload, assumed, skip) for assumed in polarities)
    if "prepared last" not in skip:
        prepared = tuple(_against(each, unprepared) for each in prepared)
    return (*prepared, *unprepared)


def _unprepared(upload: Upload, polarity: DetectedPolarity, skip: AbstractSet[str]) -> NetworkInput:
    """Return a 28x28 as it is, and its views."""
    found = as_is(upload, polarity=polarity)
    return replace(found, views=view_names(found.pixels, MAX_BLACK, skip))


def _against(prepared: NetworkInput, unprepared: tuple[NetworkInput, ...]) -> NetworkInput:
    """Make the preprocessed 28x28 the fallback, unless its digit is clearly small or off centre."""
    (pixels,) = (each.pixels for each in unprepared if each.polarity == prepared.polarity)
    side = int(longer_side(pixels[None])[0])
    centred = bool(is_centred(pixels[None])[0])
    misplaced = side < MIN_LONGER_SIDE or (side <= MAX_LONGER_SIDE and not centred)
    return prepared if misplaced else replace(prepared, fallback=True)


def _other_polarity(
    upload: Upload, prepared: NetworkInput, skip: AbstractSet[str]
) -> tuple[NetworkInput, ...]:
    """Return the upload preprocessed in the other polarity if the first one is in doubt."""
    if prepared.doubt == "none":
        return ()
    light = prepared.polarity == "light-on-dark"
    try:
        polarity: DetectedPolarity = "dark-on-light" if light else "light-on-dark"
        others = tuple(prepare_variants(upload, polarity=polarity, skip=skip))
    except BlankImageError:
        return ()
    weak = prepared.doubt == "weak"
    return tuple(replace(other, fallback=other.fallback or weak) for other in others)
