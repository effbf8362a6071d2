"""The 15 corruptions of MNIST-C (Mu and Gilmer, 2019, arXiv:1906.02337), to test with.

Written from scratch with the parameters of the authors' code (github.com/google-research/mnist-c,
`corruptions.py` at aa07569), each kind at the severity that is the default there. How the files of
the published data set were made is not stated beyond that. What the authors left to scikit-image
and ImageMagick follows what those did in 2019. The random choices are our generator's, so single
images are others than the published ones.

Each kind has a relative in the training (`training.corruptions`), with random, continuous
parameters. Impulse noise, light and stripes are stronger there, the others milder or as strong. So
these corruptions are not out of distribution; `training.unseen` has kinds that are.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Pixels = NDArray[np.uint8]  # (28, 28), ink high
Floats = NDArray[np.float64]

AXIS = np.arange(28)
CENTRE = np.array([13.5, 13.5])
NEIGHBOURS = np.ones((3, 3), bool)


def _pixels(values: NDArray[np.floating]) -> Pixels:
    """Round to whole grey values, as the authors' notebook does."""
    return np.asarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8))


def _blurred(values: NDArray[np.generic], sigma: tuple[float, float]) -> Floats:
    return np.asarray(ndimage.gaussian_filter(values.astype(float), sigma, mode="nearest"))


def _affine(image: Pixels, inverse: ArrayLike) -> Pixels:
    """Look up each pixel where `inverse` takes its row and column from the centre."""
    matrix = np.asarray(inverse, float)
    offset = CENTRE - matrix @ CENTRE
    moved = ndimage.affine_transform(
        image.astype(float), matrix, offset, order=1, mode="grid-constant"
    )
    return _pixels(moved)


def _either_way(rng: np.random.Generator) -> int:
    return 2 * int(rng.integers(2)) - 1


