"""Occlusion: the loss of score when a patch of the image is blacked out."""

import numpy as np

from app.inspection.methods.method import Attribution, MapCost, MapRequest, Method
from app.inspection.score import Map, Score

PATCH = 4  # side of the patch, in pixels
STRIDE = 2  # pixels between neighbouring patches
_CHANGING_PATCHES = 100  # of the 169; most digits have ink under so many


def occlusion(score: Score, image: Map, *, patch: int = PATCH, stride: int = STRIDE) -> Map:
    """Black out a square patch at every position of a grid.

    Args:
        score: Scores images.
        image: float32 `[28, 28]`.
        patch: Side of the patch, in pixels.
        stride: Distance of neighbouring positions, in pixels.

    Returns:
        float32 `[28, 28]`: for each pixel, the mean loss of score over the patches that cover it.
    """
    height, width = image.shape
    corners = [
        (top, left)
        for top in range(0, height - patch + 1, stride)
        for left in range(0, width - patch + 1, stride)
    ]
    occluded = np.repeat(image[None], len(corners), axis=0)
    for picture, (top, left) in zip(occluded, corners, strict=True):
        picture[top : top + patch, left : left + patch] = 0
    # A patch on black pixels changes nothing, so its picture need not be scored.
    changed = (occluded != image).any(axis=(1, 2))
    scores = score(np.concatenate([image[None], occluded[changed]]))
    losses = np.zeros(len(corners), np.float32)
    losses[changed] = scores[0] - scores[1:]
    total, count = np.zeros_like(image), np.zeros_like(image)
    for (top, left), loss in zip(corners, losses, strict=True):
        total[top : top + patch, left : left + patch] += loss
        count[top : top + patch, left : left + patch] += 1
    return np.asarray(total / np.maximum(count, 1), np.float32)


def _compute(request: MapRequest) -> Attribution:
    return Attribution(occlusion(request.score, request.image))


OCCLUSION = Method(
    name="occlusion",
    title="Occlusion",
    description=(
        f"Blacks out one patch of {PATCH}x{PATCH} pixels after another and measures how far the"
        " score falls."
    ),
    limits="It cannot show details smaller than the patch, and the patch's size changes the map.",
    empty="blacking out any patch leaves the score as it is",
    reference="Zeiler and Fergus, 2014, arXiv:1311.2901",
    unit="logit",
    parameters=(),
    response_fields=(),
    ranks_by_magnitude=False,
    needs_gradients=False,
    compute=_compute,
    cost=lambda steps, max_gradients: MapCost(gradients=0, scores=_CHANGING_PATCHES),
)
