"""Decode many PNGs with Pillow and run them with LiteRT in batches: `python many.py FILE COUNT`."""

import io
import sys
from pathlib import Path

import numpy as np
from digits import Digits
from loop import repeat
from PIL import Image

CONTENT, COUNT, BATCH = Path(sys.argv[1]).read_bytes(), int(sys.argv[2]), 32
digits = Digits()


def read() -> str:
    """Return the digits."""
    images = [np.asarray(Image.open(io.BytesIO(CONTENT)).convert("L")) for _ in range(COUNT)]
    parts = [np.stack(images[at : at + BATCH]) for at in range(0, COUNT, BATCH)]
    return "".join(map(str, np.concatenate([digits.probabilities(p).argmax(1) for p in parts])))


if __name__ == "__main__":
    repeat(read)
