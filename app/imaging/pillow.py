"""Pillow's settings for untrusted files, and the exceptions that it raises for damaged ones."""

import logging
import struct
import warnings

from PIL import Image

# Pillow warns of each damaged tag of a file, which may have a hundred thousand; some of its lines
# quote the file. What matters of a file is in the answer to its sender.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.ERROR)

# `file_structure` counts the pixels before anything is decoded. Pillow's own limit would warn or
# raise at a size of its own.
Image.MAX_IMAGE_PIXELS = None

# Everything that Pillow and its plugins raise for a damaged file; found by fuzzing
# (tests/imaging/test_decode.py).
PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
    RuntimeError,
    struct.error,
)
