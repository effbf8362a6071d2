"""Which form of an answer a client wants: `format=`, or else the Accept header."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

NPY, NPZ, PNG, JSON = "application/x-npy", "application/x-npz", "image/png", "application/json"
TYPES = {"npy": NPY, "npz": NPZ, "png": PNG, "json": JSON}
BINARY_SCHEMA = {"type": "string", "format": "binary"}  # OpenAPI schema of a binary body


def choose(request: Request, asked: str | None, offered: Sequence[str]) -> str:
    """Return the form to answer in.

    Args:
        request: Its Accept header counts where nothing is asked for by name.
        asked: What `format=` says.
        offered: The forms there are, the default first.

    Returns:
        One of `offered`. A client that accepts none of them gets the first.
    """
    if asked:
        return asked
    accepted: list[tuple[float, str]] = []
    for entry in request.headers.get("accept", "").split(","):
        kind, _, parameters = entry.partition(";")
        accepted.append((_quality(parameters), kind.strip().lower()))
    for quality, kind in sorted(accepted, key=lambda pair: -pair[0]):
        if kind == "*/*" or quality == 0:
            continue
        for form in offered:
            if TYPES[form] == kind:
                return form
    return offered[0]


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    try:
        return float(value) if name == "q" else 1.0
    except ValueError:
        return 1.0


def responses(*forms: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` entry of a route that also answers in these binary forms."""
    return {200: {"content": {TYPES[form]: {"schema": BINARY_SCHEMA} for form in forms}}}


def npy(values: np.ndarray[Any, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Answer with one array."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(values), allow_pickle=False)
    return Response(stream.getvalue(), media_type=NPY, headers=dict(headers or {}))


def npz(arrays: Mapping[str, np.ndarray[Any, Any]]) -> Response:
    """Answer with several arrays by name, uncompressed: floats hardly shrink."""
    stream = io.BytesIO()
    # Not by np.savez, which takes names as keyword arguments and has some of its own.
    with zipfile.ZipFile(stream, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)
    return Response(stream.getvalue(), media_type=NPZ)


def png(content: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a picture."""
    return Response(content, media_type=PNG, headers=dict(headers or {}))
