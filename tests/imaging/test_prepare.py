"""Preparation: what must not change an image's 28x28, and what each stage does."""

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

MNIST = REPOSITORY.parent / "shared" / "data" / "mnist.npz"


def _sample(digit: int) -> np.ndarray:
    return sample_pixels(digit)


def _page(digit: int, *, factor: int = 5, pad: tuple[int, int, int, int] = (40, 40, 40, 40)):
    """A sample enlarged without smoothing onto a white page: top, bottom, left, right margins."""
    large = np.kron(_sample(digit), np.ones((factor, factor), np.uint8))
    return 255 - np.pad(large, (pad[:2], pad[2:]))


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def test_mnist_comes_through_bit_for_bit(digits: Digits) -> None:
    """Each of 1,000 MNIST digits is recognised as MNIST-shaped and left alone."""
    for image in digits.images:
        prepared = prepare(from_pixels(image))
        assert prepared.passthrough
        np.testing.assert_array_equal(prepared.pixels, image)


def test_many_are_told_as_one_is(digits: Digits) -> None:
    """Whether images are MNIST-shaped is found for all at once as for each, at every limit."""
    rng = np.random.default_rng(3)
    border = np.pad(np.zeros((26, 26), bool), 1, constant_values=True)
    made = []
    for ring, most in product(range(34), (127, 128, 255)):  # of the border, not black
        for inside in (1, 391 - ring, 392 - ring):
            image = np.full(784, rng.integers(0, 17), np.uint8)
            lit = rng.permutation(np.flatnonzero(~border))[:inside]
            image[rng.permutation(np.flatnonzero(border))[:ring]] = 17
            image[lit], image[lit[0]] = 17, most
            made.append(image.reshape(28, 28))
    images = np.stack([*digits.images, *(255 - digits.images[:50]), *made])
    each = [is_mnist_shaped(from_pixels(image)) for image in images]
    assert are_mnist_shaped(images).tolist() == each
    assert sum(each[-len(made) :]) == 17 * 2 * 2


@pytest.mark.slow
def test_full_pipeline_on_mnist_changes_no_answer(classic: Model, digits: Digits) -> None:
    """Prepared as if it were a scan, at most 1 digit in 500 is read otherwise."""
    prepared = np.stack([prepare_fully(from_pixels(image)).pixels for image in digits.images])
    before = classic.runtime.predict(digits.images).probabilities.argmax(axis=1)
    after = classic.runtime.predict(prepared).probabilities.argmax(axis=1)
    assert (before != after).sum() <= len(before) / 500


@pytest.mark.slow
@pytest.mark.skipif(not MNIST.exists(), reason="MNIST does not lie beside this checkout")
def test_full_pipeline_on_the_whole_test_split(classic: Model) -> None:
    """The same on all 10,000 test digits: at most 20 are read otherwise."""
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
def test_size_place_and_polarity_do_not_matter(
    digit: int, factor: int, margins: tuple[int, int, int, int], inverted: bool
) -> None:
    """However large, wherever on the page, in either polarity: nearly the same 28x28."""
    page = _page(digit, factor=factor, pad=margins)
    prepared = prepare(from_pixels(255 - page if inverted else page))
    assert prepared.polarity == ("light-on-dark" if inverted else "dark-on-light")
    assert _apart(prepared.pixels, prepare(from_pixels(_page(digit))).pixels) < 15


@settings(max_examples=20, deadline=None)
@given(digit=st.integers(0, 9), file_format=st.sampled_from(["PNG", "WEBP", "BMP", "GIF", "TIFF"]))
def test_file_format_does_not_matter(digit: int, file_format: str) -> None:
    """Every lossless format gives the same 28x28 to the last bit."""
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
def test_no_array_breaks_it(height: int, width: int, kind: str, seed: int) -> None:
    """Any array gives a 28x28 of bytes or is refused as blank; never another error."""
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
        ways = candidates(from_pixels(made))
    except BlankImageError:
        return
    for prepared in ways:
        assert (prepared.pixels.shape, prepared.pixels.dtype) == ((28, 28), np.uint8)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_is_refused(level: int) -> None:
    """One level, or that with a little noise, is blank."""
    noise = np.random.default_rng(2).normal(level, 2, (200, 200))
    for page in (np.full((200, 200), level), np.clip(noise, 0, 255)):
        with pytest.raises(BlankImageError, match="No ink was found"):
            prepare(from_pixels(page.astype(np.uint8)))


def test_transparent_drawing_is_seen_on_its_opposite() -> None:
    """Black strokes on nothing and white strokes on nothing both give the digit."""
    ink = 255 - _page(3)
    expected = prepare(from_pixels(_page(3))).pixels
    for brightness in (0, 255):
        colour = np.full((*ink.shape, 3), brightness, np.uint8)
        upload = Upload(colour, ink, "png", ink.shape[1], ink.shape[0])
        assert _apart(prepare(upload).pixels, expected) < 6


