"""Make the pictures of the benchmark, always the same ones: photos, a page, a folder of digits."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from app.embeddings import EMBEDDINGS_FILE, read_embeddings
from app.settings import REPOSITORY
from benchmarks.load import DIGIT
from benchmarks.overload import make_photo, photo_pixels
from benchmarks.services import MODEL

A4 = (2480, 3508)  # pixels, 300 dpi
COLUMNS, ROWS, PLACE = 5, 8, 130  # digits of the page; pixels of MNIST's 28, about 8 mm of ink
PAPER, SCANNER_NOISE = 244.0, 2.0  # grey value; standard deviation
SEED = 30


def photo_jpeg() -> bytes:
    """Return a photo of 12 megapixels of a digit on noisy paper."""
    return make_photo(DIGIT, 4000, 3000)


def photo_png() -> bytes:
    """Return a PNG file of the same photo with 2 megapixels."""
    return _png(photo_pixels(DIGIT, 1600, 1200))


def page_png() -> tuple[bytes, str]:
    """Return a scanned A4 page of 40 training digits, and these digits line by line."""
    images, labels = _training_digits()
    noise = np.random.default_rng(SEED)
    chosen = noise.choice(len(images), COLUMNS * ROWS, replace=False)
    page = PAPER + noise.normal(0, SCANNER_NOISE, A4[::-1])
    across, down = A4[0] // (COLUMNS + 1), A4[1] // (ROWS + 1)
    for place, number in enumerate(chosen):
        row, column = divmod(place, COLUMNS)
        top, left = np.array([(row + 1) * down, (column + 1) * across]) - PLACE // 2
        top, left = top + noise.integers(-15, 16), left + noise.integers(-60, 61)
        page[top : top + PLACE, left : left + PLACE] -= 190 * _redrawn(images[number])
    text = "".join(str(labels[number]) for number in chosen)
    return _png(page), "\n".join(text[at : at + COLUMNS] for at in range(0, len(text), COLUMNS))


def write_folder(folder: Path) -> None:
    """Write 2,000 training digits as PNG files of 28x28."""
    folder.mkdir()
    for number, image in enumerate(_training_digits()[0]):
        (folder / f"{number:04}.png").write_bytes(_png(image))


def _training_digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    content = (REPOSITORY / "model" / MODEL / EMBEDDINGS_FILE).read_bytes()
    embeddings = read_embeddings(content)
    return embeddings.images, embeddings.labels


def _redrawn(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return a digit with sharp strokes at the size of the page, 0..1, ink high."""
    large = Image.fromarray(image).resize((PLACE, PLACE), Image.Resampling.BICUBIC)
    soft = np.asarray(large.filter(ImageFilter.GaussianBlur(1.5)), float) / 255
    return np.clip((soft - 0.5) * 4 + 0.5, 0, 1)


def _png(pixels: NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
