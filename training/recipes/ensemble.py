"""Seven networks of six forms, voting with equal weights.

Command: `digitscope ensemble --data mnist.npz`

The members were fixed before any were joined, and before the whole had read the test split.
"""

from dataclasses import replace

from training.recipe import Ensemble
from training.recipes import classic, deep, dropconnect, kernel5, kernel7, wide
from training.recipes.finish import FINISH, REFIT

ENSEMBLE = Ensemble(
    name="ensemble",
    description=(
        "The classic network, the DropConnect network, two networks with larger kernels and no"
        " pooling, one of seven layers and two wide ones, each calibrated on its own; the answer is"
        " the mean of their probabilities."
    ),
    members=(
        replace(classic.RECIPE, epochs=34, finish=FINISH, refit=REFIT),
        replace(dropconnect.RECIPE, epochs=34, finish=FINISH, refit=REFIT),
        replace(kernel5.RECIPE, refit=REFIT),
        replace(kernel7.RECIPE, refit=REFIT),
        replace(deep.RECIPE, refit=REFIT),
        replace(wide.RECIPE, refit=REFIT),
        replace(wide.RECIPE, name="wide-2", refit=REFIT),
    ),
)
