"""The report on an image's preparation."""

import threading

import numpy as np
import pytest

from app.cancellation import WorkCancelled, cancel_scope
from app.imaging.decode import from_pixels
from app.inference.model import Model
from app.preprocessing_report import explain_preparation
from app.recognise import Options
from app.samples import sample_pixels


def test_report_stops_when_it_is_cancelled(classic: Model) -> None:
    """After a cancellation the photo is not prepared again for the next stage."""
    photo = np.kron(sample_pixels(3), np.ones((3, 3), np.uint8))
    cancelled = threading.Event()
    with cancel_scope(cancelled):
        assert explain_preparation(from_pixels(photo), classic, Options()).without
        cancelled.set()
        with pytest.raises(WorkCancelled):
            explain_preparation(from_pixels(photo), classic, Options())
