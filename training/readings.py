"""Reads drawn or damaged digits as the service does, and counts what a network makes of them.

Images are prepared once and read by any number of networks. Knows the service's preparation and
verdicts; the digits come from `training.unseen` and from held-out training digits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from app.bundle import Reading, VerdictThresholds
from app.errors import BlankImageError
from app.evaluation.statistics import expected_calibration_error
from app.imaging.candidates import candidates
from app.imaging.decode import decode
from app.inference.runtime import Runtime
from app.verdict import Verdict, choose, energy, judge
from training import unseen
from training.data import Split
from training.evaluate import reliability
from training.nondigits import NONDIGITS, UNSEEN_NONDIGITS

SEED = 2027
DRAWN = 300  # drawings of each shape
DIGITS = 500  # held-out digits of each slant, turn and scan
DAMAGED = 1000  # held-out digits of each kind of damage
OTHERS = 200  # images without a digit, of each kind
SLANTS, TURNS = (-15, 15, 22, 30), (-30, -20, 20, 30)  # degrees
MAX_PIXELS = 1_000_000  # of a drawn image; all are smaller
HANDS, GEOMETRY, DAMAGE, SEALED, OTHER = "hands", "geometry", "damage", "sealed damage", "no digit"


@dataclass(frozen=True)
class Prepared:
    """Images as the service prepares them, with all candidates.

    Attributes:
        pixels: uint8 `[C, 28, 28]`, the candidates, image by image.
        counts: Number of candidates of each image.
        fallbacks: Positions of the candidates that are fallbacks.
    """

    pixels: NDArray[np.uint8]
    counts: tuple[int, ...]
    fallbacks: tuple[int, ...]


def prepare_files(files: Sequence[bytes]) -> Prepared:
    """Prepare image files as the service does; images without ink are left out."""
    pixels: list[NDArray[np.uint8]] = []
    counts, fallbacks = list[int](), list[int]()
    for file in files:
        try:
            found = candidates(decode(file, max_pixels=MAX_PIXELS))
        except BlankImageError:
            continue
        counts.append(len(found))
        fallbacks += [len(pixels) + row for row, each in enumerate(found) if each.fallback]
        pixels += [each.pixels for each in found]
    return Prepared(np.stack(pixels), tuple(counts), tuple(fallbacks))


def read(
    images: Prepared, runtime: Runtime, limits: VerdictThresholds
) -> tuple[NDArray[np.intp], list[Verdict], NDArray[np.float64]]:
    """Return the digit, the verdict and the score of each image."""
    outputs = runtime.predict(images.pixels)
    scores = energy(outputs.logits)
    confidences = outputs.probabilities.max(axis=1)
    chosen = choose(scores, confidences, images.counts, images.fallbacks, limits.not_a_digit_below)
    probabilities = outputs.probabilities[chosen]
    verdicts = judge(
        scores[chosen],
        probabilities.max(axis=1),
        not_a_digit_below=limits.not_a_digit_below,
        unsure_below=limits.unsure_below,
    )
    return probabilities.argmax(axis=1), verdicts, scores[chosen]


def measure(
    runtime: Runtime, held_out: Split, limits: VerdictThresholds, *, sealed: bool = True
) -> list[Reading]:
    """Read all kinds of digits and non-digits.

    Args:
        runtime: The network as it is served.
        held_out: Digits that the network was not trained on.
        limits: The thresholds of its verdicts.
        sealed: Whether to read the kinds of damage that are kept for publishing.
    """
    readings = [_count(HANDS, name, *_hands(name), runtime, limits) for name in unseen.SHAPES]
    digits = _shuffled(held_out, DIGITS)
    for name in _geometries():
        images = _moved(name, digits.images.tobytes())
        readings.append(_count(GEOMETRY, name, images, digits.labels, runtime, limits))
    digits = _shuffled(held_out, DAMAGED)
    groups = {DAMAGE: unseen.OPEN_DAMAGE} | ({SEALED: unseen.SEALED_DAMAGE} if sealed else {})
    for group, kinds in groups.items():
        for name in kinds:
            pixels = _damaged(kinds[name], digits)
            alone = Prepared(pixels, (1,) * len(pixels), ())
            readings.append(_count(group, name, alone, digits.labels, runtime, limits))
    for name in _others():
        _, verdicts, _ = read(_drawn_others(name), runtime, limits)
        readings.append(
            Reading(
                group=OTHER,
                name=name,
                images=len(verdicts),
                wrong=verdicts.count("digit"),
                refused=verdicts.count("not-a-digit"),
                unsure=verdicts.count("unsure"),
            )
        )
    return readings


def damaged_calibration_error(runtime: Runtime, held_out: Split, *, sealed: bool = True) -> float:
    """Return the calibration error on all kinds of damaged digits together."""
    digits = _shuffled(held_out, DAMAGED)
    kinds = unseen.OPEN_DAMAGE | (unseen.SEALED_DAMAGE if sealed else {})
    pixels = np.concatenate([_damaged(harm, digits) for harm in kinds.values()])
    answers = runtime.predict(pixels).probabilities
    return expected_calibration_error(reliability(answers, np.tile(digits.labels, len(kinds))))


def _shuffled(held_out: Split, count: int) -> Split:
    order = np.random.default_rng(SEED).permutation(len(held_out))
    return held_out.take(order[:count])


def _damaged(harm: unseen.Damage, digits: Split) -> NDArray[np.uint8]:
    rng = np.random.default_rng(SEED)
    return np.stack([harm(image, rng) for image in digits.images])


def _count(
    group: str,
    name: str,
    images: Prepared,
    labels: NDArray[np.integer],
    runtime: Runtime,
    limits: VerdictThresholds,
) -> Reading:
    answers, verdicts, _ = read(images, runtime, limits)
    right = answers == labels
    of_right = [verdict for verdict, is_right in zip(verdicts, right, strict=True) if is_right]
    return Reading(
        group=group,
        name=name,
        images=len(labels),
        wrong=int((~right).sum()),
        refused=of_right.count("not-a-digit"),
        unsure=of_right.count("unsure"),
    )


@cache
def _hands(name: str) -> tuple[Prepared, NDArray[np.int64]]:
    """Draw a shape of a digit on paper, and prepare it."""
    digit, strokes = unseen.SHAPES[name]
    rng = np.random.default_rng(SEED)
    files = [unseen.draw(strokes(rng), rng) for _ in range(DRAWN)]
    return prepare_files(files), np.full(DRAWN, digit)


def _geometries() -> dict[str, Callable[[NDArray[np.uint8], np.random.Generator], bytes]]:
    slants = {f"slant {d}": partial(unseen.slanted, degrees=d) for d in SLANTS}
    turns = {f"turn {d}": partial(unseen.turned, degrees=d) for d in TURNS}
    return {**slants, **turns, "binary 16x16, stretched": unseen.small_binary_scan}


@cache
def _moved(name: str, images: bytes) -> Prepared:
    """Slant, turn or scan digits, given as bytes, and prepare them."""
    make, rng = _geometries()[name], np.random.default_rng(SEED)
    digits = np.frombuffer(images, np.uint8).reshape(-1, 28, 28)
    return prepare_files([make(digit, rng) for digit in digits])


def _others() -> dict[str, Callable[[np.random.Generator], bytes]]:
    own = {"operators": unseen.operator, "hearts": unseen.heart}
    return {**own, "shaded paper": unseen.shaded_paper, **NONDIGITS, **UNSEEN_NONDIGITS}


@cache
def _drawn_others(name: str) -> Prepared:
    make, rng = _others()[name], np.random.default_rng(SEED)
    return prepare_files([make(rng) for _ in range(OTHERS)])
