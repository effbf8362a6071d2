"""A small, fast network that is distilled from the ensemble; the default model.

Command: `digitscope distill --recipe compact --data mnist.npz`
Cost: an hour on one core, if `model/teachers` has the ensemble's answers (10 ms a digit) and the
weights that the training starts from, those of version 5 before its refit. 8.8 million
multiply-adds.
Result: 29 of 10,000 test digits misread in int8 (version 7, docs/training-log.md).
"""

from dataclasses import replace

from training.architectures import compact
from training.augment import Augmentation
from training.recipe import EnergyMargin, Finish, Recipe

# Many hands, pens and scanners; an eighth of the digits is drawn from strokes.
STRONG = Augmentation(
    rotation_deg=13,
    shift_px=2.0,
    scale=0.13,
    shear_deg=12,
    elastic_px=1.1,
    thickness=0.3,
    corruption=0.22,
    damage=0.12,
    prepared=0.3,
    redrawn=0.2,
)
# The default model sees all kinds until the end of its training, but fewer of each.
FINISH = Finish(
    epochs=18,
    learning_rate=5e-4,
    augmentation=replace(
        STRONG,
        rotation_deg=8,
        shift_px=1.2,
        scale=0.08,
        shear_deg=7,
        elastic_px=0.7,
        thickness=0.2,
        corruption=0.18,
        damage=0.1,
        prepared=0.22,
        redrawn=0.12,
    ),
    outlier_share=0.07,
    drawn_share=0.14,
)

RECIPE = Recipe(
    name="compact",
    description=(
        "A small strided network that learned the answers of the ensemble on digits of many hands,"
        " pens and scanners: seven convolutions (32, 48, 64, 64, 64, 64, 128), global average"
        " pooling and a softmax."
    ),
    build=compact,
    options={"width": 1.0},
    epochs=85,
    batch_size=128,
    learning_rate=2e-3,
    weight_decay=0.005,
    augmentation=STRONG,
    outlier_share=0.1,
    drawn_share=0.18,
    teachers=("ensemble",),
    margin=EnergyMargin(digits=6.0, outliers=0.0, weight=0.03),
    start="compact-5.npz",
    optimizer="muon",
    finish=FINISH,
    refit=replace(FINISH, epochs=3, learning_rate=1.5e-4),
    precision="mixed_bfloat16",
    int8=True,
)
