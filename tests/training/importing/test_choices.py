"""What an import chooses and says: rare ranges, order and names of classes, unread digits."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tests.training.importing.networks import unit
from training.errors import ImportingError
from training.importing.adapter import Fit
from training.importing.classes import IDENTITY, default_names, describe_order, find_order
from training.importing.digits import load_digits
from training.importing.options import Options, Result
from training.importing.report import print_result
from training.importing.run import import_file
from training.importing.scale import INVERTED, Trial, inverted_standardised, parse_scale, rank


def _trained(pixels: np.ndarray, labels: np.ndarray, classes: int = 10) -> keras.Model:
    """Return a network that learned 2,000 digits for moments."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(3),
            layers.Flatten(),
            layers.Dense(classes, activation="softmax"),
        ]
    )
    network.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    network.fit(pixels, labels, batch_size=50, epochs=4, verbose=0)
    return network


def _import(network: keras.Model, folder: Path, **options: object) -> Result:
    network.save(folder / "net.keras")
    return import_file(folder / "net.keras", Options("net", **options), folder / "models")  # type: ignore[arg-type]


def _card(result: Result) -> str:
    return (result.folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("mean", "same"),
    [
        (0.8693, "0.1307,-0.3081"),
        pytest.param(0.1307, "0.8693,-0.3081", marks=pytest.mark.tutorials),
    ],
)
def test_inverted_standardised_pixels_are_found_and_named(
    tmp_path: Path, mean: float, same: str
) -> None:
    """Black ink on white paper, standardised, is a candidate and can be given in two ways."""
    digits = load_digits().embedded
    network = _trained((1 - unit(digits.images) - mean) / 0.3081, digits.labels)
    imported = _import(network, tmp_path).metadata.imported
    assert imported is not None
    assert imported.scale == f"inverted {mean},0.3081"
    given, other = parse_scale(imported.scale), parse_scale(same)
    assert given is not None
    assert other is not None
    assert (given.factor, given.offset) == pytest.approx((other.factor, other.offset))
    for wrong in ("0.5,0", "inverted 0.5", "upside 0.5,0.5", "nan,1", "0,inf"):
        with pytest.raises(ImportingError, match="--input"):
            parse_scale(wrong)


def _trial(name: str, loss: float, accuracy: float = 0.9) -> Trial:
    fit: Fit = "same"
    scale = parse_scale(name)
    assert scale is not None
    return Trial(scale, fit, loss, accuracy, IDENTITY, 300)


def test_the_more_usual_of_two_rare_ranges_wins_unless_clearly_worse() -> None:
    """The margin holds between rare ranges too; clearly fewer digits read put a range out."""
    close = [_trial("inverted -1..1", 0.7482), _trial("inverted", 0.7491), _trial("0..1", 8.3)]
    assert rank(close)[0].scale == INVERTED
    clear = [_trial("inverted -1..1", 0.5), _trial("inverted", 0.75)]
    assert rank(clear)[0].scale.name == "inverted -1..1"
    scores = [_trial("0..255", 0.9, 0.847), _trial("0..1", 1.32, 0.893)]
    assert rank(scores)[0].scale.name == "0..1"
    assert inverted_standardised(0.5, 0.5).limits == pytest.approx((-1, 1))


def test_another_order_is_listed_and_other_classes_keep_their_number(tmp_path: Path) -> None:
    """Of twelve outputs (blank, 0 to 9, other), the first is named by its number in the file."""
    digits = load_digits().embedded
    network = _trained(unit(digits.images), digits.labels + 1, 12)
    result = _import(network, tmp_path)
    assert result.metadata.classes == [*"0123456789", "class 0", "class 11"]
    assert "0 is 1, 1 is 2" in _card(result)
    assert "10 is 0." in _card(result)
    assert describe_order(range(12)) == ""
    assert default_names(range(12))[10:] == ["class 10", "class 11"]


def test_letters_are_not_measured_on_digits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the names are no digits, there are no figures and no refusals."""
    digits = load_digits().embedded
    letters = np.array([14, 8, 25, 1, 0, 18, 6, 19, 23, 16])
    names = tmp_path / "names"
    names.write_text("\n".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    network = _trained(unit(digits.images), letters[digits.labels], 26)
    result = _import(network, tmp_path, classes=names)
    metadata = result.metadata
    assert metadata.imported is not None
    assert metadata.imported.scale == "0..1"
    assert metadata.classes[0] == "A"
    assert metadata.validation is None
    assert metadata.temperature == 1
    assert metadata.verdict.not_a_digit_below < -1e8
    assert metadata.verdict.unsure_below == 0.5
    print_result(result, "there")
    assert "Figures cannot be measured" in capsys.readouterr().out
    logs = np.eye(26, dtype=np.float32)[letters[digits.labels]]
    assert find_order(logs, digits.labels, 26, are_digits=False).digit_classes == tuple(letters)


def test_exchanged_rows_and_columns_are_found(tmp_path: Path) -> None:
    """Raw EMNIST images are transposed; the card says that the import exchanges them."""
    digits = load_digits().embedded
    network = _trained(unit(digits.images).transpose(0, 2, 1, 3), digits.labels)
    result = _import(network, tmp_path)
    assert result.metadata.validation is not None
    assert result.metadata.validation.error_rate < 0.2
    assert "Rows and columns of the image are exchanged" in _card(result)


@pytest.mark.tutorials
def test_few_digits_read_are_a_warning(tmp_path: Path) -> None:
    """A network that misreads every third digit is imported with a warning in the card."""
    digits = load_digits().embedded
    labels = np.where(digits.labels > 5, 0, digits.labels)
    result = _import(_trained(unit(digits.images), labels), tmp_path)
    assert "WARNING: the network reads only" in _card(result)
    assert "--classes" in _card(result)


@pytest.mark.tutorials
def test_scores_that_are_no_logits_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Linear outputs trained to be 0 or 1 keep their range, and the report offers a temperature."""
    digits = load_digits().embedded
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    network.compile("adam", "mse")
    network.fit(unit(digits.images), np.eye(10)[digits.labels], epochs=5, verbose=0)
    result = _import(network, tmp_path)
    assert result.metadata.imported is not None
    assert result.metadata.imported.scale == "0..1"
    print_result(result, "there")
    assert "scores, not logits: use --calibrate" in " ".join(capsys.readouterr().out.split())
