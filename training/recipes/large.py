"""A member of the ensemble: `deep` with half as many filters again.

The ensemble's command trains it with the others, `digitscope train --recipe large --data mnist.npz`
on its own.
Cost: 82 million multiply-adds.
Result: 13 to 14 of 5,000 held-out digits misread (ensemble, version 5).
"""

from dataclasses import replace

from training.recipe import Recipe
from training.recipes import deep

RECIPE: Recipe = replace(
    deep.RECIPE,
    name="large",
    description=(
        "Seven 3x3 convolutions (48, 48, 96, 96, 96, 192, 192) with batch normalisation, pooling"
        " and dropout between their blocks, global average pooling and a softmax."
    ),
    options={"blocks": [[48, 48], [96, 96, 96], [192, 192]], "dropout": 0.1},
)
