"""The network of the blog post, with normalisation, augmentation and dropout.

Command: `digitscope train --recipe classic --data mnist.npz`
Cost: half an hour on two cores. 14.9 million multiply-adds.
Result: 30 of 10,000 test digits misread (version 2, docs/training-log.md).
"""

from training.architectures import classic
from training.augment import Augmentation
from training.recipe import Finish, Recipe

# All changes: geometry, pens and scanners.
EVERYTHING = Augmentation(
    rotation_deg=13,
    shift_px=2.0,
    scale=0.13,
    shear_deg=10,
    elastic_px=1.1,
    thickness=0.35,
    corruption=0.3,
)

RECIPE = Recipe(
    name="classic",
    description=(
        "The blog post's network: normalisation, two pairs of 3x3 convolutions (32, 32, 64, 64)"
        " with ReLU and max pooling, a dense layer of 512 and a softmax, with batch normalisation"
        " and dropout."
    ),
    build=classic,
    options={"batch_normalization": True, "conv_dropout": 0.1, "dense_dropout": 0.5},
    epochs=30,
    batch_size=128,
    learning_rate=2e-3,
    weight_decay=0.02,
    augmentation=EVERYTHING,
    outlier_share=0.06,
    refit=Finish(epochs=3, learning_rate=2e-4, augmentation=EVERYTHING, outlier_share=0.06),
)
