"""A small, fast network that learns from the ensemble; the one that is served by default.

Command: `digitscope distill --recipe compact --data mnist.npz`
"""

from dataclasses import replace

from training.architectures import compact
from training.recipe import Finish, Recipe
from training.recipes import classic
from training.recipes.finish import GENTLE

# Weaker changes, but as many corrupted digits and outliers as before: what is served by default is
# shown real scans.
CLEARER = Finish(
    epochs=16,
    learning_rate=1e-3,
    augmentation=replace(GENTLE, corruption=classic.RECIPE.augmentation.corruption),
    outlier_share=classic.RECIPE.outlier_share,
    copies=4,
)

RECIPE = Recipe(
    name="compact",
    description=(
        "A small strided network that learned the answers of the ensemble on augmented digits: five"
        " convolutions (32, 64, 64, 96, 160), global average pooling and a softmax."
    ),
    build=compact,
    options={"width": 1.0},
    epochs=96,
    batch_size=128,
    learning_rate=3e-3,
    weight_decay=0.005,
    augmentation=classic.RECIPE.augmentation,
    outlier_share=classic.RECIPE.outlier_share,
    teachers=("ensemble",),
    copies=10,
    finish=CLEARER,
    precision="mixed_bfloat16",
    int8=True,
)
