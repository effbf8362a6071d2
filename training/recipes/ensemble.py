"""Five networks of four forms, voting with equal weights.

Command: `digitscope ensemble --data mnist.npz`

The four forms were chosen among seven networks by what they make of the held-out digits together;
the second seed of the best one was added without looking (docs/training-log.md).
"""

from dataclasses import replace

from training.recipe import Ensemble
from training.recipes import classic, deep, kernel5, wide
from training.recipes.finish import FINISH, REFIT

ENSEMBLE = Ensemble(
    name="ensemble",
    description=(
        "The classic network, one with 5x5 kernels and no pooling, one of seven convolutions and"
        " two wide ones, each calibrated on its own; the answer is the mean of their probabilities."
    ),
    members=(
        replace(classic.RECIPE, epochs=34, finish=FINISH, refit=REFIT),
        replace(kernel5.RECIPE, refit=REFIT),
        replace(deep.RECIPE, refit=REFIT),
        replace(wide.RECIPE, refit=REFIT),
        replace(wide.RECIPE, name="wide-2", refit=REFIT),
    ),
    seeds=(1, 1, 1, 7, 8),
)
