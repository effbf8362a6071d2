"""What a preparation leaves behind: the result, and on request every stage on the way to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.imaging.polarity import DetectedPolarity

# Every stage that can be left out, in order, with what it does.
OPTIONAL_STAGES = {
    "background": "An uneven ground (shadow, vignette, fog) is estimated and taken away.",
    "clean": "Specks, ruled lines and the edges of the paper are dropped.",
    "stroke": "Strokes far thinner or thicker than MNIST's are brought near its width.",
    "centre": "The centre of mass is moved to the middle of the 28x28.",
}


@dataclass(frozen=True)
class Stage:
    """One step: its name, what it did, a picture of its outcome, and the numbers it chose.

    Attributes:
        image: uint8 `[H, W]`, at most `app.imaging.decode.MAX_WORKING_SIDE` a side.
        parameters: JSON-able values.
    """

    name: str
    description: str
    image: NDArray[np.uint8]
    parameters: Mapping[str, object]


@dataclass(frozen=True)
class Placement:
    """Where the 28x28 lies on the upload: an upright box, without rotation.

    The centre of pixel (y, x) of the 28x28 lies at `offset_y + scale_y * y`, `offset_x + scale_x *
    x` in the upload's own pixels, counted from the centre of its first.
    """

    scale_y: float
    scale_x: float
    offset_y: float
    offset_x: float


@dataclass(frozen=True)
class NetworkInput:
    """An image as the network receives it.

    Attributes:
        pixels: uint8 `[28, 28]`, ink high.
        polarity: Which side was taken as ink.
        passthrough: Whether the image was MNIST-shaped and came through unchanged.
        placement: Where the 28x28 lies on the upload.
        stages: Every step, if they were asked for.
        warnings: What may make the answer wrong.
        doubtful: Whether the other polarity is possible too.
    """

    pixels: NDArray[np.uint8]
    polarity: DetectedPolarity
    passthrough: bool
    placement: Placement
    stages: tuple[Stage, ...] = ()
    warnings: tuple[str, ...] = ()
    doubtful: bool = False


@dataclass
class StageRecorder:
    """Collects the stages of one preparation; costs nothing when they are not wanted."""

    wanted: bool
    stages: list[Stage] = field(default_factory=list)

    def add(
        self,
        name: str,
        description: str,
        image: NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.bool_],
        parameters: Mapping[str, object],
        full: float = 255.0,
    ) -> None:
        """Note a stage; `full` is the value that is drawn white."""
        if self.wanted:
            picture = np.clip(np.asarray(image, np.float32) * (255.0 / full), 0, 255).astype(
                np.uint8
            )
            self.stages.append(Stage(name, description, picture, dict(parameters)))
