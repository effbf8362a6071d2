"""Training under JAX: epochs as programs, with batches made by other processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from app.bundle import open_bundle
from app.settings import REPOSITORY
from tests.training.under_jax import DIGITS, PUPIL, RECIPE
from training.data import Split
from training.distill import Copies, Voting
from training.fit import fit


@pytest.fixture(scope="module")
def trained(sample_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a process that trained under JAX, starting from `start.keras`."""
    folder = tmp_path_factory.mktemp("jax")
    keras.utils.set_random_seed(5)
    RECIPE.build(**RECIPE.options).save(folder / "start.keras")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("under_jax.py"), sample_path, folder],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            # Compiling takes most of the time: compile without optimization, and keep the programs.
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
            "JAX_COMPILATION_CACHE_DIR": str(Path(sys.prefix) / "jax-cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "PYTHONPATH": str(REPOSITORY),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_epochs_are_those_of_keras(
    trained: Path, train_digits: Split, held_out: Split, tmp_path: Path
) -> None:
    """From the same weights, JAX and TensorFlow see the same batches and take the same steps."""
    start = keras.models.load_model(trained / "start.keras")
    digits = train_digits.take(np.arange(DIGITS))
    ours = fit(RECIPE, digits, held_out, tmp_path, seed=1, start=start)
    theirs = _history(trained / "whole")
    assert len(theirs) == RECIPE.epochs
    for mine, other in zip(ours.history, theirs, strict=True):
        assert mine.loss == pytest.approx(other["loss"], rel=0.01)
        assert mine.accuracy == pytest.approx(other["accuracy"], abs=0.01)
        assert mine.val_loss == pytest.approx(other["val_loss"], rel=0.02)
        assert mine.learning_rate == pytest.approx(other["learning_rate"], abs=1e-8)
    images = held_out.images[..., None].astype(np.float32)
    loaded = keras.models.load_model(trained / "whole.keras")
    np.testing.assert_allclose(
        loaded.predict(images, verbose=0), ours.network.predict(images, verbose=0), atol=0.02
    )


def test_tensorflow_publishes_what_jax_trained(
    trained: Path, train_digits: Split, held_out: Split
) -> None:
    """A finished run is resumed without further training, to be published."""
    digits = train_digits.take(np.arange(DIGITS))
    resumed = fit(RECIPE, digits, held_out, trained / "whole", seed=1, resume=True)
    assert [epoch.loss for epoch in resumed.history] == [
        e["loss"] for e in _history(trained / "whole")
    ]
    weights = keras.models.load_model(trained / "whole.keras").get_weights()
    for ours, theirs in zip(resumed.network.get_weights(), weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_resumed_run_equals_an_uninterrupted_one(trained: Path) -> None:
    """This holds with dropout, too."""
    with np.load(trained / "parts.npz") as stored:
        np.testing.assert_allclose(stored["parts"], stored["whole"], atol=1e-5)


def test_teachers_answer_as_they_do_when_served(
    trained: Path, train_digits: Split, tmp_path: Path
) -> None:
    """A teacher on an accelerator gives the probabilities of the served compiled model."""
    digits = train_digits.take(np.arange(100))
    bundle = open_bundle(REPOSITORY / "model" / "classic")
    ours = Copies(tmp_path, digits, PUPIL, Voting([bundle]), seed=1)
    ours.make()
    with (
        np.load(tmp_path / "copy-00.npz") as mine,
        np.load(trained / "copies" / "copy-00.npz") as other,
    ):
        np.testing.assert_array_equal(mine["pixels"], other["pixels"])
        np.testing.assert_allclose(mine["answers"], other["answers"], atol=1e-4)
    assert len(_history(trained / "pupil")) == 1


def _history(folder: Path) -> list[dict[str, Any]]:
    epochs: list[dict[str, Any]] = json.loads((folder / "history.json").read_text())["epochs"]
    return epochs
