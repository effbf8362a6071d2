"""Digits of MNIST and images without a digit that a network learns again, so that it forgets none.

A digit's target is its label. That of an image without a digit is what the network answered before
("learning without forgetting": Li and Hoiem, 2016, arXiv:1606.09282). Further digits guard: they
are not learned again, and tell whether they would be misread.
"""

import hashlib
from dataclasses import dataclass
from math import prod

import numpy as np

from training.adapting.cache import FeatureCache
from training.adapting.tail import Features, SplitNetwork
from training.compiled import count_multiply_adds
from training.data import Images, Labels, Split
from training.outliers import outliers

LEARNED, GUARDING = 24_000, 12_000  # digits
OUTLIERS = 1000  # images without a digit
# Fewer digits are taken for a network with large features, or one that takes long.
MAX_FEATURE_BYTES = 1 << 28  # of all anchors
MAX_MULTIPLY_ADDS = 4e11  # of the whole network, for all anchors; about 10 s on two cores
MAX_TAIL_MULTIPLY_ADDS = 6e9  # of the tail, for all anchors, in each step of the training
SEED = 20_261_130


@dataclass(frozen=True)
class Anchors:
    """What the tail receives for images that keep their answers.

    Attributes:
        digits: Features of digits that are learned again, float32 `[D, ...]`.
        labels: uint8 `[D]`.
        outliers: Features of images without a digit, float32 `[O, ...]`.
        guard: Features of digits that are not learned again, float32 `[G, ...]`.
        guard_labels: uint8 `[G]`.
    """

    digits: Features
    labels: Labels
    outliers: Features
    guard: Features
    guard_labels: Labels


def read_anchors(split: SplitNetwork, train: Split, cache: FeatureCache) -> Anchors:
    """Choose training digits, draw images without a digit, and compute their features.

    Args:
        split: The network whose tail learns.
        train: MNIST's training digits without those that are held out.
        cache: What earlier runs computed.
    """
    affordable = min(
        MAX_FEATURE_BYTES / (4 * prod(split.shape)),
        MAX_MULTIPLY_ADDS / max(1, count_multiply_adds(split.network)),
        MAX_TAIL_MULTIPLY_ADDS / max(1, count_multiply_adds(split.tail)),
    )
    count = int(min(LEARNED + GUARDING, affordable - OUTLIERS, len(train)))
    learned = count * LEARNED // (LEARNED + GUARDING)
    rng = np.random.default_rng(SEED)
    digits = train.take(rng.permutation(len(train))[:count])
    key = hashlib.sha256(digits.images.tobytes()).hexdigest()
    known = cache.get(key, features=(count + min(count, OUTLIERS), *split.shape))
    if known is None:
        strange = draw_outliers(digits.images, OUTLIERS, rng)
        known = {"features": split.features(np.concatenate([digits.images, strange]))}
        cache.put(key, known)
    features: Features = known["features"]
    return Anchors(
        features[:learned],
        digits.labels[:learned],
        features[count:],
        features[learned:count],
        digits.labels[learned:],
    )


def draw_outliers(digits: Images, count: int, rng: np.random.Generator) -> Images:
    """Draw images without a digit, uint8 `[N, 28, 28]`; overlays are made of the digits."""
    return np.asarray(np.clip(np.rint(outliers(digits[:count], rng)), 0, 255), np.uint8)
