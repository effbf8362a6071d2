"""A small, fast network that learns from the published ones.

Command: `digitscope distill --recipe compact --data mnist.npz`
"""

from training.architectures import compact
from training.recipe import Recipe
from training.recipes import classic

RECIPE = Recipe(
    name="compact",
    description=(
        "A small strided network that learned the answers of the classic and the DropConnect"
        " network, voting, on augmented digits: four convolutions (24, 32, 64, 64), global average"
        " pooling and a softmax."
    ),
    build=compact,
    options={},
    epochs=50,
    batch_size=128,
    learning_rate=3e-3,
    weight_decay=0.005,
    augmentation=classic.RECIPE.augmentation,
    outlier_share=0.06,
    teachers=("classic", "dropconnect"),
)
