"""Four networks that see digits through different kernels, voting with equal weights.

Command: `digitscope ensemble --data mnist.npz`

The members were fixed when only `classic` had read the test split, and before any were joined.
"""

from training.recipe import Ensemble
from training.recipes import classic, dropconnect, kernel5, kernel7

ENSEMBLE = Ensemble(
    name="ensemble",
    description=(
        "The classic network, the DropConnect network and two networks with larger kernels and no"
        " pooling, each calibrated on its own; the answer is the mean of their probabilities."
    ),
    members=(classic.RECIPE, dropconnect.RECIPE, kernel5.RECIPE, kernel7.RECIPE),
)
