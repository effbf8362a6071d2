"""A small, fast network that is distilled from the ensemble; the default model.

Command: `digitscope distill --recipe compact --data mnist.npz`
Cost: half an hour on one core. `model/teachers` has the ensemble's answers and the weights of
versions 5 and 7 before their refit, from which the training starts and learns. 8.8 million
multiply-adds.
Result: 16 of 5,000 held-out digits misread before the refit (docs/training-log.md).
"""

from dataclasses import replace

from training.architectures import compact
from training.augment import Augmentation
from training.recipe import EnergyMargin, Finish, Recipe

# Many hands, pens and scanners; a seventh of the digits is drawn from strokes.
HANDS = Augmentation(
    rotation_deg=8,
    shift_px=1.2,
    scale=0.08,
    shear_deg=7,
    elastic_px=0.7,
    thickness=0.2,
    corruption=0.18,
    damage=0.1,
    prepared=0.25,
    redrawn=0.13,
)

# Fewer outliers at the end: the longer a network sees many, the more digits it refuses.
FINISH = Finish(
    epochs=4,
    learning_rate=4e-4,
    augmentation=HANDS,
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
    epochs=12,
    batch_size=128,
    learning_rate=8e-4,
    weight_decay=0.005,
    augmentation=HANDS,
    outlier_share=0.14,
    drawn_share=0.16,
    teachers=("ensemble",),
    margin=EnergyMargin(digits=6.0, outliers=0.0, weight=0.03),
    seeds=(2, 3),
    earlier=("compact-5.npz", "compact-7.npz"),
    start="compact-7.npz",
    optimizer="muon",
    finish=FINISH,
    refit=replace(FINISH, epochs=3, learning_rate=1.5e-4),
    precision="mixed_bfloat16",
    int8=True,
)
