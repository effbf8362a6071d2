"""Other views of a digit: upright, turned and narrowed, where they lie and when they count."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.imaging.candidates import candidates
from app.imaging.decode import Upload, from_pixels
from app.imaging.passthrough import are_mnist_shaped
from app.imaging.views import ANGLES_DEG, make_views
from app.inference.model import Model
from app.page_reading import read_page
from app.predictions import PreparedImage
from app.preprocessing_report import explain_preparation
from app.recognise import Options, predict, read_image, recognise, recognise_many
from app.samples import sample_pixels
from tests.conftest import Digits
from tests.imaging.samples import Pixels, encode, enlarge, tight

VIEWS = ("upright", "turned", "narrowed")
WITHOUT_VIEWS = Options(skip=frozenset(VIEWS))


def _turned(digit: Pixels, angle_deg: float) -> Pixels:
    """Draw a digit dark on white, 280 pixels a side, turned clockwise."""
    ink = Image.fromarray(np.pad(np.round(255 * enlarge(digit, 160)).astype(np.uint8), 60))
    return 255 - np.asarray(ink.rotate(-angle_deg, Image.Resampling.BICUBIC))


def _slanted(digit: Pixels, slope: float) -> Pixels:
    """Draw a digit dark on white, 280 pixels a side, its upper half moved to the right."""
    ink = Image.fromarray(np.pad(np.round(255 * enlarge(digit, 160)).astype(np.uint8), 60))
    data = (1, slope, -140 * slope, 0, 1, 0)
    return 255 - np.asarray(
        ink.transform(ink.size, Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)
    )


def _stretched(digit: Pixels) -> Pixels:
    """Scan a digit as 16x16 black and white pixels that it fills, as some data sets do."""
    crop = Image.fromarray(tight(enlarge(digit, 112)))
    ink = np.asarray(crop.resize((16, 16), Image.Resampling.BOX)) > 0.5
    return (255 * ink).astype(np.uint8)


def _wrong_and_not_sure(
    pages: list[Pixels], labels: NDArray[np.uint8], model: Model, options: Options
) -> tuple[int, int]:
    found = recognise_many([from_pixels(page) for page in pages], model, options).predictions
    wrong = int((np.array(found.digits) != labels).sum())
    return wrong, len(pages) - found.verdicts.count("digit")


def test_upright_view_has_no_slant() -> None:
    """Rows and columns of the ink of the upright view are uncorrelated."""
    prepared = replace(candidates(from_pixels(_slanted(sample_pixels(1), 0.5)))[0], views=VIEWS[:1])
    (view,) = make_views(prepared)
    y, x = np.indices((28, 28))
    for pixels, upright in ((prepared.pixels, False), (view.pixels, True)):
        correlation = np.cov(y.ravel(), x.ravel(), aweights=pixels.ravel().astype(float))[0, 1]
        assert bool(abs(correlation) < 1) is upright
    assert view.parameters["slant"] < -0.2


def test_views_are_in_mnist_s_form(digits: Digits) -> None:
    """Every view has MNIST's size and place."""
    for image in digits.images[:30]:
        prepared = candidates(from_pixels(_slanted(image, 0.3)))[0]
        views = make_views(replace(prepared, views=VIEWS))
        assert len(views) == 2 + len(ANGLES_DEG)
        assert are_mnist_shaped(np.stack([view.pixels for view in views])).all()


def test_placement_leads_from_a_view_to_the_upload() -> None:
    """Where a view has ink, the upload has ink at the place that the placement names."""
    page = _turned(sample_pixels(4), 25)
    prepared = candidates(from_pixels(page))[0]
    for view in make_views(replace(prepared, views=VIEWS)):
        place = prepared.placement.after(view.placement)
        y, x = np.nonzero(view.pixels > 200)
        rows = place.offset_y + place.scale_y * y + place.shear_y * x
        columns = place.offset_x + place.scale_x * x + place.shear_x * y
        on_page = page[np.rint(rows).astype(int), np.rint(columns).astype(int)]
        assert np.mean(on_page < 128) > 0.95, view.name


def test_turned_digits_are_read(classic: Model, digits: Digits) -> None:
    """Of digits turned by 28 degrees, fewer are misread and far fewer are not sure."""
    pages = [_turned(image, 28 * (-1) ** at) for at, image in enumerate(digits.images[:60])]
    labels = digits.labels[:60]
    wrong_before, unsure_before = _wrong_and_not_sure(pages, labels, classic, WITHOUT_VIEWS)
    wrong, unsure = _wrong_and_not_sure(pages, labels, classic, Options())
    assert wrong <= min(2, wrong_before)
    assert unsure <= unsure_before / 2


