"""The result of preprocessing: the 28x28 image and, on request, a report of every stage."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.imaging.polarity import DetectedPolarity, Doubt

# The stages that can be skipped, in order, and what each does.
OPTIONAL_STAGES = {
    "background": "Estimates an uneven background (shadow, vignette, fog) and subtracts it.",
    "clean": "Removes specks, ruled lines and the edges of the paper.",
    "stroke": "Brings strokes far thinner or thicker than MNIST's close to MNIST's stroke width.",
    "centre": "Moves the centre of mass to the middle of the 28x28 image.",
}
# Stages that can be skipped and are recorded only where they remove something.
REMOVALS = {
    "desk": "Replaces the desk around a sheet of paper by the colour of the paper.",
    "frames": "Removes the frame that is printed around the digit.",
}


@dataclass(frozen=True)
class Stage:
    """The report of one preprocessing stage.

    Attributes:
        name: Name of the stage.
        description: A sentence on what the stage does.
        image: uint8 `[H, W]`, a picture of the result; the longer side is at most
            `app.imaging.decoded_size.MAX_WORKING_SIDE`.
        parameters: Measurements and decisions, as JSON values.
    """

    name: str
    description: str
    image: NDArray[np.uint8]
    parameters: Mapping[str, object]


@dataclass(frozen=True)
class Placement:
    """The map from the 28x28 image to the upload: a scale and an offset per axis, no rotation.

    The centre of pixel (y, x) of the 28x28 image is at (`offset_y + scale_y * y`, `offset_x +
    scale_x * x`) in the upload's pixels. (0, 0) is the centre of the upload's first pixel.

    Attributes:
        scale_y: Rows of the upload per row of the 28x28 image.
        scale_x: Columns of the upload per column of the 28x28 image.
        offset_y: Row of the upload at the centre of row 0.
        offset_x: Column of the upload at the centre of column 0.
    """

    scale_y: float
    scale_x: float
    offset_y: float
    offset_x: float


@dataclass(frozen=True)
class NetworkInput:
    """A 28x28 image as a network receives it.

    Attributes:
        pixels: uint8 `[28, 28]`, ink is bright.
        polarity: The polarity of the upload that was assumed.
        passthrough: Whether the upload was MNIST-shaped and is unchanged.
        placement: The map from the 28x28 image to the upload.
        stages: The report of every stage, if it was requested.
        warnings: Sentences on what may make the prediction wrong.
        doubt: How likely it is that the upload has the other polarity.
        several: Whether the writing may be several digits (`app.imaging.several`).
        fallback: Whether this candidate counts only if the others are refused
            (`app.recognise.predict`).
    """

    pixels: NDArray[np.uint8]
    polarity: DetectedPolarity
    passthrough: bool
    placement: Placement
    stages: tuple[Stage, ...] = ()
    warnings: tuple[str, ...] = ()
    doubt: Doubt = "none"
    several: bool = False
    fallback: bool = False


@dataclass
class StageRecorder:
    """Collects the reports of the stages of one preprocessing run.

    Attributes:
        enabled: If False, nothing is recorded and no picture is made.
        stages: The reports so far, in order.
    """

    enabled: bool
    stages: list[Stage] = field(default_factory=list)

    def copy(self) -> "StageRecorder":
        """Return a recorder with the same reports, to which others can be added."""
        return StageRecorder(self.enabled, list(self.stages))

    def add(
        self,
        name: str,
        description: str,
        image: NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.bool_],
        parameters: Mapping[str, object],
        white: float = 255.0,
    ) -> None:
        """Record a stage; `white` is the value of `image` that is drawn white."""
        if self.enabled:
            scaled = np.clip(np.asarray(image, np.float32) * (255.0 / white), 0, 255)
            self.stages.append(Stage(name, description, scaled.astype(np.uint8), dict(parameters)))
