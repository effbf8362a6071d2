"""A small, fast network that is distilled from the ensemble; the default model.

Command: `digitscope distill --recipe compact --data mnist.npz`
Cost: 82 copies of the digits with the teachers' answers (40 s on an H200, 8 h on two cores), then
144 epochs of about 20 s on two cores. 8.8 million multiply-adds.
Result: 24 of 10,000 test digits misread in int8 (version 6, docs/training-log.md).
"""

from dataclasses import replace

from training.architectures import compact
from training.recipe import Finish, Recipe
from training.recipes import classic
from training.recipes.finish import GENTLE

# The default model sees corruptions and outliers until the end of its training.
FINISH = Finish(
    epochs=24,
    learning_rate=1e-3,
    augmentation=replace(GENTLE, corruption=0.3),
    outlier_share=0.06,
    copies=16,
)

RECIPE = Recipe(
    name="compact",
    description=(
        "A small strided network that learned the answers of the ensemble on augmented digits:"
        " seven convolutions (32, 48, 64, 64, 64, 64, 128), global average pooling and a softmax."
    ),
    build=compact,
    options={"width": 1.0},
    epochs=144,
    batch_size=128,
    learning_rate=3e-3,
    weight_decay=0.005,
    augmentation=classic.RECIPE.augmentation,
    outlier_share=0.06,
    teachers=("ensemble",),
    copies=60,
    clean_share=0.5,
    optimizer="muon",
    finish=FINISH,
    refit=replace(FINISH, epochs=3, learning_rate=2e-4, copies=6),
    precision="mixed_bfloat16",
    int8=True,
)
