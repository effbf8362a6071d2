"""Cases of photos, pages and folders of files."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load import DIGIT, Body
from benchmarks.services import PEERS, digitscope, make_environment
from benchmarks.speed.contest import Case, Contestant, Goal, Line
from benchmarks.speed.subjects import CPU, asked, command, repeated

OPENCV, PILLOW, TWO = "OpenCV", "Pillow decode", "Pillow + LiteRT in 2 processes"
OPENCV_PACKAGES = ("opencv-python-headless", "ai-edge-litert", "numpy", "pillow")
FILES = 2000


def image_cases(folder: Path, page_text: str) -> dict[str, Case]:
    """Return the cases for the files that `pictures` has made in a folder."""
    digit, page = f'"digit":{DIGIT},', f'"text":{json.dumps(page_text)}'
    photo, scan = folder / "photo.jpg", folder / "photo.png"
    return {
        "photo-12mp": _picture(
            "12 MP JPEG, `/predict`", "/predict", photo, digit, "photo", Goal(1.2, PILLOW)
        ),
        "photo-2mp": _picture(
            "2 MP PNG, `/predict`", "/predict", scan, digit, "photo", Goal(1.5, OPENCV)
        ),
        "page": _picture(
            "A4 300 dpi PNG with 40 digits, `/read`",
            "/read",
            folder / "page.png",
            page,
            "page",
            Goal(1.3, OPENCV),
        ),
        "folder": Case(
            (Line(f"`digitscope read`, {FILES:,} small files, each", CPU, "ms", Goal(2, TWO)),),
            lambda checkout: _read(folder / "digits", checkout),
            [_two_processes(folder / "digits")],
        ),
    }


def _picture(title: str, path: str, file: Path, expected: str, kind: str, goal: Goal) -> Case:
    body = Body("image/jpeg" if file.suffix == ".jpg" else "image/png", file.read_bytes())
    python = make_environment(OPENCV_PACKAGES)
    return Case(
        (Line(title, CPU, "ms", goal),),
        lambda checkout: asked(digitscope(checkout), path, body, expected, count=16),
        [
            repeated(OPENCV, "pictures.py", kind, file, count=15, python=python),
            repeated(PILLOW, "pictures.py", "pillow", file, count=15, python=python),
        ],
    )


def _read(files: Path, checkout: Path) -> Contestant:
    words = [sys.executable, "-m", "digitscope", "read", str(files), "--out"]
    return command("digitscope", words, checkout, _output, per=FILES)


def _two_processes(files: Path) -> Contestant:
    words = [sys.executable, "folder.py", str(files)]
    return command(TWO, words, PEERS, _output, per=FILES)


@contextmanager
def _output() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder, "out.csv")
