"""The convolutions of `classic` and a dense layer with DropConnect (Wan et al., 2013).

Command: `digitscope train --recipe dropconnect --data mnist.npz`
Cost: an hour on two cores. 14.9 million multiply-adds.
Result: 31 of 10,000 test digits misread (version 2, docs/training-log.md).
"""

from training.architectures import dropconnect
from training.recipe import Recipe
from training.recipes import classic

RECIPE = Recipe(
    name="dropconnect",
    description=(
        "The classic convolutions under a dense layer of 512 that was trained with DropConnect:"
        " each of its weights dropped half of the time (Wan et al., 2013), served with the mean of"
        " the masked weights."
    ),
    build=dropconnect,
    options={"rate": 0.5, "masks": 4, "conv_dropout": 0.1},
    epochs=30,
    batch_size=128,
    learning_rate=2e-3,
    weight_decay=0.02,
    augmentation=classic.RECIPE.augmentation,
    outlier_share=0.06,
    refit=classic.RECIPE.refit,
)
