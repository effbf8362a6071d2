"""The classic network in about two minutes on two cores: `digitscope train --quick`.

Command: `digitscope train --quick --data mnist.npz`
Cost: two minutes on two cores. For a first try; its error is not recorded.
"""

from dataclasses import replace

from training.augment import Augmentation
from training.recipes import classic

RECIPE = replace(
    classic.RECIPE,
    name="quick",
    description="The classic network trained for two epochs: a first try, not a model to rely on.",
    epochs=2,
    refit=None,
    augmentation=Augmentation(rotation_deg=8, shift_px=1, scale=0.08),
)
