"""The preview of the augmentation."""

from pathlib import Path

from typer.testing import CliRunner

from digitscope import command
from training.data import Split
from training.preview import GAP, ZOOM, preview
from training.recipe import Recipe
from training.resample import SIDE

CELL = (SIDE + GAP) * ZOOM


def test_first_column_is_the_unchanged_digit(small: Recipe, train_digits: Split) -> None:
    """Ten rows of digits and one of outliers; the first column shows the original digits."""
    sheet = preview(train_digits, small, seed=1, columns=4)
    assert sheet.shape == (11 * CELL, 4 * CELL)
    for digit in range(10):
        first = sheet[digit * CELL : (digit + 1) * CELL : ZOOM, :CELL:ZOOM][:SIDE, :SIDE]
        same = (train_digits.images == 255 - first).all(axis=(1, 2))
        assert train_digits.labels[same].tolist() == [digit]


def test_augment_refuses_other_data(sample_path: Path, tmp_path: Path) -> None:
    """The command states what is wrong with the data, and ends with 1."""
    options = ["--preview", str(tmp_path / "x.png"), "--data", str(sample_path)]
    refused = CliRunner().invoke(command, ["augment", *options])
    assert refused.exit_code == 1
    assert "expected 60000 digits" in refused.stderr
