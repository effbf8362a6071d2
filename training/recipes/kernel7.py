"""A member of the ensemble: 7x7 convolutions without padding or pooling (An et al., 2020).

Command: `digitscope ensemble --data mnist.npz` trains it with the others, `digitscope train
--recipe kernel7 --data mnist.npz` on its own. 37 million multiply-adds.
"""

from dataclasses import replace

from training.architectures import unpooled
from training.recipe import Recipe
from training.recipes import classic
from training.recipes.finish import FINISH

RECIPE = Recipe(
    name="kernel7",
    description=(
        "Four 7x7 convolutions (24, 48, 72, 96) without padding or pooling, with batch"
        " normalisation, global average pooling and a softmax (after An et al., 2020)."
    ),
    build=unpooled,
    options={"side": 7, "width": 24, "depth": 4},
    epochs=24,
    batch_size=128,
    learning_rate=2e-3,
    weight_decay=0.02,
    augmentation=replace(classic.RECIPE.augmentation, corruption=0.1),
    outlier_share=0.06,
    finish=FINISH,
    precision="mixed_bfloat16",
)
