"""Preparation, laid open."""

import threading

import numpy as np
import pytest

from app.cancellation import WorkCancelled, cancel_scope
from app.imaging.decode import from_pixels
from app.inference.model import Model
from app.preprocessing_report import explain_preparation
from app.recognise import Options
from app.samples import sample_pixels


def test_nobody_waits_and_no_stage_is_left_out(classic: Model) -> None:
    """To prepare a photo again and again keeps no thread for those who have left."""
    photo = np.kron(sample_pixels(3), np.ones((3, 3), np.uint8))
    left = threading.Event()
    with cancel_scope(left):
        assert explain_preparation(from_pixels(photo), classic, Options()).without
        left.set()
        with pytest.raises(WorkCancelled):
            explain_preparation(from_pixels(photo), classic, Options())
