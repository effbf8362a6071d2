"""A small sample and small recipes, so that training takes seconds."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.architectures import unpooled
from training.augment import Augmentation
from training.data import Split, load
from training.recipe import Finish, Recipe
from training.recipes import classic


@pytest.fixture(scope="module", autouse=True)
def brief_cards() -> Iterator[None]:
    """Make model cards quickly: draw few misread digits and prepare few other images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.robustness.NONDIGITS_PER_KIND", 20)
        patch.setattr("training.plots.MAX_DRAWN", 10)
        for name in ("DRAWN", "DIGITS", "DAMAGED", "OTHERS"):
            patch.setattr(f"training.readings.{name}", 4)
        yield


@pytest.fixture(scope="session")
def train_digits(sample_path: Path) -> Split:
    """500 digits of the training split."""
    return load(sample_path, "train", official=False)


@pytest.fixture(scope="session")
def held_out(sample_path: Path) -> Split:
    """100 digits of the sample's test split."""
    return load(sample_path, "test", official=False).take(np.arange(0, 500, 5))


@pytest.fixture(scope="session")
def small() -> Recipe:
    """The classic recipe for three short epochs."""
    return replace(
        classic.RECIPE,
        name="small",
        epochs=3,
        batch_size=100,
        augmentation=Augmentation(rotation_deg=5, shift_px=1, corruption=0.1),
        refit=None,
    )


@pytest.fixture(scope="session")
def tiny(small: Recipe) -> Recipe:
    """A recipe for a network of a few thousand weights: one short epoch, and a refit of two."""
    return replace(
        small,
        name="tiny",
        build=unpooled,
        options={"side": 7, "width": 4, "depth": 3},
        epochs=1,
        refit=Finish(epochs=2, learning_rate=1e-4, augmentation=Augmentation(), copies=1),
        validation_count=100,
    )