def shot_noise(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Add Poisson noise; full ink is three photons (severity 5)."""
    return _pixels(rng.poisson(image / 255 * 3) / 3 * 255)


def impulse_noise(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Set 17 % of the pixels to black or white, with equal probability (severity 4)."""
    draw = rng.random(image.shape)
    return np.where(draw < 0.085, 0, np.where(draw > 0.915, 255, image)).astype(np.uint8)


def glass_blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Swap pixels with neighbours between two blurs of sigma 0.7 (severity 1).

    In two passes from the last pixel to the first, half of the pixels are swapped with the
    pixel 0 or 1 rows above and 0 or 1 columns to the left. The blurs run down the columns only,
    as they do in the authors' code, which tells scikit-image that the second axis of its grey
    images is one of colours.
    """
    down = (0.7, 0.0)
    grains = _blurred(image, down).astype(np.uint8).ravel().tolist()  # truncated, not rounded
    places = np.arange(28 * 28).reshape(28, 28)[27:1:-1, 27:1:-1]
    steps = np.array([0, 0, 0, 0, 0, 1, 28, 29])[rng.integers(8, size=(2, *places.shape))]
    moved = np.nonzero(steps)
    for place, step in zip(places[moved[1:]].tolist(), steps[moved].tolist(), strict=True):
        grains[place], grains[place - step] = grains[place - step], grains[place]
    return _pixels(_blurred(np.array(grains).reshape(28, 28), down))


def motion_blur(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Trail the ink to the left, along a line of up to 45 degrees (severity 1).

    Radius 10 and sigma 3, as ImageMagick understands them: one half of a Gaussian over 21 whole
    pixels to the right of each pixel, the border repeated.
    """
    angle = rng.uniform(-np.pi / 4, np.pi / 4)
    distance = np.arange(21)
    weights = np.exp(-(distance**2) / (2 * 3**2))
    down = np.ceil(distance * np.sin(angle) - 0.5).astype(int)
    right = np.ceil(distance * np.cos(angle) - 0.5).astype(int)
    page = np.pad(image, 20, mode="edge")
    views = [page[20 + y : 48 + y, 20 + x : 48 + x] for y, x in zip(down, right, strict=True)]
    return _pixels(np.tensordot(weights / weights.sum(), views, 1))


def shear(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Shear by an angle of 0.4 either way (severity 2).

    As scikit-image understands it: the vertical axis is turned by the angle and keeps its length,
    so the digit also becomes taller, by 1 / cos 0.4.
    """
    angle = 0.4 * _either_way(rng)
    return _affine(image, [[np.cos(angle), 0], [-np.sin(angle), 1]])


def scale(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Shrink to 0.7 (severity 3)."""
    return _affine(image, [[1 / 0.7, 0], [0, 1 / 0.7]])


def rotate(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Turn by 0.4 radians either way (severity 2)."""
    angle = 0.4 * _either_way(rng)
    return _affine(image, [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def brightness(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Add half the range, up to white (severity 5)."""
    return _pixels(image + 127.5)


def translate(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Move by 3 pixels up or down and by 3 to the left or right (severity 3)."""
    top, left = 3 + 3 * _either_way(rng), 3 + 3 * _either_way(rng)
    return np.pad(image, 3)[top : top + 28, left : left + 28]


def stripe(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Invert the seven columns at either side (one severity only)."""
    striped = image.copy()
    for columns in (slice(0, 7), slice(21, 28)):
        striped[:, columns] = 255 - striped[:, columns]
    return striped


def _plasma(side: int, decay: float, rng: np.random.Generator) -> Floats:
    """Draw clouds whose edges meet: midpoints are displaced, from 1 x 1 to `side` x `side`.

    The diamond-square algorithm (Fournier, Fussell and Carpenter, 1982, doi:10.1145/358523.358553).
    From each grid to the next the displacement falls by the square of `decay`, as with the authors,
    who square what they divide by it.

    Returns:
        float `[side, side]`, 0..1.
    """
    heights, most = np.zeros((1, 1)), 1.0
    while (cells := len(heights)) < side:
        noise = rng.uniform(-most, most, (3, cells, cells))
        pairs = heights + np.roll(heights, -1, 1)
        centres = (pairs + np.roll(pairs, -1, 0)) / 4 + noise[0]
        finer = np.empty((2 * cells, 2 * cells))
        finer[::2, ::2], finer[1::2, 1::2] = heights, centres
        finer[::2, 1::2] = (pairs + centres + np.roll(centres, 1, 0)) / 4 + noise[1]
        columns = heights + np.roll(heights, -1, 0)
        finer[1::2, ::2] = (columns + centres + np.roll(centres, 1, 1)) / 4 + noise[2]
        heights, most = finer, most / decay**2
    heights -= heights.min()
    return np.asarray(heights / heights.max())


def fog(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Add clouds three times as bright as the ink, then darken all to a quarter (severity 5).

    Strength 3, decay 1.4; the clouds are a corner of a field of 256 x 256.
    """
    ink = int(image.max()) / 255
    clouds = 3 * _plasma(256, 1.4, rng)[:28, :28]
    return _pixels((image + 255 * clouds) * ink / (ink + 3))


def spatter(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Cover ink and background with drops of mud of grey 63 (severity 4).

    Drops are where normal noise (mean 0.65, deviation 0.3), blurred by 1, is above 0.65; that mask
    blurred by 1.5 says how much they cover, and what is under 0.8 counts as nothing.
    """
    drops = _blurred(rng.normal(0.65, 0.3, image.shape), (1, 1)) > 0.65
    cover = _blurred(drops, (1.5, 1.5))
    cover[cover < 0.8] = 0
    return _pixels(image * (1 - cover) + 63 * cover)


def _line(points: Floats) -> Floats:
    """Draw a line that goes from left to right.

    Each of its segments is full where it is and fades as 1 + ln(1 - d / 2.3), d the distance in a
    column, so that nothing is left beyond 1.45 pixels. Where two share a column, they add up.

    Args:
        points: Columns and rows of its corners, `[2, N]`.

    Returns:
        float `[28, 28]`, 0..1.
    """
    columns, rows = points[..., None, None]  # (N, 1, 1)
    slope = np.diff(rows, axis=0) / np.diff(columns, axis=0)
    distance = np.abs(AXIS[:, None] - rows[:-1] - slope * (AXIS - columns[:-1]))  # (N - 1, 28, 28)
    ink = 1 + np.log(np.maximum(1 - distance / 2.3, np.exp(-1)))
    here = (np.floor(columns[:-1]) <= AXIS) & (np.ceil(columns[1:]) > AXIS)
    return np.asarray(np.clip((ink * here).sum(axis=0), 0, 1))


def dotted_line(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Draw a dashed line across (one severity only).

    From any row but the last at the left side to any at the right; two columns are left free, two
    drawn, and the last one is free.
    """
    line = _line(np.array([[0, 27], rng.integers(27, size=2)], float))
    return _pixels(image + 255 * line * (AXIS % 4 >= 2))


def zigzag(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Draw a zigzag line across (one severity only).

    Along an axis from column 2 to column 25, from any row but the last to one that is 5 higher to 4
    lower, with a tooth every 4 pixels that goes 2 to either side. Where the last tooth ends is
    the authors' formula.
    """
    row, drop = rng.integers(27), rng.integers(-5, 5)
    length, angle = np.hypot(23, drop), np.arctan2(drop, 23)
    along = np.array([0, 2, 6, 10, 14, 18, 22, length])
    across = np.array([0, 2, -2, 2, -2, 2, -2, -1 / (length - 20)])
    columns = 2 + along * np.cos(angle) - across * np.sin(angle)
    rows = row + along * np.sin(angle) + across * np.cos(angle)
    return _pixels(image + 255 * _line(np.stack([columns, rows])))


def canny_edges(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Leave only the edges that Canny's detector (1986) finds (one severity only).

    With scikit-image's defaults: sigma 1, the slope a Sobel filter's, a maximum across the edge and
    at least 0.1 of white, in one piece with a pixel that has 0.2; none at the border.
    """
    weight = ndimage.gaussian_filter(np.ones(image.shape), 1, mode="constant")
    smooth = ndimage.gaussian_filter(image / 255, 1, mode="constant") / weight
    dy, dx = ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1)
    slope = np.hypot(dy, dx)
    step = np.stack([dy, dx]) / np.maximum(np.maximum(np.abs(dy), np.abs(dx)), 1e-9)
    place = np.indices(image.shape)
    ahead, behind = (ndimage.map_coordinates(slope, place + s, order=1) for s in (step, -step))
    weak = (slope >= ahead) & (slope >= behind) & (slope >= 0.1)
    weak[[0, -1]] = weak[:, [0, -1]] = False
    pieces, _ = ndimage.label(weak, NEIGHBOURS)
    edges = np.isin(pieces, pieces[weak & (slope >= 0.2)])
    return np.where(edges, 255, 0).astype(np.uint8)


CORRUPTIONS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    made.__name__.replace("_", " "): made
    for made in (
        shot_noise,
        impulse_noise,
        glass_blur,
        motion_blur,
        shear,
        scale,
        rotate,
        brightness,
        translate,
        stripe,
        fog,
        spatter,
        dotted_line,
        zigzag,
        canny_edges,
    )
}
