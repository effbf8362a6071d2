"""The answer of a model for a labelled picture or page, as a record that is stored as JSON.

Knows texts and numbers; knows nothing of how a picture is read.
"""

import base64
import io
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.verdict import Verdict

MAX_THUMBNAIL = 96  # pixels of the longer side
THUMBNAIL_QUALITY = 70  # of a JPEG file; about 2 KB


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model reads in one picture of a digit, or at one place of a page.

    Attributes:
        answer: Name of the class; empty if nothing was read there.
        confidence: Its probability, 0..1.
        verdict: `digit`, `unsure` or `not-a-digit`.
        runner_up: Name of the second most probable class.
        prepared: The 28x28 that the network received, a PNG file in base64; only of wrong answers.
    """

    answer: str
    confidence: float
    verdict: Verdict
    runner_up: str = ""
    prepared: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A digit of a page: the one that stands there, the one that was read, or both.

    Attributes:
        expected: The digit that stands there; empty for an extra one.
        reading: What was read; None for a missing one.
    """

    expected: str
    reading: Reading | None

    @property
    def is_right(self) -> bool:
        """Return whether the digit was read right."""
        return self.reading is not None and self.reading.answer == self.expected


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model makes of a labelled picture or page.

    Attributes:
        error: Why the file could not be read; empty if it was.
        reading: The digit of a picture; None for a page.
        places: The digits of a page, in order; those that are neither expected nor taken for digits
            are left out.
        marks: Marks of a page that were taken for none of the classes.
        warnings: Sentences on what may make the answer wrong.
        picture: A small copy of a misread picture, a JPEG file in base64; empty if the picture is
            not larger than what the network received.
        file_digest: Hash of the file, which its copies share; empty if it is not known.
    """

    error: str = ""
    reading: Reading | None = None
    places: tuple[Place, ...] = ()
    marks: int = 0
    warnings: tuple[str, ...] = ()
    picture: str = ""
    file_digest: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Return an answer from what `as_json` has returned.

        Raises:
            KeyError: A field is missing.
            TypeError: A field is unknown, or its value is none of such a field.
        """
        places = [
            Place(each["expected"], _reading_or_none(each["reading"])) for each in fields["places"]
        ]
        return cls(
            **{
                **fields,
                "reading": _reading_or_none(fields["reading"]),
                "places": tuple(places),
                "warnings": tuple(fields["warnings"]),
            }
        )


def _reading_or_none(fields: dict[str, Any] | None) -> Reading | None:
    return None if fields is None else Reading(**fields)


def encode_thumbnail(pixels: NDArray[np.uint8]) -> str:
    """Return a small copy of a picture, `[H, W]` or `[H, W, 3]`, as a JPEG file in base64."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((MAX_THUMBNAIL, MAX_THUMBNAIL))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=THUMBNAIL_QUALITY)
    return base64.b64encode(stream.getvalue()).decode("ascii")
