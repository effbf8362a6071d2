"""Teachers: published networks whose answers another network learns.

Distillation (Hinton et al., 2015, arXiv:1503.02531) on augmented digits: teachers and pupil see the
same changed pixels (Beyer et al., 2022, arXiv:2106.05237). Knows bundles; knows nothing of how the
pupil learns.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.bundle import TWIN_FILE, open_bundle
from app.inference.litert import LiteRtRuntime
from training.resample import Batch


class Voting:
    """Published networks that vote with equal weights, run as they are served."""

    def __init__(self, folders: Sequence[Path], threads: int = 2) -> None:
        """Load the bundles in `folders`; each call runs on `threads` threads.

        Raises:
            BundleError: A bundle is missing or damaged.
        """
        self._voters = [
            LiteRtRuntime(open_bundle(folder).read(TWIN_FILE), interpreters=1, threads=threads)
            for folder in folders
        ]

    def __call__(self, pixels: Batch) -> NDArray[np.float32]:
        """Return the mean of the probabilities, `[N, 10]`, for `[N, 28, 28]`, 0..255, ink high."""
        votes = [voter.predict(pixels).probabilities for voter in self._voters]
        return np.asarray(np.mean(votes, axis=0, dtype=np.float32))
