"""What the Python API returns for an image: frozen records that show themselves in a notebook.

Names are those of the HTTP API's JSON. Instances compare by identity, because they hold arrays.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.api import notebook, pictures
from app.group_reading import PageDigit
from app.imaging.stages import Stage
from app.page_reading import Field
from app.predictions import InputSummary
from app.verdict import Verdict


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(pictures.Shown):
    """The answer for one image.

    Attributes:
        digit: The most probable class, from 0: the digit itself in a model of digits.
        label: Name of that class.
        confidence: Its probability, 0..1.
        probabilities: float32 `[classes]`, sum 1.
        runner_up: The second most probable class.
        verdict: `digit`, `unsure` or `not-a-digit`.
        score: How much the image looks like a digit at all: the logarithm of the sum of the
            exponentials of the logits.
        classes: Names of the classes.
        pixels: The image as the network received it, uint8 `[28, 28]`, ink is bright.
        input: Width, height, format and polarity of the image, and warnings.
    """

    digit: int
    label: str
    confidence: float
    probabilities: NDArray[np.float32]
    runner_up: int
    verdict: Verdict
    score: float
    classes: tuple[str, ...]
    pixels: NDArray[np.uint8]
    input: InputSummary

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what is unusual about the image or may make the answer wrong."""
        return self.input.warnings

    def __repr__(self) -> str:
        """Return the answer in one line."""
        return (
            f"Prediction(digit={self.digit}, label={self.label!r},"
            f" confidence={self.confidence:.4f}, verdict={self.verdict!r})"
        )

    def png(self) -> bytes:
        """Return the 28x28 that the network received, enlarged, as a PNG file."""
        return pictures.digit_png(self.pixels)

    def _repr_html_(self) -> str:
        return notebook.prediction_html(self)


@dataclass(frozen=True, eq=False, repr=False)
class Line:
    """One line of a page.

    Attributes:
        text: Its text, with `?` for a mark that is not a digit.
        digits: Its digits from left to right.
    """

    text: str
    digits: tuple[PageDigit, ...]

    def __repr__(self) -> str:
        """Return the text in one line."""
        return f"Line(text={self.text!r}, digits={len(self.digits)})"


@dataclass(frozen=True, eq=False, repr=False)
class Page(pictures.Shown):
    """All digits on an image.

    Attributes:
        text: The text of the lines, separated by line feeds.
        lines: The lines from top to bottom.
        fields: The printed frames, with the text in each.
        input: Width, height, format and polarity of the image, and warnings.
        picture: The image upright, uint8 `[H, W]` or `[H, W, 3]`. A large image is reduced, so that
            a pixel of it is `input.width / W` pixels of the image; boxes count those of the image.
    """

    text: str
    lines: tuple[Line, ...]
    fields: tuple[Field, ...]
    input: InputSummary
    picture: NDArray[np.uint8]

    @property
    def digits(self) -> tuple[PageDigit, ...]:
        """Return all digits, line by line."""
        return tuple(digit for line in self.lines for digit in line.digits)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what was not read, and what to do about it."""
        return self.input.warnings

    def __repr__(self) -> str:
        """Return the text in one line."""
        return f"Page(text={self.text!r}, digits={len(self.digits)})"

    def png(self) -> bytes:
        """Return the image as a PNG file, each digit with a box and what it was read as.

        The sides are at most 800 pixels. A box is green for `digit`, orange for `unsure` and grey
        for `not-a-digit`.
        """
        return pictures.page_picture(self, "PNG")

    def _repr_png_(self) -> None:
        return None  # a photo would take ten times as much of a notebook as its JPEG

    def _repr_jpeg_(self) -> bytes:
        return pictures.page_picture(self, "JPEG")

    def _repr_html_(self) -> str:
        return notebook.page_html(self)


@dataclass(frozen=True, eq=False, repr=False)
class Preparation(pictures.Shown):
    """How an image becomes the 28x28 that the network receives.

    Attributes:
        prediction: The answer.
        passthrough: Whether the image went to the network unchanged.
        stages: The stages in order: `name`, `description`, `image` (uint8 `[H, W]`) and
            `parameters`.
        without: The answer without each stage that can be left out, by the stage's name; None if no
            ink is found without it.
    """

    prediction: Prediction
    passthrough: bool
    stages: tuple[Stage, ...]
    without: Mapping[str, Prediction | None]

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Return the image as the network received it, uint8 `[28, 28]`, ink is bright."""
        return self.prediction.pixels

    def __repr__(self) -> str:
        """Return the stages and the answer in one line."""
        stages = ", ".join(stage.name for stage in self.stages) or "none"
        return f"Preparation(stages: {stages}; {self.prediction!r})"

    def png(self) -> bytes:
        """Return the 28x28 that the network received, enlarged, as a PNG file."""
        return self.prediction.png()

    def _repr_html_(self) -> str:
        return notebook.preparation_html(self)
