"""Keep the ink of the writing; tell which marks may be digits of their own.

Knows components of ink; knows nothing of how the ink was found, nor of networks.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from app.errors import BlankImageError
from app.imaging.components import (
    Components,
    find_components,
    may_be_writing,
    select_writing,
    stroke_mask,
)
from app.imaging.filters import Grey, Mask, grow
from app.imaging.ink import Ink
from app.imaging.several import may_be_several, separate_marks


class Cleaned(NamedTuple):
    """The writing on an image.

    Attributes:
        ink: float32 `[H, W]`, its ink, 0 elsewhere.
        dropped: What was removed, for the stage report.
        several: Whether it may be several digits.
        marks: float32 `[H, W]` each, the ink of marks that may be digits of their own.
    """

    ink: Grey
    dropped: Mapping[str, object]
    several: bool = False
    marks: tuple[Grey, ...] = ()


def clean(ink: Ink, *, enabled: bool) -> Cleaned:
    """Keep the ink of the writing; remove frames and specks.

    Args:
        ink: The ink of the whole image, without ruled lines.
        enabled: If False, all ink that is at least faint is kept.

    Raises:
        BlankImageError: No ink is left.
    """
    if not enabled:
        return Cleaned(np.where(grow(ink.amount > ink.faint), ink.amount, 0), {"skipped": True})
    components = find_components(ink, stroke_mask(ink))
    if not len(components):
        raise BlankImageError("No ink is left on the image once what is printed is removed.")
    possible = may_be_writing(components)
    writing, dropped = select_writing(components, possible)
    marks = separate_marks(components, writing, possible)
    return Cleaned(
        _ink_of(components, writing, ink),
        dropped,
        may_be_several(components, writing),
        tuple(_ink_of(components, mark, ink) for mark in marks),
    )


def _ink_of(components: Components, chosen: Mask, ink: Ink) -> Grey:
    """Return the ink of the chosen components; one pixel more on each side keeps grey edges."""
    return np.where(grow(components.mask_of(chosen)), ink.amount, 0)
