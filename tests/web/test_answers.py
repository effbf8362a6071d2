"""Answers as JSON: what is written without objects is what pydantic would write."""

import numpy as np

from app.inference.registry import Model, Registry
from app.recognise import Options, Read, predict, read_image, recognise_many
from app.web.answers import prediction_answer, prediction_texts
from tests.conftest import Digits
from tests.forms import encode


def _expected(reads: list[Read], model: Model) -> list[str]:
    return [prediction_answer(one, model.bundle).model_dump_json() for one in predict(reads, model)]


def test_texts_are_those_of_the_models_to_the_byte(registry: Registry, digits: Digits) -> None:
    """Each model's answers to digits, files, dark ink and warnings are written as by pydantic."""
    images = [
        *digits.images[::50],
        *(encode(255 - image) for image in digits.images[:5]),
        encode(digits.images[7], "GIF"),
        encode(np.kron(digits.images[8], np.ones((3, 9), np.uint8))),
        encode(np.hstack([255 - np.kron(digits.images[9], np.ones((2, 2), np.uint8))] * 3)),
    ]
    for name in ("classic", "compact"):
        model = registry.wait_for(name)
        found = recognise_many(images, model, Options())
        expected = _expected([read_image(image, Options()) for image in images], model)
        assert prediction_texts(found, model.bundle) == expected
        assert '"warnings":[]' in expected[0]
        assert "side by side" in expected[-1]


def test_nothing_that_could_be_read_gives_no_texts(classic: Model) -> None:
    """Of images that are all damaged there is nothing to write."""
    found = recognise_many([b"nothing", b""], classic, Options())
    assert prediction_texts(found, classic.bundle) == []
    assert list(found.errors) == [0, 1]
