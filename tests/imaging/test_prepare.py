"""Preprocessing: what must not change the 28x28 image, and what each stage does."""

import io
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.errors import BlankImageError, DigitscopeError, InvalidInputError
from app.imaging.candidates import candidates
from app.imaging.decode import Upload, decode, from_pixels
from app.imaging.passthrough import are_mnist_shaped, is_mnist_shaped
from app.imaging.prepare import as_is, prepare, prepare_fully
from app.imaging.stages import OPTIONAL_STAGES
from app.imaging.stroke_width import MAX_STROKE, MIN_STROKE, stroke_width
from app.inference.model import Model
from app.samples import sample_pixels
from app.settings import REPOSITORY
from tests.conftest import Digits
from tests.imaging.samples import placed

MNIST = REPOSITORY.parent / "shared" / "data" / "mnist.npz"


def _sample(digit: int) -> np.ndarray:
    return sample_pixels(digit)


def _page(digit: int, *, factor: int = 5, pad: tuple[int, int, int, int] = (40, 40, 40, 40)):
    """Return a sample enlarged without smoothing on a white page.

    Args:
        digit: The digit, 0..9.
        factor: Enlargement.
        pad: Top, bottom, left and right margin, in pixels.
    """
    large = np.kron(_sample(digit), np.ones((factor, factor), np.uint8))
    return 255 - np.pad(large, (pad[:2], pad[2:]))


def _mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def test_mnist_digits_pass_through_unchanged(digits: Digits) -> None:
    """Each of 1,000 MNIST digits is MNIST-shaped and stays the same bit for bit."""
    for image in digits.images:
        prepared = prepare(from_pixels(image))
        assert prepared.passthrough
        np.testing.assert_array_equal(prepared.pixels, image)


def test_mnist_shape_of_many_images_equals_that_of_each(digits: Digits) -> None:
    """`are_mnist_shaped` agrees with `is_mnist_shaped`, on either side of every limit."""
    rng = np.random.default_rng(3)
    blocks = []  # of every size and place, whose brightest pixel is just ink or not
    for height, width, level in product((3, 17, 18, 21, 22), (3, 17, 18, 21, 22), (127, 128)):
        for row, column in product(range(28 - height), range(28 - width)):
            block = np.zeros((28, 28), np.uint8)
            block[row : row + height, column : column + width] = 17
            block[row + height // 2, column + width // 2] = level
            blocks.append(block)
    shifted = [np.roll(image, rng.integers(-3, 4, 2), (0, 1)) for image in digits.images]
    images = np.stack([*digits.images, *(255 - digits.images[:50]), *shifted, *blocks])
    each = [is_mnist_shaped(from_pixels(image)) for image in images]
    assert are_mnist_shaped(images).tolist() == each
    assert are_mnist_shaped(images.astype(np.float32)).tolist() == each
    assert 0 < sum(each[-len(blocks) :]) < len(blocks)
    assert 0 < sum(each[1050:2050]) < 1000


@pytest.mark.parametrize("image", [np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)])
def test_flat_images_are_not_mnist_shaped(image: np.ndarray) -> None:
    """A black and a white image have no digit of MNIST's size."""
    assert not is_mnist_shaped(from_pixels(image))
    assert are_mnist_shaped(image[None]).tolist() == [False]


@pytest.mark.slow
def test_full_pipeline_on_mnist_keeps_the_predictions(classic: Model, digits: Digits) -> None:
    """Preprocessing MNIST digits like scans changes at most 1 prediction in 500."""
    prepared = np.stack([prepare_fully(from_pixels(image)).pixels for image in digits.images])
    before = classic.runtime.predict(digits.images).probabilities.argmax(axis=1)
    after = classic.runtime.predict(prepared).probabilities.argmax(axis=1)
    assert (before != after).sum() <= len(before) / 500


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.exists(), reason="MNIST is not next to this checkout")
def test_full_pipeline_on_the_whole_test_split(classic: Model) -> None:
    """Preprocessing all 10,000 test digits like scans changes at most 20 predictions."""
    with np.load(MNIST) as archive:
        images = archive["x_test"]
    prepared = np.stack([prepare_fully(from_pixels(image)).pixels for image in images])
    before = classic.runtime.predict(images).probabilities.argmax(axis=1)
    after = classic.runtime.predict(prepared).probabilities.argmax(axis=1)
    assert (before != after).sum() <= 20


