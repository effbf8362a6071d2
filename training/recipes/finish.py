"""The last epochs of networks that should read clean digits best: weak changes only.

Without outliers the score tells digits from non-digits less well (docs/training-log.md); a recipe
that needs this sets `outlier_share` in its own finish.
"""

from training.augment import Augmentation
from training.recipe import Finish

GENTLE = Augmentation(
    rotation_deg=7, shift_px=1.0, scale=0.07, shear_deg=5, elastic_px=0.6, thickness=0.15
)
# Three epochs at a low rate: the network has seen eleven twelfths of the digits many times.
REFIT = Finish(epochs=3, learning_rate=2e-4, augmentation=GENTLE)
FINISH = Finish(epochs=8, learning_rate=3e-4, augmentation=GENTLE)
