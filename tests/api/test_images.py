"""Every form of an image gives the same answer, and a wrong one a plain message."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import (
    array_shapes,
    arrays,
    byte_string_dtypes,
    scalar_dtypes,
    unicode_string_dtypes,
)
from hypothesis.strategies import one_of
from PIL import Image

import digitscope
from app.samples import sample_pixels, sample_png
from digitscope import errors

SEVEN = sample_pixels(7)
LARGE = np.pad(SEVEN.repeat(4, 0).repeat(4, 1), 40)  # [192, 192], light on dark
COLOURED = np.stack([LARGE, LARGE, LARGE // 2], axis=-1)


class Tensor:
    """What other libraries' tensors have in common."""

    def __array__(self) -> np.ndarray:
        """Return the pixels, 0..1."""
        return SEVEN[None] / 255


class Trickle(io.RawIOBase):
    """A raw stream that gives at most 7 bytes a call, as a pipe or a socket does."""

    def __init__(self, content: bytes) -> None:
        """Take what the stream gives."""
        self._rest = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        return self._rest.read(min(size, 7))


class Failing:
    """A file object of a lost connection, or of whatever else it raises or gives."""

    def __init__(self, outcome: Any) -> None:
        """Take what `read` raises or returns."""
        self.outcome = outcome

    def read(self, size: int = -1) -> Any:
        """Raise or return it."""
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def png(pixels: np.ndarray) -> bytes:
    """Return pixels as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


# Forms of the same 28x28, whose answer is that of the sample's file.
SMALL: dict[str, Callable[[Path], Any]] = {
    "str": str,
    "path": Path,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "file object": lambda path: io.BytesIO(path.read_bytes()),
    "Pillow, opened": Image.open,
    "Pillow, made": lambda path: Image.fromarray(SEVEN),
    "Pillow, RGB": lambda path: Image.fromarray(SEVEN).convert("RGB"),
    "Pillow, float": lambda path: Image.fromarray(SEVEN.astype(np.float32)),
    "uint8": lambda path: SEVEN,
    "column order": lambda path: np.asfortranarray(SEVEN),
    "float32 of 0..1": lambda path: (SEVEN / 255).astype(np.float32),
    "float64 of 0..255": lambda path: SEVEN.astype(float),
    "int64": lambda path: SEVEN.astype(np.int64),
    "[28, 28, 1]": lambda path: SEVEN[..., None],
    "[1, 28, 28]": lambda path: SEVEN[None],
    "[1, 28, 28, 1]": lambda path: SEVEN[None, ..., None],
    "[784]": lambda path: SEVEN.reshape(-1),
    "[1, 784]": lambda path: SEVEN.reshape(1, -1),
    "[784, 1]": lambda path: SEVEN.reshape(-1, 1),
    "[1, 784, 1]": lambda path: SEVEN.reshape(1, -1, 1),
    "slightly below 0": lambda path: np.where(SEVEN == 0, -1e-9, SEVEN / 255),
    "slightly out of 0..255": lambda path: np.where(SEVEN == 0, -0.005, SEVEN * 1.0001),
    "short reads": lambda path: Trickle(path.read_bytes()),
    "[28, 28, 3]": lambda path: np.stack([SEVEN] * 3, axis=-1),
    "[28, 28, 4]": lambda path: np.stack([SEVEN] * 3 + [np.full_like(SEVEN, 255)], axis=-1),
    "tensor": lambda path: Tensor(),
}


@pytest.mark.parametrize("form", SMALL)
def test_every_form_gives_the_same_answer(
    model: digitscope.Model, form: str, tmp_path: Path
) -> None:
    """A 28x28 gives the same probabilities in every form."""
    path = tmp_path / "7.png"
    path.write_bytes(sample_png(7))
    got, right = model.predict(SMALL[form](path)), model.predict(path)
    np.testing.assert_array_equal(got.probabilities, right.probabilities)
    assert (got.digit, got.input.width, got.input.polarity) == (7, 28, "light-on-dark")


# Forms of larger images, whose answer is that of a PNG of the same pixels.
FORMS: dict[str, tuple[np.ndarray, Any]] = {
    "grey": (LARGE, LARGE),
    "grey of 0..1": (LARGE, LARGE / 255),
    "colours": (COLOURED, COLOURED),
    "colours of 0..1": (COLOURED, COLOURED / np.float32(255)),
    "colours of Pillow": (COLOURED, Image.fromarray(COLOURED)),
    "True is ink": (np.uint8(255) * (LARGE > 100), LARGE > 100),
    "uint8 of 0 and 1": (np.uint8(255) * (LARGE > 100), np.uint8(LARGE > 100)),
    "alpha": (np.dstack([255 - COLOURED, LARGE]), np.dstack([255 - COLOURED, LARGE])),
    "wide": (LARGE[40:152, :], LARGE[40:152, :]),
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_give_the_answer_of_a_file(model: digitscope.Model, form: str) -> None:
    """An array of any size gives the answer of a PNG with the same pixels."""
    pixels, image = FORMS[form]
    got, right = model.predict(image), model.predict(png(pixels))
    np.testing.assert_array_equal(got.pixels, right.pixels)
    assert (got.digit, got.warnings) == (7, right.warnings)
    assert (got.input.width, got.input.height) == (right.input.width, right.input.height)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_opened_image_is_turned_as_its_file(
    model: digitscope.Model, file_format: str, orientation: int
) -> None:
    """An image of Pillow with an EXIF orientation gives the answer of its file."""
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(LARGE[20:]).save(stream, file_format, exif=exif)
    image = Image.open(stream)
    got, right = model.predict(image), model.predict(stream.getvalue())
    np.testing.assert_array_equal(got.pixels, right.pixels)
    assert vars(got.input) == vars(right.input)
    assert image.getexif().get(0x0112, orientation) == orientation


def test_wrong_images_get_a_plain_message(model: digitscope.Model, tmp_path: Path) -> None:
    """Each wrong image has an error of the project, and a file is named."""
    text, closed = tmp_path / "text.png", Image.open(io.BytesIO(png(LARGE)))
    text.write_text("no image")
    closed.close()
    closed_file = io.BytesIO(png(LARGE))
    closed_file.close()
    wrong: list[tuple[Any, str]] = [
        (tmp_path / "missing.png", f"{tmp_path}/missing.png: The file cannot be opened"),
        (tmp_path, f"{tmp_path}: Only regular files can be read; this is a folder."),
        (str(text), f"{text}: The image cannot be read"),
        ("nul\0.png", "nul\\x00.png: The file cannot be opened"),
        (b"", "got 0 bytes"),
        (b"rubbish", "got 7 bytes"),
        (png(LARGE)[:-30], "damaged"),
        (closed, "The image cannot be read"),
        (io.StringIO("text"), "mode 'rb'"),
        (io.BytesIO(), "seek(0)"),
        (io.TextIOWrapper(io.BytesIO(png(LARGE)), "utf-8"), "open the file with mode 'rb'"),
        (Failing(io.UnsupportedOperation("not readable")), "cannot be read: not readable."),
        (closed_file, "The file object cannot be read: I/O operation on closed file."),
        (Failing(OSError(5, "Input/output error")), "cannot be read: [Errno 5] Input/output error"),
        (Failing(EOFError()), "The file object cannot be read: EOFError."),
        (Failing(None), "does not wait for its bytes"),
        (np.zeros((1, 1024), np.uint8), "The shape [1, 1024] is a single row or column"),
        (np.zeros((100, 1, 3), np.uint8), "The shape [100, 1, 3] is a single row or column"),
        (SEVEN.astype(float) - 128, "from 0 to 255 or from 0 to 1"),
        (np.full((28, 28), np.nan), "got NaN; numpy.nan_to_num"),
        (SEVEN * 1.01, "got 0 to 257.55. After resizing, use numpy.clip(array, 0, 255)"),
        (SEVEN / 250 - 0.02, "got -0.02 to 1. After resizing, use numpy.clip(array, 0, 1)"),
        (np.full((28, 28), np.inf), "got inf to inf."),
        (np.full((28, 28), -1e-9), "No ink was found"),
        ("", "The path of the image is empty."),
        ([[0, 255]], "got list; numpy.asarray makes an array of lists"),
        (SEVEN.astype(np.uint16) * 257, "got 0 to 65535"),
        (SEVEN.astype(str), "Expected an array of numbers"),
        (SEVEN.astype(object), "Expected an array of numbers"),
        (SEVEN * 1j, "Expected an array of numbers"),
        (np.zeros((28, 28, 2), np.uint8), "got [28, 28, 2]"),
        (np.zeros((2, 28, 28), np.uint8), "got [2, 28, 28]. 'predict_many' takes several"),
        (np.zeros((3, 28, 28), np.uint8), "got [3, 28, 28]. Move its channels to the end"),
        (np.zeros((1, 1, 28, 28), np.uint8), "to the end: numpy.moveaxis(array, -3, -1)."),
        (np.zeros(28, np.uint8), "got [28]"),
        (np.uint8(3), "got []"),
        (np.zeros((0, 28), np.uint8), "holds no pixels"),
        (np.zeros((28, 28), np.uint8), "No ink was found"),
        (np.broadcast_to(np.uint8(9), (40_000, 40_000)), "the limit is"),
        (None, "got NoneType"),
        ([1, 2], "got list"),
    ]
    for image, message in wrong:
        with pytest.raises(digitscope.DigitscopeError) as caught:
            model.predict(image)
        assert message in str(caught.value), image
        assert str(caught.value) == caught.value.detail


def test_tensor_that_numpy_refuses_is_named(model: digitscope.Model) -> None:
    """What a library raises for a tensor on a GPU becomes an error of the project."""

    class OnGpu:
        def __array__(self) -> np.ndarray:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

    with pytest.raises(errors.InvalidInputError, match="OnGpu: can't convert"):
        model.predict(OnGpu())


@given(
    arrays(
        one_of(scalar_dtypes(), unicode_string_dtypes(max_len=2), byte_string_dtypes(max_len=2)),
        array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=30),
    )
)
@settings(max_examples=60, deadline=None)
def test_any_array_is_read_or_refused(model: digitscope.Model, values: np.ndarray) -> None:
    """An array of any type and shape gives an answer or an error of the project."""
    for use in (model.predict, model.read, model.preprocess, model.predict_many):
        with contextlib.suppress(digitscope.DigitscopeError):
            use(values)


MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB")


@pytest.mark.parametrize("mode", [*MODES, "HSV", "I", "I;16", "I;16B", "F"])
def test_any_mode_of_pillow_is_read(model: digitscope.Model, mode: str) -> None:
    """An image of any mode and size gives an answer, or is refused as blank."""
    rng = np.random.default_rng(1)
    for size in ((1, 1), (28, 28), (40, 3)):
        image = Image.new(mode, size)
        image.frombytes(rng.bytes(len(image.tobytes())))
        before = image.tobytes()
        with contextlib.suppress(errors.BlankImageError):
            assert len(model.predict(image).probabilities) == 10
        assert (image.mode, image.size, image.tobytes()) == (mode, size, before)
