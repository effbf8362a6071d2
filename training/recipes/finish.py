"""How trainings end that are to read clean digits best: a few epochs of weak changes.

Outliers are left out, which costs a part of what tells digits from other things
(docs/training-log.md); recipes that are to keep it say so.
"""

from training.augment import Augmentation
from training.recipe import Finish

GENTLE = Augmentation(
    rotation_deg=7, shift_px=1.0, scale=0.07, shear_deg=5, elastic_px=0.6, thickness=0.15
)
# Three epochs at a low rate: the network has seen eleven twelfths of the digits many times.
REFIT = Finish(epochs=3, learning_rate=2e-4, augmentation=GENTLE)
FINISH = Finish(epochs=8, learning_rate=3e-4, augmentation=GENTLE)