@settings(max_examples=25, deadline=None)
@given(
    digit=st.integers(0, 9),
    factor=st.integers(3, 9),
    margins=st.tuples(*[st.integers(8, 150)] * 4),
    inverted=st.booleans(),
)
def test_size_position_and_polarity_do_not_matter(
    digit: int, factor: int, margins: tuple[int, int, int, int], inverted: bool
) -> None:
    """A digit of any size, position and polarity gives nearly the same 28x28 image."""
    page = _page(digit, factor=factor, pad=margins)
    prepared = prepare(from_pixels(255 - page if inverted else page))
    assert prepared.polarity == ("light-on-dark" if inverted else "dark-on-light")
    assert _mean_difference(prepared.pixels, prepare(from_pixels(_page(digit))).pixels) < 15


@settings(max_examples=20, deadline=None)
@given(digit=st.integers(0, 9), file_format=st.sampled_from(["PNG", "WEBP", "BMP", "GIF", "TIFF"]))
def test_file_format_does_not_matter(digit: int, file_format: str) -> None:
    """Every lossless format gives the same 28x28 image bit for bit."""
    page = _page(digit)
    stream = io.BytesIO()
    options = {"lossless": True} if file_format == "WEBP" else {}
    Image.fromarray(page).save(stream, file_format, **options)
    upload = decode(stream.getvalue(), max_pixels=1_000_000)
    np.testing.assert_array_equal(prepare(upload).pixels, prepare(from_pixels(page)).pixels)


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    kind=st.sampled_from(["noise", "binary", "checks", "point", "ramp", "full"]),
    seed=st.integers(0, 2**16),
)
def test_any_array_is_prepared_or_blank(height: int, width: int, kind: str, seed: int) -> None:
    """Any array gives a 28x28 image or raises BlankImageError, never another error."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[0:height, 0:width]
    made = {
        "noise": rng.integers(0, 256, (height, width)),
        "binary": rng.integers(0, 2, (height, width)) * 255,
        "checks": (x + y) % 2 * 255,
        "point": ((y == height // 2) & (x == width // 3)) * 255,
        "ramp": (x + y) * 255 // (height + width),
        "full": np.full((height, width), seed % 256),
    }[kind].astype(np.uint8)
    try:
        inputs = candidates(from_pixels(made))
    except BlankImageError:
        return
    for prepared in inputs:
        assert (prepared.pixels.shape, prepared.pixels.dtype) == ((28, 28), np.uint8)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_image_is_refused(level: int) -> None:
    """A constant image is blank, with or without a little noise."""
    noise = np.random.default_rng(2).normal(level, 2, (200, 200))
    for page in (np.full((200, 200), level), np.clip(noise, 0, 255)):
        with pytest.raises(BlankImageError, match="No ink was found"):
            prepare(from_pixels(page.astype(np.uint8)))


def test_transparent_drawing_is_read() -> None:
    """Black and white strokes on a transparent background both give the digit."""
    ink = 255 - _page(3)
    expected = prepare(from_pixels(_page(3))).pixels
    for brightness in (0, 255):
        colour = np.full((*ink.shape, 3), brightness, np.uint8)
        upload = Upload(colour, ink, "png", ink.shape[1], ink.shape[0])
        assert _mean_difference(prepare(upload).pixels, expected) < 6


def test_yellow_ink_on_white_is_found() -> None:
    """Coloured ink with almost no contrast in luminance is found by its colour."""
    cover = (255 - _page(6))[..., None] / 255
    page = (255 * (1 - cover) + np.array([255, 235, 60]) * cover).astype(np.uint8)
    upload = Upload(page, None, "png", page.shape[1], page.shape[0])
    assert _mean_difference(prepare(upload).pixels, prepare(from_pixels(_page(6))).pixels) < 6


def test_shadow_is_subtracted() -> None:
    """A shadow across the digit changes it only if the background stage is skipped."""
    column = np.arange(_page(2).shape[1])
    light = 1 - 0.5 / (1 + np.exp((column - 110) / 6))
    upload = from_pixels((_page(2) * light).astype(np.uint8))
    expected = prepare(from_pixels(_page(2))).pixels
    assert _mean_difference(prepare(upload).pixels, expected) < 15
    assert _mean_difference(prepare(upload, skip=frozenset({"background"})).pixels, expected) > 20


def test_ruled_lines_and_specks_are_removed() -> None:
    """Dark ruled lines and specks change the digit by less than 6 grey levels on average."""
    page = _page(4)
    expected = prepare(from_pixels(page)).pixels
    page[15:17], page[-20:-18] = 60, 60
    page[60:63, 5:8] = 0
    assert _mean_difference(prepare(from_pixels(page)).pixels, expected) < 6
    assert (
        _mean_difference(prepare(from_pixels(page), skip=frozenset({"clean"})).pixels, expected)
        > 20
    )


def test_extreme_stroke_widths_are_normalised() -> None:
    """Strokes far thinner or thicker than MNIST's are brought into its range."""
    y, x = np.mgrid[0:400, 0:400]
    radius = np.hypot(y - 200, x - 200)
    for half in (1.0, 45.0):
        page = np.where(np.abs(radius - 130) < half, 0, 255).astype(np.uint8)
        plain = prepare(from_pixels(page), skip=frozenset({"stroke"})).pixels
        changed = prepare(from_pixels(page)).pixels
        assert not MIN_STROKE <= stroke_width(plain.astype(np.float32)) <= MAX_STROKE
        assert MIN_STROKE * 0.95 <= stroke_width(changed.astype(np.float32)) <= MAX_STROKE


