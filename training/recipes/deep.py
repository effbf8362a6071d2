"""A member of the ensemble: seven 3x3 convolutions with pooling between them.

Command: `digitscope ensemble --data mnist.npz` trains it with the others, `digitscope train
--recipe deep --data mnist.npz` on its own.
Cost: 36 million multiply-adds.
Result: 13 to 16 of 5,000 held-out digits misread (ensemble, version 5).
"""

from dataclasses import replace

from training.architectures import deep
from training.recipe import Recipe
from training.recipes import classic
from training.recipes.finish import FINISH

RECIPE = Recipe(
    name="deep",
    description=(
        "Seven 3x3 convolutions (32, 32, 64, 64, 64, 128, 128) with batch normalisation, pooling"
        " and dropout between their blocks, global average pooling and a softmax."
    ),
    build=deep,
    options={"blocks": [[32, 32], [64, 64, 64], [128, 128]], "dropout": 0.1},
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
