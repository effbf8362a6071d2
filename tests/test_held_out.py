"""The answers on held-out digits that a bundle keeps."""

import io

import numpy as np
import pytest

from app.bundle import open_bundle
from app.errors import BundleError
from app.held_out import PREDICTIONS_FILE, read_held_out
from app.settings import REPOSITORY

ENERGIES = np.array([5.0, 9.0], np.float32)
LOGARITHMS = np.log(np.array([[0.75, 0.25], [0.125, 0.875]])).astype(np.float16)
SERVED = {"served_energies": ENERGIES, "served_log_probabilities": LOGARITHMS}


def _file(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["classic", "compact", "dropconnect", "ensemble"])
def test_committed_bundles_have_answers(name: str) -> None:
    """They are those of the network that has not seen the digits, as the metadata count them."""
    bundle = open_bundle(REPOSITORY / "model" / name)
    answers, metadata = read_held_out(bundle.read(PREDICTIONS_FILE)), bundle.metadata
    assert metadata.validation
    assert answers.scores.shape == answers.confidences.shape == (metadata.validation.digits,)
    refused = np.mean(answers.scores < metadata.verdict.not_a_digit_below)
    assert refused == pytest.approx(metadata.verdict.false_refusals, abs=2e-3)
    bins = metadata.validation.reliability
    mean = sum(each.digits * each.confidence for each in bins) / metadata.validation.digits
    assert answers.confidences.mean() == pytest.approx(mean, abs=1e-3)


def test_network_without_a_refit_has_only_its_own() -> None:
    """An imported network has not seen the digits, so its answers count; other arrays do not."""
    answers = read_held_out(_file(**SERVED, indices=np.arange(2)))
    np.testing.assert_array_equal(answers.scores, ENERGIES)
    np.testing.assert_allclose(answers.confidences, [0.75, 0.875], atol=1e-3)
    before = {f"before_refit_{name.removeprefix('served_')}": each for name, each in SERVED.items()}
    unseen = read_held_out(_file(**{**SERVED, **before, "before_refit_energies": ENERGIES + 1}))
    np.testing.assert_array_equal(unseen.scores, ENERGIES + 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive",
        _file(),
        _file(served_energies=ENERGIES),
        _file(**{**SERVED, "served_energies": ENERGIES[:1]}),
        _file(served_energies=ENERGIES[:0], served_log_probabilities=LOGARITHMS[:0]),
        _file(served_energies=np.float32(1), served_log_probabilities=LOGARITHMS),
        _file(served_energies=np.array(["a", "b"]), served_log_probabilities=LOGARITHMS),
    ],
)
def test_damaged_file_is_refused(content: bytes) -> None:
    """A file without the answers, or with others than it should have, is an error that names it."""
    with pytest.raises(BundleError, match=PREDICTIONS_FILE):
        read_held_out(content)
