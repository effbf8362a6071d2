"""Cancelled work ends at its next check."""

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from app.cancellation import WorkCancelled, cancel_scope, check_cancelled
from app.inference.model import Model
from app.inference.runtime import Outputs
from app.inspection.ablation import ablate
from app.inspection.activations import inspect_image
from app.inspection.attribution import METHODS, attribute
from app.inspection.score import Question, model_score, network_score
from app.recognise import Options
from app.samples import sample_png

PIXELS = np.eye(28, dtype=np.uint8) * 200


def test_check_raises_only_in_a_cancelled_scope() -> None:
    """Outside a scope, and before its event is set, `check_cancelled` does nothing."""
    cancelled = threading.Event()
    check_cancelled()
    with cancel_scope(cancelled):
        check_cancelled()
        cancelled.set()
        with pytest.raises(WorkCancelled):
            check_cancelled()
    check_cancelled()


@pytest.mark.parametrize("method", [method for method in METHODS if method != "grad-cam"])
def test_explanations_of_several_passes_are_cancelled(classic: Model, method: str) -> None:
    """Every explanation method with more than one pass checks for cancellation."""
    question = Question(3)
    score = model_score(classic, question)
    _is_cancelled(lambda: attribute(classic.network, score, PIXELS, question, method))


def test_occlusion_checks_between_small_runs(classic: Model) -> None:
    """Occlusion runs at most 16 images at a time, and checks for cancellation between runs."""
    cancelled, sizes = threading.Event(), list[int]()

    class Counting:
        def predict(self, images: np.ndarray) -> Outputs:
            sizes.append(len(images))
            if len(sizes) == 2:
                cancelled.set()
            return classic.runtime.predict(images)

    score = model_score(replace(classic, runtime=Counting()), Question(3))
    with cancel_scope(cancelled), pytest.raises(WorkCancelled):
        attribute(classic.network, score, PIXELS, Question(3), "occlusion")
    assert len(sizes) == 2
    assert max(sizes) <= 16


def test_scores_and_ablations_are_cancelled(classic: Model) -> None:
    """Scores by the network's arithmetic, and ablations, check for cancellation."""
    seen = inspect_image(sample_png(3), classic, Options())
    layer = classic.network.find("relu_1_1")
    images = PIXELS[None].astype(np.float32)
    _is_cancelled(lambda: ablate(seen, layer, [[], [1]]))
    _is_cancelled(lambda: network_score(classic.network, Question(3))(images))


def _is_cancelled(work: Callable[[], object]) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with cancel_scope(cancelled), pytest.raises(WorkCancelled):
        work()
