"""An image gets the same prediction alone and in a batch."""

import threading
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from app.cancellation import WorkCancelled, cancel_scope
from app.errors import DigitscopeError, UndecodableError
from app.imaging.decode import from_pixels
from app.inference.model import Model
from app.inference.runtime import Outputs, Pixels
from app.recognise import (
    ImageInput,
    Options,
    is_passthrough,
    pass_through,
    predict,
    recognise,
    recognise_many,
    recognise_unprepared,
)
from app.samples import sample_pixels, sample_png
from tests.conftest import Digits
from tests.forms import encode

OPTIONS = [
    Options(preprocess=preprocess, polarity=polarity)
    for preprocess, polarity in product(
        ("auto", "none"), ("auto", "dark-on-light", "light-on-dark")
    )
]


def _odd(digits: Digits) -> list[NDArray[np.uint8]]:
    """Return 28x28 images that are not MNIST-shaped; some are blank."""
    first = digits.images[0]
    noise = np.random.default_rng(5).integers(0, 256, (28, 28)).astype(np.uint8)
    foggy = np.clip(first.astype(int) // 2 + 90, 0, 255).astype(np.uint8)
    return [255 - first, noise, foggy, np.zeros_like(first), np.full_like(first, 255)]


def _result_alone(image: ImageInput | DigitscopeError, model: Model, options: Options) -> tuple:
    """Return the prediction for a single image, or its error."""
    try:
        if isinstance(image, DigitscopeError):
            raise image
        one = recognise(image, model, options)
    except DigitscopeError as error:
        return type(error), error.detail
    warnings = one.upload.warnings + one.prepared.warnings
    shape = one.upload.width, one.upload.height, one.upload.format
    shares = one.probabilities.tolist()
    return one.digit, one.runner_up, one.verdict, one.score, shares, shape, warnings


def _results_together(images, model: Model, options: Options) -> list[tuple]:
    """Return the predictions and errors of a batch, one for each image."""
    found = recognise_many(images, model, options)
    said, rows = found.predictions, iter(range(len(found.predictions)))
    each: list[tuple] = []
    for place in range(len(images)):
        if place in found.errors:
            error = found.errors[place]
            each.append((type(error), error.detail))
            continue
        row = next(rows)
        form = found.summaries[row]
        assert said.confidences[row] == said.probabilities[row, said.digits[row]]
        each.append(
            (
                said.digits[row],
                said.runners_up[row],
                said.verdicts[row],
                said.scores[row],
                said.probabilities[row].tolist(),
                (form.width, form.height, form.format),
                form.warnings,
            )
        )
    return each


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_batch_equals_single_images(classic: Model, digits: Digits, options: Options) -> None:
    """Pixels, files and errors in one list have the same results as alone, in order."""
    files = [sample_png(3), encode(255 - digits.images[4], "JPEG"), b"no image", sample_png(5)]
    wrong = UndecodableError("This is no base64.")
    images = [*files, *_odd(digits), wrong, *digits.images[:4], *files[::-1], digits.images[5]]
    expected = [_result_alone(image, classic, options) for image in images]
    assert _results_together(images, classic, options) == expected


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_array_equals_single_images(classic: Model, digits: Digits, options: Options) -> None:
    """An array has the results of its images, whether all of them skip preparation or not."""
    mixed = np.stack([digits.images[6], *_odd(digits), *digits.images[7:9]])
    for images in (digits.images[:9], mixed):
        expected = [_result_alone(image, classic, options) for image in images]
        assert _results_together(images, classic, options) == expected


def test_passthrough_images_skip_preparation(classic: Model, digits: Digits) -> None:
    """MNIST-shaped images skip it, with the same scores."""
    dark, taken = Options(polarity="dark-on-light"), Options(preprocess="none")
    digit, odd = (from_pixels(image) for image in (digits.images[0], _odd(digits)[1]))
    assert is_passthrough(digit, Options())
    assert is_passthrough(digit, taken)
    assert not is_passthrough(odd, Options())
    assert not is_passthrough(odd, taken), "it would miss its warning"
    assert not is_passthrough(digit, dark)
    assert not is_passthrough(from_pixels(np.zeros((29, 28), np.uint8)), taken)
    images = [pass_through(digit), pass_through(odd)]
    found = recognise_unprepared(images, classic, preparation_s=0.5)
    expected = [recognise(image, classic, taken) for image in (digit, odd)]
    assert found.predictions.scores == [one.score for one in expected]
    assert found.timings.preparation == 0.5


class Tied:
    """A runtime for which two digits are equally probable."""

    def predict(self, images: Pixels) -> Outputs:
        """Return 0.5 for 3 and for 8."""
        shares = np.zeros((len(images), 10), np.float32)
        shares[:, [8, 3]] = 0.5
        return Outputs(shares, 20 * shares, shares)

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Return no layers."""
        return {}


def test_smaller_of_equally_probable_digits_wins(classic: Model, digits: Digits) -> None:
    """If two digits are equally probable, the smaller is the digit and the other the runner-up."""
    found = recognise_many(digits.images[:3], replace(classic, runtime=Tied()), Options())
    assert found.predictions.digits == [3, 3, 3]
    assert found.predictions.runners_up == [8, 8, 8]


def test_no_images_give_no_predictions(classic: Model) -> None:
    """An empty batch does not run the network."""
    assert predict([], replace(classic, runtime=None)) == []
    assert len(recognise_many([], replace(classic, runtime=None), Options()).predictions) == 0


@pytest.mark.parametrize("decoded", [False, True])
def test_batch_stops_when_it_is_cancelled(classic: Model, decoded: bool) -> None:
    """After a cancellation no further image of the batch is read."""
    photo = np.kron(sample_pixels(3), np.ones((3, 3), np.uint8))
    images = [from_pixels(photo) if decoded else encode(photo)]
    cancelled = threading.Event()
    with cancel_scope(cancelled):
        assert recognise_many(images, classic, Options()).predictions.digits == [3]
        cancelled.set()
        with pytest.raises(WorkCancelled):
            recognise_many(images, classic, Options())
