"""Tests of the sentences on pictures that the figures should not be trusted on."""

from dataclasses import replace

from app.bundle import DIGITS
from app.evaluation.figures import model_figures
from app.evaluation.sample_warnings import copy_warnings, label_warnings, unreadable_warnings
from app.evaluation.schema import UnusedFile
from tests.evaluation.examples import METADATA, picture, read


def test_labels_that_look_wrong_are_named() -> None:
    """If most answers of all models differ from the labels, the labels may be none."""
    images = tuple(picture(f"{number}.png") for number in range(20))
    right = model_figures(METADATA, DIGITS, images, [read("3")] * 20)
    wrong = model_figures(METADATA, DIGITS, images, [read("8")] * 20)
    few = model_figures(METADATA, DIGITS, images[:9], [read("8")] * 9)
    (warning,) = label_warnings([wrong])
    assert "Check that the labels are the digits" in warning
    assert label_warnings([wrong, right]) == label_warnings([few]) == label_warnings([]) == []


def test_many_unreadable_files_are_named() -> None:
    """One of a hundred files is no reason for a warning, twenty of them are."""
    files = [UnusedFile(name=f"\x1b{number}.png", reason="It is blank.") for number in range(20)]
    (warning,) = unreadable_warnings(files, 100)
    assert warning.startswith("20% of the labelled files could not be read")
    assert warning.endswith(r"\x1b0.png: It is blank.")
    assert unreadable_warnings(files[:1], 100) == unreadable_warnings([], 0) == []


def test_copies_are_named() -> None:
    """Files with the same bytes are counted as copies; those with two labels are named first."""
    names = ("a.png", "b.png", "c.png", "d.png", "e.png")
    images = [picture(name) for name in names]
    digests = ["1", "1", "2", "", ""]
    answers = [replace(read("3"), file_digest=each) for each in digests]
    (copies,) = copy_warnings(images, answers)
    assert copies.startswith("1 picture is a copy of another, such as b.png of a.png.")
    images[1] = picture("b.png", "8")
    torn, _ = copy_warnings(images, answers)
    assert "1 file has copies with another label, such as a.png (3) and b.png (8)." in torn
    assert copy_warnings(images[1:], answers[1:]) == []
