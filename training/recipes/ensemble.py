"""Four networks of different forms, voting with equal weights.

Command: `digitscope ensemble --data mnist.npz`

The members were chosen among seven by what they make of the held-out digits together, before the
whole had read the test split (docs/training-log.md).
"""

from dataclasses import replace

from training.recipe import Ensemble
from training.recipes import classic, deep, kernel5, wide
from training.recipes.finish import FINISH, REFIT

ENSEMBLE = Ensemble(
    name="ensemble",
    description=(
        "The classic network, one with 5x5 kernels and no pooling, one of seven convolutions and a"
        " wide one, each calibrated on its own; the answer is the mean of their probabilities."
    ),
    members=(
        replace(classic.RECIPE, epochs=34, finish=FINISH, refit=REFIT),
        replace(kernel5.RECIPE, refit=REFIT),
        replace(deep.RECIPE, refit=REFIT),
        replace(wide.RECIPE, refit=REFIT),
    ),
    seeds=(1, 1, 1, 6),
)
