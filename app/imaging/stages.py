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
# The other rules that can be skipped, to measure what each of them does (benchmarks/rules.py).
RULES = {
    "pass-through": "A 28x28 in MNIST's form goes to the network unchanged.",
    "unprepared": "Another grey 28x28 is also a candidate as it is, in both polarities.",
    "prepared last": "Of a 28x28 whose ink reaches far, the prepared candidate is the fallback.",
    "surroundings": "On a page, what lies around the paper takes the colour of the paper.",
    "cracks": "On a page, long thin cracks are removed.",
    "corners": "Three corners of one level are background in an image of two levels.",
    "other polarity": "An image of doubtful polarity is a candidate in both.",
    "shading": "A page with nothing but faint ink without edges is blank.",
    "lines": "Ruled lines are removed.",
    "kept lines": "Few lines, or lines in an image of two levels, stay in another candidate.",
    "even background": "An image of two levels is also a candidate with an even background.",
    "hollow": "A background that leaves only the outlines of thick strokes is taken as even.",
    "upright": "A digit that is not sure is also tried sheared upright.",
    "turned": "A digit that is not sure is also tried turned by 15 and 22 degrees either way.",
    "narrowed": "A digit that fills a square and is not sure is also tried at 0.6 of its width.",
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
    """The affine map from the 28x28 image to the upload.

    The centre of pixel (y, x) of the 28x28 image is at (`offset_y + scale_y * y + shear_y * x`,
    `offset_x + scale_x * x + shear_x * y`) in the upload's pixels. (0, 0) is the centre of the
    upload's first pixel.

    Attributes:
        scale_y: Rows of the upload per row of the 28x28 image.
        scale_x: Columns of the upload per column of the 28x28 image.
        offset_y: Row of the upload at the centre of row 0.
        offset_x: Column of the upload at the centre of column 0.
        shear_y: Rows of the upload per column of the 28x28 image; 0 unless the digit was turned.
        shear_x: Columns of the upload per row; 0 unless the digit was turned or sheared.
    """

    scale_y: float
    scale_x: float
    offset_y: float
    offset_x: float
    shear_y: float = 0.0
    shear_x: float = 0.0

    def after(self, inner: "Placement") -> "Placement":
        """Return the map that applies `inner` first: from another 28x28 to this one."""
        return Placement(
            scale_y=self.scale_y * inner.scale_y + self.shear_y * inner.shear_x,
            scale_x=self.scale_x * inner.scale_x + self.shear_x * inner.shear_y,
            offset_y=self.offset_y + self.scale_y * inner.offset_y + self.shear_y * inner.offset_x,
            offset_x=self.offset_x + self.scale_x * inner.offset_x + self.shear_x * inner.offset_y,
            shear_y=self.scale_y * inner.shear_y + self.shear_y * inner.scale_x,
            shear_x=self.scale_x * inner.shear_x + self.shear_x * inner.scale_y,
        )


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
        marks: uint8 `[28, 28]` each: in MNIST's form, marks that may be digits of their own.
        fallback: Whether this candidate counts only if the others are refused
            (`app.recognise.predict`).
        views: Names of the views that are tried if the network is not sure (`app.imaging.views`).
        view: Name of the view that this is, if it is one.
    """

    pixels: NDArray[np.uint8]
    polarity: DetectedPolarity
    passthrough: bool
    placement: Placement
    stages: tuple[Stage, ...] = ()
    warnings: tuple[str, ...] = ()
    doubt: Doubt = "none"
    several: bool = False
    marks: tuple[NDArray[np.uint8], ...] = ()
    fallback: bool = False
    views: tuple[str, ...] = ()
    view: str | None = None


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
