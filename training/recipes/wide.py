"""A member of the ensemble: a strided first convolution, then four wide 3x3 convolutions.

Command: `digitscope ensemble --data mnist.npz` trains it with the others, `digitscope train
--recipe wide --data mnist.npz` on its own.
Cost: 71 million multiply-adds.
Result: 14 to 18 of 5,000 held-out digits misread (ensemble, version 5).

It sees geometric changes only, no corruptions and no outliers, so its errors differ from those of
the other members.
"""

from training.architectures import deep
from training.augment import Augmentation
from training.recipe import Recipe
from training.recipes.finish import FINISH

RECIPE = Recipe(
    name="wide",
    description=(
        "A 5x5 convolution of 64 filters with stride 2 and four 3x3 convolutions (128, 128, 192,"
        " 192) with batch normalisation, one pooling, global average pooling and a softmax."
    ),
    build=deep,
    options={"blocks": [[64, 128, 128], [192, 192]], "dropout": 0.1, "stem": [5, 2]},
    epochs=48,
    batch_size=256,
    learning_rate=3e-3,
    weight_decay=0.02,
    augmentation=Augmentation(
        rotation_deg=10, shift_px=2.0, scale=0.15, shear_deg=10, elastic_px=0.6, thickness=0.15
    ),
    outlier_share=0.0,
    optimizer="muon",
    finish=FINISH,
    precision="mixed_bfloat16",
)