def test_turning_never_makes_one_digit_another(classic: Model, digits: Digits) -> None:
    """No 6 is read as a 9, no 9 as a 6, no 1 as a 7 because of a view."""
    chosen = np.isin(digits.labels, (1, 6, 7, 9))
    pages = [_turned(image, 30) for image in digits.images[chosen][:40]]
    uploads = [from_pixels(page) for page in pages]
    before = recognise_many(uploads, classic, WITHOUT_VIEWS).predictions
    after = recognise_many(uploads, classic, Options()).predictions
    right = digits.labels[chosen][:40]
    for label, first, second, verdict in zip(
        right.tolist(), before.digits, after.digits, after.verdicts, strict=True
    ):
        assert second == label or first != label or verdict != "digit"


def test_stretched_scans_are_narrowed(classic: Model, digits: Digits) -> None:
    """Of scans stretched to a square, fewer are not sure, and only they are narrowed."""
    pages = [_stretched(image) for image in digits.images[:80]]
    labels = digits.labels[:80]
    wrong_before, unsure_before = _wrong_and_not_sure(pages, labels, classic, WITHOUT_VIEWS)
    wrong, unsure = _wrong_and_not_sure(pages, labels, classic, Options())
    assert wrong <= min(4, wrong_before)
    assert unsure < unsure_before
    assert "narrowed" in candidates(from_pixels(pages[0]))[0].views
    assert "narrowed" not in candidates(from_pixels(np.pad(pages[0], 2)))[0].views


def _unsure_upload(model: Model, digits: Digits) -> Upload:
    """Return a turned digit that is not sure as it is, and sure in a view."""
    for image in digits.images:
        upload = from_pixels(_turned(image, 28))
        if recognise(upload, model, Options()).prepared.view is not None:
            return upload
    raise AssertionError("no digit needs a view")


def test_every_way_of_asking_gives_the_same_answer(classic: Model, digits: Digits) -> None:
    """A digit that is read in a view is the same alone, in a batch and on a page."""
    upload = _unsure_upload(classic, digits)
    alone = recognise(upload, classic, Options())
    assert recognise(upload, classic, WITHOUT_VIEWS).verdict != "digit"
    batch = recognise_many([from_pixels(digits.images[0]), upload], classic, Options())
    assert batch.predictions.digits[1] == alone.digit
    assert batch.predictions.scores[1] == pytest.approx(alone.score, abs=1e-4)
    ((read,),) = read_page(upload, classic, Options()).lines
    assert (read.digit, read.verdict) == (alone.digit, alone.verdict)


def test_report_shows_the_view_and_the_answer_without_it(classic: Model, digits: Digits) -> None:
    """The view is the last stage, and the last counterfactual is the answer without it."""
    upload = _unsure_upload(classic, digits)
    report = explain_preparation(upload, classic, Options())
    prepared = report.prediction.prepared
    assert [stage.name for stage in prepared.stages[-2:]] == ["centre", prepared.view]
    np.testing.assert_array_equal(prepared.stages[-1].image, prepared.pixels)
    assert [each.stage for each in report.without][-1] == prepared.view
    without = report.without[-1].prediction
    assert without is not None
    assert without.prepared.view != prepared.view


def test_views_are_made_only_of_images_that_are_not_sure(classic: Model, digits: Digits) -> None:
    """A sure digit runs once through the network, and a MNIST-shaped one never has a view."""
    sure = read_image(
        255 - np.pad(np.kron(sample_pixels(3), np.ones((4, 4), np.uint8)), 40), Options()
    )
    runs: list[int] = []

    class Counting:
        def predict(self, images: NDArray[np.uint8]):
            runs.append(len(images))
            return classic.runtime.predict(images)

        def inspect(self, images: NDArray[np.uint8]):
            return classic.runtime.inspect(images)

    counting = replace(classic, runtime=Counting())
    assert predict([sure], counting)[0].verdict == "digit"
    shaped = recognise_many(digits.images, counting, Options()).predictions
    assert runs == [1, len(digits.images)]
    assert shaped.verdicts.count("digit") < len(digits.images)


def test_unprepared_images_have_no_views() -> None:
    """An image that goes to the network as it is, or unchanged, names no views."""
    assert candidates(from_pixels(sample_pixels(2)))[0].views == ()
    unprepared = read_image(np.roll(sample_pixels(2), 5), Options(preprocess="none"))
    assert isinstance(unprepared, PreparedImage)
    assert unprepared.candidates[0].views == ()


def test_files_have_the_views_of_their_pixels(classic: Model, digits: Digits) -> None:
    """A file gets the view that its pixels get."""
    upload = _unsure_upload(classic, digits)
    found = recognise(encode(upload.pixels), classic, Options())
    assert found.prepared.view == recognise(upload, classic, Options()).prepared.view
