"""Compares a served network with the answers that its bundle stored at publication.

Needs the images of the held-out digits, but no labels: a check on another machine, or of another
library, opens no test split. Needs no TensorFlow.
"""

from dataclasses import dataclass

import numpy as np

from app.bundle import INT8_FILE, Bundle
from app.inference.litert_runtime import open_runtime
from training.data import Images
from training.predictions import read_predictions

# Largest accepted difference of a probability. Storing rounds by 2e-4. In int8, a rounding that
# differs between processors moves a value by a whole step.
TOLERANCE = 1e-3
INT8_TOLERANCE = 0.05
MAX_MULTIPLY_ADDS = 5e11  # per model; about 15 s on two cores, all held-out digits of most models


@dataclass(frozen=True)
class Comparison:
    """What has changed since a model was published.

    Attributes:
        digits: Number of held-out digits that were read.
        changed: Number of digits with another answer.
        difference: Largest absolute difference of a probability, 0..1.
        tolerance: Largest accepted difference.
    """

    digits: int
    changed: int
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance; NaN is not."""
        return self.difference <= self.tolerance


def compare_with_publication(bundle: Bundle, training_images: Images) -> Comparison:
    """Read held-out digits with the served network and compare with the stored answers.

    Args:
        bundle: The model. A network so large that all digits would take long reads an evenly spaced
            share of them.
        training_images: The images of MNIST's training split, in its official order.

    Raises:
        PublishError: The bundle has no stored answers.
        BundleError: A file of the bundle is missing or damaged.
    """
    stored = read_predictions(bundle)
    step = max(1, round(len(stored.indices) * bundle.metadata.multiply_adds / MAX_MULTIPLY_ADDS))
    rows = np.arange(0, len(stored.indices), step)
    served = open_runtime(bundle, threads=2)
    now = served.predict(training_images[stored.indices[rows]]).probabilities
    then = stored.served.outputs().probabilities[rows]
    return Comparison(
        digits=len(rows),
        changed=int((now.argmax(axis=1) != then.argmax(axis=1)).sum()),
        difference=float(np.abs(now - then).max()),
        tolerance=INT8_TOLERANCE if bundle.has(INT8_FILE) else TOLERANCE,
    )
