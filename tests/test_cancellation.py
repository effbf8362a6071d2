"""Work that nobody waits for ends between its steps."""

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


def test_work_goes_on_as_long_as_somebody_waits() -> None:
    """Work that is not watched goes on, and so does watched work until its event is set."""
    left = threading.Event()
    check_cancelled()
    with cancel_scope(left):
        check_cancelled()
        left.set()
        with pytest.raises(WorkCancelled):
            check_cancelled()
    check_cancelled()


@pytest.mark.parametrize("method", [method for method in METHODS if method != "grad-cam"])
def test_maps_of_many_images_are_broken_off(classic: Model, method: str) -> None:
    """Every method that takes more than one pass looks whether anybody waits."""
    question = Question(3)
    score = model_score(classic, question)
    _is_broken_off(lambda: attribute(classic.network, score, PIXELS, question, method))


def test_occlusion_gives_the_interpreter_back_between_its_runs(classic: Model) -> None:
    """It asks for few images at a time, and each time whether anybody waits."""
    left, asked = threading.Event(), list[int]()

    class Counting:
        def predict(self, images: np.ndarray) -> Outputs:
            asked.append(len(images))
            if len(asked) == 2:
                left.set()
            return classic.runtime.predict(images)

    score = model_score(replace(classic, runtime=Counting()), Question(3))
    with cancel_scope(left), pytest.raises(WorkCancelled):
        attribute(classic.network, score, PIXELS, Question(3), "occlusion")
    assert len(asked) == 2
    assert max(asked) <= 16


def test_scores_and_ablations_are_broken_off(classic: Model) -> None:
    """Scores by the network's arithmetic and ablations look too."""
    seen = inspect_image(sample_png(3), classic, Options())
    layer = classic.network.find("relu_1_1")
    images = PIXELS[None].astype(np.float32)
    _is_broken_off(lambda: ablate(seen, layer, [[], [1]]))
    _is_broken_off(lambda: network_score(classic.network, Question(3))(images))


def _is_broken_off(work: Callable[[], object]) -> None:
    left = threading.Event()
    left.set()
    with cancel_scope(left), pytest.raises(WorkCancelled):
        work()
