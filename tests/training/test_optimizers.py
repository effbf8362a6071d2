"""Steps of the optimizers."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from training.optimizers import MUON_RMS, KernelMuon, optimizer_of
from training.recipes import compact

RATE = 0.01


def _step(shape: tuple[int, ...], name: str = "kernel", decay: float = 0.0) -> np.ndarray:
    """Return how the first step of Muon changes a variable of ones."""
    recipe = replace(compact.RECIPE, optimizer="muon", weight_decay=decay)
    optimizer = optimizer_of(recipe, RATE)
    variable = keras.Variable(np.ones(shape, np.float32), name=name)
    gradient = np.random.default_rng(5).normal(size=shape).astype(np.float32)
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    return 1 - keras.ops.convert_to_numpy(variable)


@pytest.mark.parametrize("shape", [(3, 3, 8, 12), (24, 10)])
def test_singular_values_of_a_kernels_step_are_alike(shape: tuple[int, ...]) -> None:
    """The step of a kernel, as a matrix, has similar singular values and a size set by the rate."""
    step = _step(shape)
    values = np.linalg.svd(step.reshape(-1, shape[-1]), compute_uv=False)
    assert values.max() / values.min() < 2  # those of the gradient: 3 and more
    assert np.sqrt(np.mean(step**2)) == pytest.approx(MUON_RMS * RATE, rel=0.2)


@pytest.mark.parametrize(
    ("shape", "name"), [((5, 5, 1, 32), "kernel"), ((32,), "bias"), ((24, 10), "logits")]
)
def test_other_variables_take_the_step_of_adamw(shape: tuple[int, ...], name: str) -> None:
    """The first step of other variables is the learning rate, for any gradient size."""
    step = np.abs(_step(shape, name))
    assert np.quantile(step, [0.01, 0.5, 1]) == pytest.approx([RATE] * 3, rel=0.01)


def test_weight_decay_applies_to_kernels_only() -> None:
    """Weight decay shrinks kernels, but not biases and normalisation weights."""
    for shape, name, shrinks in (
        ((3, 3, 8, 12), "kernel", True),
        ((5, 5, 1, 32), "kernel", True),
        ((32,), "bias", False),
        ((32,), "gamma", False),
    ):
        more = _step(shape, name, decay=0.5) - _step(shape, name)
        np.testing.assert_allclose(more, 0.5 * RATE if shrinks else 0, rtol=1e-3, atol=1e-6)


def test_recipe_names_its_optimizer() -> None:
    """A recipe names its optimizer; the default is AdamW."""
    assert isinstance(optimizer_of(replace(compact.RECIPE, optimizer="muon"), RATE), KernelMuon)
    plain = optimizer_of(replace(compact.RECIPE, optimizer="adamw"), RATE)
    assert isinstance(plain, keras.optimizers.AdamW)
