"""A small, fast network that learns from the ensemble; the one that is served by default.

Command: `digitscope distill --recipe compact --data mnist.npz`
"""

from training.architectures import compact
from training.recipe import Recipe
from training.recipes import classic

RECIPE = Recipe(
    name="compact",
    description=(
        "A small strided network that learned the answers of the ensemble on augmented digits: five"
        " convolutions (32, 64, 64, 96, 160), global average pooling and a softmax."
    ),
    build=compact,
    options={"width": 1.0},
    epochs=80,
    batch_size=128,
    learning_rate=3e-3,
    weight_decay=0.005,
    augmentation=classic.RECIPE.augmentation,
    outlier_share=0.06,
    teachers=("ensemble",),
    copies=10,
    precision="mixed_bfloat16",
    int8=True,
)
