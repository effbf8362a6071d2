"""Snapshots of the weights during training."""

from pathlib import Path

import keras
import numpy as np
import pytest

from app.settings import REPOSITORY
from tests.conftest import Digits
from training import snapshots
from training.architectures import classic


@pytest.mark.parametrize("epochs", [1, 3, 10, 12, 30, 200])
def test_chosen_epochs(epochs: int) -> None:
    """At most ten epochs are chosen, in order, including the first and the last."""
    chosen = snapshots.choose_epochs(epochs)
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1], len(chosen)) == (1, epochs, min(10, epochs))


def test_stored_weights_are_accurate(tmp_path: Path) -> None:
    """Small tensors are stored exactly, large ones to 1 part in 250."""
    network = classic(batch_normalization=True, conv_dropout=0.1, dense_dropout=0.5)
    snapshots.save(network, tmp_path / "x.npz")
    stored = snapshots.load(tmp_path / "x.npz")
    expected = {variable.path.split("/", 1)[1]: variable for variable in network.weights}
    assert set(stored) == set(expected)
    for name, variable in expected.items():
        values = keras.ops.convert_to_numpy(variable)
        limit = 0 if values.size < snapshots.MIN_INT8_VALUES else np.abs(values).max() / 250
        np.testing.assert_allclose(stored[name], values, atol=limit)


def test_committed_snapshots_show_training_at_work(digits: Digits) -> None:
    """The last snapshot of the classic network reads better than the first, and as published."""
    folder = REPOSITORY / "model" / "classic" / "snapshots"
    network = classic(batch_normalization=True, conv_dropout=0.1, dense_dropout=0.5)
    right = []
    for path in (min(folder.iterdir()), max(folder.iterdir())):
        stored = snapshots.load(path)
        network.set_weights([stored[v.path.split("/", 1)[1]] for v in network.weights])
        answers = network.predict(digits.images[..., None].astype(np.float32), verbose=0)
        right.append((answers.argmax(axis=1) == digits.labels).mean())
    assert right[0] < right[1]
    assert right[1] > 0.99
