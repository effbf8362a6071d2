"""What a card measures beyond MNIST: hands, slants, damage and images without a digit."""

import numpy as np
import pytest

from app.bundle import open_bundle
from app.imaging.decode import decode
from app.inference.litert_runtime import open_runtime
from app.settings import REPOSITORY
from training import card_readings, readings, robustness, unseen
from training.data import Split
from training.readings import DAMAGE, GEOMETRY, HANDS, OTHER, SEALED


@pytest.mark.parametrize("name", unseen.SHAPES)
def test_shapes_are_drawn_on_paper(name: str) -> None:
    """A shape is dark ink on white paper and leaves a margin."""
    rng = np.random.default_rng(1)
    _, strokes = unseen.SHAPES[name]
    for _ in range(5):
        pixels = decode(unseen.draw(strokes(rng), rng), max_pixels=100_000).pixels
        assert pixels.min() < 60
        assert (pixels[0] == 255).all()
        assert 0.005 < (pixels < 128).mean() < 0.25


@pytest.mark.parametrize("name", unseen.OPEN_DAMAGE | unseen.SEALED_DAMAGE)
def test_damage_changes_digits(name: str, train_digits: Split) -> None:
    """Damage changes nearly every digit, and the same way for the same generator."""
    harm = (unseen.OPEN_DAMAGE | unseen.SEALED_DAMAGE)[name]
    images = train_digits.images[:30]
    first, second = (
        np.stack([harm(image, rng) for image in images])
        for rng in (np.random.default_rng(2), np.random.default_rng(2))
    )
    assert (first.shape, first.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(first, second)
    assert (np.abs(first.astype(int) - images).mean(axis=(1, 2)) > 0.5).mean() > 0.8


def test_sealed_damage_is_read_only_when_asked(held_out: Split) -> None:
    """All groups are read for a card; without the sealed kinds while a network is developed."""
    bundle = open_bundle(REPOSITORY / "model" / "compact")
    runtime = open_runtime(bundle)
    limits = bundle.metadata.verdict
    found = readings.measure(runtime, held_out, limits, sealed=True)
    assert {each.group for each in found} == {HANDS, GEOMETRY, DAMAGE, SEALED, OTHER}
    assert all(each.wrong + each.refused + each.unsure <= each.images for each in found)
    by_name = {each.name: each for each in found}
    assert by_name["operators"].refused == by_name["operators"].images
    assert by_name["open 4"].wrong == 0
    some = readings.measure(runtime, held_out, limits, sealed=False)
    assert some == [each for each in found if each.group != SEALED]
    measured = robustness.measure(runtime, held_out, limits)
    assert measured.readings == found
    text = card_readings.describe(measured)
    assert f"| crossed 7 | {by_name['crossed 7'].images} | 0.00 % | 0.0 to " in text
    assert card_readings.describe(measured.model_copy(update={"readings": []})) == ""
