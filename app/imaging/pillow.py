"""Pillow's settings for untrusted files, and the exceptions that it raises for damaged ones."""

import struct

from PIL import Image

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