def test_yellow_on_white_is_seen() -> None:
    """Coloured ink with hardly any contrast in luminance is found by its colour."""
    cover = (255 - _page(6))[..., None] / 255
    page = (255 * (1 - cover) + np.array([255, 235, 60]) * cover).astype(np.uint8)
    upload = Upload(page, None, "png", page.shape[1], page.shape[0])
    assert _apart(prepare(upload).pixels, prepare(from_pixels(_page(6))).pixels) < 6


def test_shadow_is_taken_away() -> None:
    """A shadow through the digit does not change it; without the stage it does."""
    column = np.arange(_page(2).shape[1])
    light = 1 - 0.5 / (1 + np.exp((column - 110) / 6))
    upload = from_pixels((_page(2) * light).astype(np.uint8))
    expected = prepare(from_pixels(_page(2))).pixels
    assert _apart(prepare(upload).pixels, expected) < 15
    assert _apart(prepare(upload, skip=frozenset({"background"})).pixels, expected) > 20


def test_ruled_lines_and_specks_are_dropped() -> None:
    """Dark ruled lines and dirt leave the digit as it was, to some grey levels."""
    page = _page(4)
    expected = prepare(from_pixels(page)).pixels
    page[15:17], page[-20:-18] = 60, 60
    page[60:63, 5:8] = 0
    assert _apart(prepare(from_pixels(page)).pixels, expected) < 6
    assert _apart(prepare(from_pixels(page), skip=frozenset({"clean"})).pixels, expected) > 20


def test_hairlines_and_blots_come_near_mnist() -> None:
    """Strokes far too thin or too thick for MNIST are brought into its range."""
    y, x = np.mgrid[0:400, 0:400]
    radius = np.hypot(y - 200, x - 200)
    for half in (1.0, 45.0):
        page = np.where(np.abs(radius - 130) < half, 0, 255).astype(np.uint8)
        plain = prepare(from_pixels(page), skip=frozenset({"stroke"})).pixels
        changed = prepare(from_pixels(page)).pixels
        assert not MIN_STROKE <= stroke_width(plain.astype(np.float32)) <= MAX_STROKE
        assert MIN_STROKE * 0.95 <= stroke_width(changed.astype(np.float32)) <= MAX_STROKE


def test_polarity_can_be_told() -> None:
    """A polarity that is told is used, against what would have been found."""
    page = _page(8)
    assert prepare(from_pixels(page), polarity="light-on-dark").polarity == "light-on-dark"
    inverted = as_is(from_pixels(255 - _sample(8)), polarity="dark-on-light")
    np.testing.assert_array_equal(inverted.pixels, _sample(8))


def test_as_is_refuses_other_sizes() -> None:
    """Only 28x28 can be taken as it is."""
    with pytest.raises(InvalidInputError, match="30 x 29"):
        as_is(from_pixels(np.zeros((29, 30), np.uint8)))


def test_placement_leads_back_to_the_upload() -> None:
    """The ink's centre in the 28x28, led through the placement, is the ink's centre on the page."""
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


def test_stages_are_recorded_in_order_when_asked_for() -> None:
    """Each stage has its name, a sentence, a picture and its numbers; none without being asked."""
    upload = from_pixels(_page(9))
    assert prepare(upload).stages == ()
    stages = prepare(upload, record=True).stages
    names = ["grey", "polarity", "background", "clean", "scale", "stroke", "centre"]
    assert [stage.name for stage in stages] == names
    assert all(stage.image.dtype == np.uint8 and stage.description for stage in stages)
    assert set(OPTIONAL_STAGES) <= set(names)
    np.testing.assert_array_equal(stages[-1].image, prepare(upload).pixels)


def test_grey_ground_is_read_in_every_way() -> None:
    """A 28x28 that is not quite MNIST-shaped is offered prepared, as it is, and inverted."""
    foggy = np.clip(_sample(7).astype(int) + 90, 0, 255).astype(np.uint8)
    assert not is_mnist_shaped(from_pixels(foggy))
    assert len(candidates(from_pixels(foggy))) == 3
    assert len(candidates(from_pixels(_page(7)))) == 1


def test_skipping_every_stage_still_gives_an_image() -> None:
    """Stages can be left out alone and together."""
    upload = from_pixels(_page(1))
    for skip in [{name} for name in OPTIONAL_STAGES] + [set(OPTIONAL_STAGES)]:
        try:
            assert prepare_fully(upload, skip=skip).pixels.shape == (28, 28)
        except DigitscopeError as error:
            pytest.fail(f"{skip}: {error}")
