"""Every body form of an image, as keyword arguments of an HTTP client."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode(pixels: NDArray[np.uint8], image_format: str = "PNG") -> bytes:
    """Return grey pixels as an image file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(
        stream,
        format=image_format,
        **({"lossless": True} if image_format.upper() == "WEBP" else {}),
    )
    return stream.getvalue()


def npy(values: NDArray[np.generic]) -> bytes:
    """Return an array as a .npy file."""
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def every_form(pixels: NDArray[np.uint8]) -> dict[str, dict[str, Any]]:
    """Return every lossless body form of `pixels` `[28, 28]`, by name."""
    png = encode(pixels)
    text = base64.b64encode(png).decode()
    files = {
        kind: encode(pixels, kind.removeprefix("image/"))
        for kind in ("image/png", "image/webp", "image/bmp", "image/gif", "image/tiff")
    }
    return {
        "multipart": {"files": {"file": ("digit.png", png, "image/png")}},
        "multipart without a type": {"files": {"file": ("digit", png)}},
        "octet-stream": {"content": png, "headers": {"Content-Type": "application/octet-stream"}},
        "no type": {"content": png},
        "json base64": {"json": {"image": text}},
        "json data URL": {"json": {"image": f"data:image/png;base64,{text}"}},
        "json pixels": {"json": {"pixels": pixels.tolist()}},
        "npy": {"content": npy(pixels), "headers": {"Content-Type": "application/x-npy"}},
        "npy, column order": {
            "content": npy(np.asfortranarray(pixels)),
            "headers": {"Content-Type": "application/x-npy"},
        },
        **{
            kind: {"content": file, "headers": {"Content-Type": kind}}
            for kind, file in files.items()
        },
    }
