"""Answers as JSON: what is written without objects says what pydantic would write."""

import json

import numpy as np

from app.inference.model import Model
from app.inference.registry import Registry
from app.page_reading import find_several
from app.predictions import PreparedImage
from app.recognise import Options, predict, read_image, recognise_many, warn_of_several
from app.web.responses.predictions import prediction_answer, prediction_texts
from tests.conftest import Digits
from tests.forms import encode


def _expected(reads: list[PreparedImage], model: Model) -> list[str]:
    found = [prediction_answer(one, model.bundle) for one in predict(reads, model)]
    return [_compact(answer.model_dump()) for answer in found]


def _compact(answer: dict) -> str:
    return json.dumps(answer, separators=(",", ":"))


def test_texts_say_what_the_schemas_say(registry: Registry, digits: Digits) -> None:
    """Answers to digits, files, dark ink and warnings say the same, to the last digit, in order."""
    images = [
        *digits.images[::50],
        *(encode(255 - image) for image in digits.images[:5]),
        encode(digits.images[7], "GIF"),
        encode(np.kron(digits.images[8], np.ones((3, 9), np.uint8))),
        encode(np.hstack([255 - np.kron(digits.images[9], np.ones((2, 2), np.uint8))] * 3)),
    ]
    for name in ("classic", "compact"):
        model = registry.wait_for(name)
        options = Options(find_several=find_several)
        found = recognise_many(images, model, options)
        prepared = [warn_of_several(read_image(image, options), model, options) for image in images]
        expected = _expected(prepared, model)
        texts = prediction_texts(found, model.bundle)
        assert [_compact(json.loads(text)) for text in texts] == expected
        assert '"warnings":[]' in expected[0]
        assert 'seems to show 3 digits; POST /read reads \\"666\\"' in expected[-1]


def test_nothing_that_could_be_read_gives_no_texts(classic: Model) -> None:
    """Of images that are all damaged there is nothing to write."""
    found = recognise_many([b"nothing", b""], classic, Options())
    assert prediction_texts(found, classic.bundle) == []
    assert list(found.errors) == [0, 1]


def test_numbers_are_written_in_the_fewest_digits(classic: Model, digits: Digits) -> None:
    """A probability is written as float32 is, and read back as the same float32."""
    found = recognise_many(digits.images[:300], classic, Options())
    answers = [json.loads(text) for text in prediction_texts(found, classic.bundle)]
    said = np.array([answer["probabilities"] for answer in answers])
    np.testing.assert_array_equal(said.astype(np.float32), found.predictions.probabilities)
    for answer in answers:
        assert answer["confidence"] == max(answer["probabilities"])
        assert all(float(f"{share:.9g}") == share for share in answer["probabilities"])
