"""Make other views of a digit that a network is not sure of: sheared upright, turned, narrowed.

Works on a 28x28 in MNIST's form; the result is in MNIST's form again. The network's score decides
whether a view counts (`app.verdict.choose_view`).
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.imaging.filters import Grey
from app.imaging.mnist_form import bounding_box, to_mnist_form
from app.imaging.passthrough import SIDE
from app.imaging.stages import NetworkInput, Placement

ANGLES_DEG = (-22, -15, 15, 22)  # of the turned views; positive is clockwise
NARROWING = 0.6  # width of the narrowed view; scans stretched to a square are read best at 0.5..0.7
MIN_FILLED = 0.9  # of the sides of a square image, that a stretched digit reaches
FINE = 3  # views are drawn at this multiple of the 28x28, so that strokes stay sharp
CANVAS = 40  # side of the canvas on which a view is drawn, in pixels of the 28x28
MIN_INK = 40.0  # grey level above which a pixel of the canvas counts for the bounding box

Matrix = NDArray[np.float64]  # [2, 2], from (x, y) of a view to (x, y) of the 28x28


@dataclass(frozen=True)
class View:
    """Another view of a 28x28.

    Attributes:
        name: `upright`, `turned` or `narrowed`.
        pixels: uint8 `[28, 28]`, in MNIST's form.
        placement: The map from the view to the 28x28 of which it was made.
        parameters: Measurements and decisions, as JSON values.
    """

    name: str
    pixels: NDArray[np.uint8]
    placement: Placement
    parameters: Mapping[str, object]


def view_names(
    ink: Grey | NDArray[np.uint8], min_ink: float, skip: AbstractSet[str] = frozenset()
) -> tuple[str, ...]:
    """Return the names of the views of a digit that may help.

    Only digits that fill a square image are narrowed: some scanners stretch digits to a square.

    Args:
        ink: `[H, W]`, the ink of the whole image.
        min_ink: Ink above which a pixel counts, grey levels.
        skip: Names of views to leave out.
    """
    names = ["upright", "turned"]
    if ink.shape[0] == ink.shape[1]:
        _, _, height, width = bounding_box(ink, min_ink)
        if min(height, width) >= MIN_FILLED * ink.shape[0]:
            names.append("narrowed")
    return tuple(name for name in names if name not in skip)


def make_views(prepared: NetworkInput) -> list[View]:
    """Make the views of a 28x28 that its `views` name.

    The upright view is sheared until rows and columns of the ink are uncorrelated. It is the
    deslanting that LeCun et al. (1998) use for MNIST.
    """
    pixels, views = prepared.pixels, list[View]()
    if "upright" in prepared.views:
        slant = _slant(pixels)
        shear = np.array([[1.0, slant], [0.0, 1.0]])
        views.append(_draw("upright", pixels, shear, {"slant": round(slant, 3)}))
    if "turned" in prepared.views:
        views += [
            _draw("turned", pixels, _rotation(angle), {"angle_deg": angle}) for angle in ANGLES_DEG
        ]
    if "narrowed" in prepared.views:
        stretch = np.array([[1 / NARROWING, 0.0], [0.0, 1.0]])
        views.append(_draw("narrowed", pixels, stretch, {"width": NARROWING}))
    return views


def _slant(pixels: NDArray[np.uint8]) -> float:
    """Return by how many columns the ink moves to the right per row, by its second moments."""
    ink = pixels.astype(np.float64)
    rows, columns = ink.sum(axis=1), ink.sum(axis=0)
    axis, mass = np.arange(SIDE), max(1.0, float(ink.sum()))
    y, x = axis - rows @ axis / mass, axis - columns @ axis / mass
    return float(y @ ink @ x / max(1e-9, float(rows @ y**2)))


def _rotation(angle_deg: float) -> Matrix:
    cosine, sine = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    return np.array([[cosine, sine], [-sine, cosine]])


def _draw(
    name: str, pixels: NDArray[np.uint8], matrix: Matrix, parameters: Mapping[str, object]
) -> View:
    """Draw a 28x28 through a linear map about its middle, and bring the result into MNIST's form.

    Args:
        name: Name of the view.
        pixels: uint8 `[28, 28]`.
        matrix: From (x, y) of the view to (x, y) of the 28x28, both from the middle.
        parameters: Of the view.
    """
    shift = SIDE / 2 - matrix @ np.full(2, CANVAS / 2)
    (a, b), (d, e) = (matrix / FINE).tolist()
    data = (a, b, float(shift[0]), d, e, float(shift[1]))
    size = (CANVAS * FINE, CANVAS * FINE)
    drawn = Image.fromarray(pixels).transform(
        size, Image.Transform.AFFINE, data, Image.Resampling.BICUBIC
    )
    fine: Grey = np.asarray(drawn, np.float32)
    view, placement = to_mnist_form(fine, MIN_INK, 1, skip={"stroke"})
    # The centre of pixel i of the canvas is i + 0.5 from its corner.
    corner = matrix @ np.full(2, 0.5 / FINE) + shift - 0.5
    on_28x28 = Placement(e, a, float(corner[1]), float(corner[0]), d, b)
    return View(name, view, on_28x28.after(placement), parameters)
