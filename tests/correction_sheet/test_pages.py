"""Tests of what a sheet shows of a file."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.correction_sheet.pages import MAX_PIXELS, SheetFile, SheetPage, read_sheet_pages
from app.inference.model import Model
from app.recognise import Options
from app.samples import sample_pixels, sample_png


def _read(path: Path, model: Model) -> SheetPage:
    (page,) = read_sheet_pages([SheetFile(path)], [model], Options())
    return page


def _picture(page: SheetPage) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(page.picture)))
    assert image.size == (page.width, page.height)
    return np.asarray(image)


def test_small_picture_is_shown_as_it_is(tmp_path: Path, classic: Model) -> None:
    """With the 28x28 that the network received."""
    (tmp_path / "7.png").write_bytes(sample_png(7))
    page = _read(tmp_path / "7.png", classic)
    (digit,) = page.digits
    assert (digit.label, digit.verdict, page.error) == ("7", "digit", "")
    np.testing.assert_array_equal(_picture(page), sample_pixels(7))
    received = np.asarray(Image.open(io.BytesIO(base64.b64decode(digit.pixels))))
    assert received.shape == (28, 28)


@pytest.mark.parametrize("place", [(100, 200), (2500, 3000)])
def test_digit_on_a_large_page_is_shown_in_its_place(
    tmp_path: Path, classic: Model, place: tuple[int, int]
) -> None:
    """The picture is bounded, shows the part with writing, and the box is around the ink."""
    top, left = place
    page_pixels = np.full((3000, 4000), 255, np.uint8)
    large = np.asarray(Image.fromarray(sample_pixels(3)).resize((112, 112)))
    page_pixels[top : top + 112, left : left + 112] = 255 - large
    Image.fromarray(page_pixels).save(tmp_path / "page.png")
    page = _read(tmp_path / "page.png", classic)
    (digit,) = page.digits
    picture, box = _picture(page), digit.box
    assert picture.size <= MAX_PIXELS
    dark = np.argwhere(picture < 128)
    assert dark.size
    assert np.all(dark >= [box.y - 2, box.x - 2])
    assert np.all(dark <= [box.bottom + 2, box.right + 2])
    assert 20 <= box.height <= 60


def test_ink_on_transparent_paper_is_visible(tmp_path: Path, classic: Model) -> None:
    """Light ink is shown on black, dark ink on white."""
    for ink in (0, 255):
        pixels = np.full((28, 28, 4), ink, np.uint8)
        pixels[..., 3] = sample_pixels(5)
        Image.fromarray(pixels).save(tmp_path / "clear.png")
        picture = _picture(_read(tmp_path / "clear.png", classic)).astype(int)
        strokes, paper = (
            picture[sample_pixels(5) > 200].mean(),
            picture[sample_pixels(5) == 0].mean(),
        )
        assert abs(strokes - ink) < 40
        assert abs(strokes - paper) > 150


def test_file_that_cannot_be_read_has_its_error(tmp_path: Path, classic: Model) -> None:
    """It is no failure of the pages that are read with it."""
    (tmp_path / "broken.png").write_bytes(b"nothing")
    (tmp_path / "1.png").write_bytes(sample_png(1))
    files = [SheetFile(tmp_path / name) for name in ("broken.png", "gone.png", "1.png")]
    broken, gone, one = read_sheet_pages(files, [classic], Options())
    assert broken.error
    assert gone.error
    assert [digit.label for digit in one.digits] == ["1"]
