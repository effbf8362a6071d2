"""The committed model cards say what the committed metadata say, and what the project promises."""

import pytest

from app.bundle import open_bundle
from app.settings import REPOSITORY
from training import card

NAMES = sorted(path.parent.name for path in (REPOSITORY / "model").glob("*/metadata.json"))


@pytest.mark.parametrize("name", NAMES)
def test_card_is_generated_from_the_metadata(name: str) -> None:
    """Each committed card is, letter for letter, the one that its metadata give."""
    folder = REPOSITORY / "model" / name
    assert (folder / "MODEL_CARD.md").read_text() == card.text(open_bundle(folder).metadata)


def test_classic_keeps_its_promise() -> None:
    """The committed classic model reads at least 99.5 % of the test split, by its own record."""
    test = open_bundle(REPOSITORY / "model" / "classic").metadata.test
    assert test is not None
    assert (test.digits, test.error_rate <= 0.005) == (10_000, True)
