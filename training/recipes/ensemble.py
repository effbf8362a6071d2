"""Nine networks of five forms, whose probabilities are averaged.

Command: `digitscope ensemble --data mnist.npz`
Cost: 5 minutes on an H200, a night on two cores. 461 million multiply-adds.
Result: 18 of 10,000 test digits misread (version 5, docs/training-log.md).

Each form has two seeds, the smallest one seed. No member was chosen by its validation error.
"""

from dataclasses import replace

from training.recipe import Ensemble
from training.recipes import classic, deep, kernel5, large, wide
from training.recipes.finish import FINISH, REFIT

_CLASSIC = replace(
    classic.RECIPE,
    epochs=deep.RECIPE.epochs,
    batch_size=deep.RECIPE.batch_size,
    learning_rate=deep.RECIPE.learning_rate,
    optimizer=deep.RECIPE.optimizer,
    precision=deep.RECIPE.precision,
    finish=FINISH,
)
_MEMBERS = (
    deep.RECIPE,
    replace(deep.RECIPE, name="deep-2"),
    kernel5.RECIPE,
    replace(kernel5.RECIPE, name="kernel5-2"),
    large.RECIPE,
    replace(large.RECIPE, name="large-2"),
    wide.RECIPE,
    replace(wide.RECIPE, name="wide-2"),
    _CLASSIC,
)

ENSEMBLE = Ensemble(
    name="ensemble",
    description=(
        "The classic network, and two networks of each of four forms: 5x5 kernels and no pooling,"
        " seven convolutions, seven with more filters, five wide ones. Each is calibrated on its"
        " own; the answer is the mean of their probabilities."
    ),
    members=tuple(replace(member, refit=REFIT) for member in _MEMBERS),
    seeds=(1, 2, 1, 2, 1, 2, 1, 2, 1),
)
