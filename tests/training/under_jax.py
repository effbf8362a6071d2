"""Train with Keras on JAX, for test_accelerator.py.

Usage: `KERAS_BACKEND=jax python under_jax.py SAMPLE FOLDER`, with `start.keras` in the folder.
"""

import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from app.bundle import open_bundle
from app.settings import REPOSITORY
from training.augment import Augmentation
from training.data import load
from training.distill import Copies, Voting
from training.fit import Fitted, fit
from training.recipe import Recipe
from training.recipes import compact

DIGITS = 200  # of the training split; execution without optimization is slow
RECIPE = Recipe(
    name="tiny",
    description="The form of compact with an eighth of its filters.",
    build=compact.RECIPE.build,
    options={"width": 0.125},
    epochs=3,
    batch_size=50,
    learning_rate=2e-3,
    weight_decay=0.01,
    augmentation=Augmentation(rotation_deg=5, shift_px=1, corruption=0.1),
    outlier_share=0.1,
    optimizer="muon",
    averaging=0.5,
)
DROPPING = replace(RECIPE, name="dropping", epochs=2, options={"width": 0.125, "dropout": 0.2})
PUPIL = replace(RECIPE, name="pupil", epochs=1, teachers=("classic",), copies=1)


def main(sample: Path, folder: Path) -> None:
    """Train like the tests under TensorFlow: once without interruption, and once in two parts."""
    train = load(sample, "train", official=False).take(np.arange(DIGITS))
    held_out = load(sample, "test", official=False).take(np.arange(0, 500, 5))
    start = keras.models.load_model(folder / "start.keras")
    fitted = fit(RECIPE, train, held_out, folder / "whole", seed=1, start=start)
    fitted.network.save(folder / "whole.keras")

    def stop(epoch: object) -> None:
        raise KeyboardInterrupt

    whole = fit(DROPPING, train, held_out, folder / "dropping", seed=2)
    fit(DROPPING, train, held_out, folder / "parts", seed=2, on_epoch=stop)
    parts = fit(DROPPING, train, held_out, folder / "parts", seed=2, resume=True)
    np.savez(folder / "parts.npz", whole=_weights(whole), parts=_weights(parts))

    teacher = Voting([open_bundle(REPOSITORY / "model" / "classic")])
    digits = train.take(np.arange(100))
    copies = Copies(folder / "copies", digits, PUPIL, teacher, seed=1)
    copies.make()
    fit(PUPIL, digits, held_out, folder / "pupil", seed=1, copies=copies)


def _weights(fitted: Fitted) -> np.ndarray:
    return np.concatenate([values.ravel() for values in fitted.network.get_weights()])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
