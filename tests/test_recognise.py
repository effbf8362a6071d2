"""One image and many: the same is said of each, in whatever company it comes."""

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
    predict,
    recognise,
    recognise_many,
    recognise_passthrough,
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
    """Images of 28x28 that are not MNIST-shaped, some of them blank."""
    first = digits.images[0]
    noise = np.random.default_rng(5).integers(0, 256, (28, 28)).astype(np.uint8)
    foggy = np.clip(first.astype(int) // 2 + 90, 0, 255).astype(np.uint8)
    return [255 - first, noise, foggy, np.zeros_like(first), np.full_like(first, 255)]


def _said(image: ImageInput | DigitscopeError, model: Model, options: Options) -> tuple:
    """What is said of an image alone."""
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


def _each_said(images, model: Model, options: Options) -> list[tuple]:
    """What is said of images together, one by one."""
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
def test_company_changes_nothing(classic: Model, digits: Digits, options: Options) -> None:
    """Pixels, files and errors in one list each give what they give alone, in their order."""
    files = [sample_png(3), encode(255 - digits.images[4], "JPEG"), b"no image", sample_png(5)]
    wrong = UndecodableError("It was no base64.")
    images = [*files, *_odd(digits), wrong, *digits.images[:4], *files[::-1], digits.images[5]]
    expected = [_said(image, classic, options) for image in images]
    assert _each_said(images, classic, options) == expected


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_array_is_as_its_images(classic: Model, digits: Digits, options: Options) -> None:
    """An array gives what its images give alone, whether all of them go unchanged or not."""
    mixed = np.stack([digits.images[6], *_odd(digits), *digits.images[7:9]])
    for images in (digits.images[:9], mixed):
        expected = [_said(image, classic, options) for image in images]
        assert _each_said(images, classic, options) == expected


def test_unchanged_images_need_no_preparation(classic: Model, digits: Digits) -> None:
    """Those that go unchanged are MNIST-shaped, or to be taken as they are; they read the same."""
    dark, taken = Options(polarity="dark-on-light"), Options(preprocess="none")
    digit, odd = (from_pixels(image) for image in (digits.images[0], _odd(digits)[1]))
    assert is_passthrough(digit, Options())
    assert is_passthrough(odd, taken)
    assert not is_passthrough(odd, Options())
    assert not is_passthrough(digit, dark)
    assert not is_passthrough(from_pixels(np.zeros((29, 28), np.uint8)), taken)
    found = recognise_passthrough([digit, odd], classic, preparation_s=0.5)
    expected = [recognise(image, classic, taken) for image in (digit, odd)]
    assert found.predictions.scores == [one.score for one in expected]
    assert found.timings.preparation == 0.5


class Tied:
    """A runtime that finds two digits as probable as each other."""

    def predict(self, images: Pixels) -> Outputs:
        """Say 3 and 8."""
        shares = np.zeros((len(images), 10), np.float32)
        shares[:, [8, 3]] = 0.5
        return Outputs(shares, 20 * shares, shares)

    def inspect(self, images: Pixels) -> dict[str, NDArray[np.float32]]:
        """Give nothing."""
        return {}


def test_of_equals_the_smaller_digit_comes_first(classic: Model, digits: Digits) -> None:
    """Where two digits are as probable as each other, the smaller is named first."""
    found = recognise_many(digits.images[:3], replace(classic, runtime=Tied()), Options())
    assert found.predictions.digits == [3, 3, 3]
    assert found.predictions.runners_up == [8, 8, 8]


def test_nothing_to_read_is_nothing_said(classic: Model) -> None:
    """Without images there are no predictions, and the network is not run."""
    assert predict([], replace(classic, runtime=None)) == []
    assert len(recognise_many([], replace(classic, runtime=None), Options()).predictions) == 0


@pytest.mark.parametrize("decoded", [False, True])
def test_nobody_waits_and_nothing_is_read(classic: Model, decoded: bool) -> None:
    """A batch of photos keeps no thread for those who have left: it ends at the next image."""
    photo = np.kron(sample_pixels(3), np.ones((3, 3), np.uint8))
    images = [from_pixels(photo) if decoded else encode(photo)]
    left = threading.Event()
    with cancel_scope(left):
        assert recognise_many(images, classic, Options()).predictions.digits == [3]
        left.set()
        with pytest.raises(WorkCancelled):
            recognise_many(images, classic, Options())