def test_given_polarity_is_used() -> None:
    """A polarity given by the caller overrides the detected one."""
    page = _page(8)
    assert prepare(from_pixels(page), polarity="light-on-dark").polarity == "light-on-dark"
    inverted = as_is(from_pixels(255 - _sample(8)), polarity="dark-on-light")
    np.testing.assert_array_equal(inverted.pixels, _sample(8))


def test_as_is_refuses_other_sizes() -> None:
    """Only a 28x28 image can be used as it is."""
    with pytest.raises(InvalidInputError, match="30 x 29"):
        as_is(from_pixels(np.zeros((29, 30), np.uint8)))


def test_placement_maps_back_to_the_upload() -> None:
    """The placement maps the centre of mass in the 28x28 image to that on the page."""
    page = _page(5, factor=6, pad=(50, 20, 110, 30))
    prepared = prepare(from_pixels(page))
    place, pixels = prepared.placement, prepared.pixels.astype(float)
    ink = 255.0 - page
    for axis, scale, offset in (
        (0, place.scale_y, place.offset_y),
        (1, place.scale_x, place.offset_x),
    ):
        inside = pixels.sum(axis=1 - axis) @ np.arange(28) / pixels.sum()
        outside = ink.sum(axis=1 - axis) @ np.arange(ink.shape[axis]) / ink.sum()
        assert offset + scale * inside == pytest.approx(outside, abs=1.5)


def test_stages_are_recorded_only_on_request() -> None:
    """With `record`, every stage is reported in order with a picture; without it, none is."""
    upload = from_pixels(_page(9))
    assert prepare(upload).stages == ()
    stages = prepare(upload, record=True).stages
    names = ["grey", "polarity", "background", "clean", "scale", "stroke", "centre"]
    assert [stage.name for stage in stages] == names
    assert all(stage.image.dtype == np.uint8 and stage.description for stage in stages)
    assert set(OPTIONAL_STAGES) <= set(names)
    np.testing.assert_array_equal(stages[-1].image, prepare(upload).pixels)


def test_grey_28x28_has_three_candidates() -> None:
    """A 28x28 that is not MNIST-shaped is offered preprocessed, as it is, and inverted."""
    foggy = np.clip(_sample(7).astype(int) + 90, 0, 255).astype(np.uint8)
    assert not is_mnist_shaped(from_pixels(foggy))
    inputs = candidates(from_pixels(foggy))
    assert [each.fallback for each in inputs] == [True, False, False]
    assert len(candidates(from_pixels(_page(7)))) == 1


@pytest.mark.parametrize("inverted", [False, True])
def test_misplaced_28x28_prefers_the_preprocessed_digit(inverted: bool) -> None:
    """A small or uncentred digit competes preprocessed; one of MNIST's size does not need it."""
    rng = np.random.default_rng(1)
    for side in (8, 14, 20):
        page = placed(_sample(3), rng, side)
        assert not is_mnist_shaped(from_pixels(page))
        inputs = candidates(from_pixels(255 - page if inverted else page))
        assert not any(each.fallback for each in inputs)
    large = placed(_sample(3), rng, 27)
    inputs = candidates(from_pixels(255 - large if inverted else large))
    assert [each.fallback for each in inputs] == [True, False, False]


def test_stages_can_be_skipped() -> None:
    """Each stage can be skipped, and all of them together."""
    upload = from_pixels(_page(1))
    for skip in [{name} for name in OPTIONAL_STAGES] + [set(OPTIONAL_STAGES)]:
        try:
            assert prepare_fully(upload, skip=skip).pixels.shape == (28, 28)
        except DigitscopeError as error:
            pytest.fail(f"{skip}: {error}")
