"""Five networks of different forms, voting with equal weights.

Command: `digitscope ensemble --data mnist.npz`

The members were fixed before any were joined, and before the whole had read the test split.
"""

from dataclasses import replace

from training.recipe import Ensemble
from training.recipes import classic, deep, dropconnect, kernel5, kernel7
from training.recipes.finish import FINISH

ENSEMBLE = Ensemble(
    name="ensemble",
    description=(
        "The classic network, the DropConnect network, two networks with larger kernels and no"
        " pooling and one of seven layers, each calibrated on its own; the answer is the mean of"
        " their probabilities."
    ),
    members=(
        replace(classic.RECIPE, epochs=34, finish=FINISH),
        replace(dropconnect.RECIPE, epochs=34, finish=FINISH),
        kernel5.RECIPE,
        kernel7.RECIPE,
        deep.RECIPE,
    ),
)
