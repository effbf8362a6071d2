"""A member of the ensemble: 5x5 convolutions without padding or pooling (An et al., 2020).

Command: `digitscope ensemble --data mnist.npz` trains it with the others, `digitscope train
--recipe kernel5 --data mnist.npz` on its own.
Cost: 35 million multiply-adds.
Result: 15 of 5,000 held-out digits misread (ensemble, version 5).
"""

from dataclasses import replace

from training.architectures import unpooled
from training.recipe import Recipe
from training.recipes import classic
from training.recipes.finish import FINISH

RECIPE = Recipe(
    name="kernel5",
    description=(
        "Five 5x5 convolutions (16, 32, 48, 64, 80) without padding or pooling, with batch"
        " normalisation, global average pooling and a softmax (after An et al., 2020)."
    ),
    build=unpooled,
    options={"side": 5, "width": 16, "depth": 5},
    epochs=48,
    batch_size=256,
    learning_rate=3e-3,
    weight_decay=0.02,
    augmentation=replace(classic.RECIPE.augmentation, corruption=0.1),
    outlier_share=0.06,
    optimizer="muon",
    finish=FINISH,
    precision="mixed_bfloat16",
)
