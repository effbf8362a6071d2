"""Chooses the format of a response, from the query parameter `format` or the Accept header.

Also builds responses in the binary formats: npy, npz and PNG.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from app.web.quality_values import parse_weighted

NPY, NPZ, PNG, JSON = "application/x-npy", "application/x-npz", "image/png", "application/json"
MAP = "application/vnd.digitscope.map"  # of `app.web.responses.activation_map`
TYPES = {"npy": NPY, "npz": NPZ, "png": PNG, "json": JSON, "map": MAP}
PictureFormat = Literal["json", "npy", "png"]  # of routes that answer with one picture
BINARY_SCHEMA = {"type": "string", "format": "binary"}  # OpenAPI schema of a binary body


def choose(request: Request, requested: str | None, offered: Sequence[str]) -> str:
    """Return the format of the response.

    Args:
        request: Its Accept header counts if `requested` is None.
        requested: Value of the query parameter `format`, already checked, or None.
        offered: The formats of the route, keys of `TYPES`, the default first.

    Returns:
        One of `offered`: the default if the client accepts none of them.
    """
    if requested:
        return requested
    accepted = parse_weighted(request.headers.get("accept", ""))
    for media_type, quality in sorted(accepted, key=lambda pair: -pair[1]):
        if media_type == "*/*" or quality == 0:
            continue
        for name in offered:
            if TYPES[name] == media_type:
                return name
    return offered[0]


def responses(*names: str, map_head: str = "MapHead") -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI `responses` of a route that also answers in these binary formats.

    Args:
        *names: Keys of `TYPES`.
        map_head: Schema of the JSON with which a map starts.
    """
    head = {"contentSchema": {"$ref": f"#/components/schemas/{map_head}"}}
    schemas = {TYPES[name]: {**BINARY_SCHEMA, **(head if name == "map" else {})} for name in names}
    return {200: {"content": {name: {"schema": schema} for name, schema in schemas.items()}}}


def npy(values: np.ndarray[Any, Any], headers: Mapping[str, str] | None = None) -> Response:
    """Return a response that is one array as an npy file."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(values), allow_pickle=False)
    return Response(stream.getvalue(), media_type=NPY, headers=dict(headers or {}))


def npz(arrays: Mapping[str, np.ndarray[Any, Any]]) -> Response:
    """Return a response that is several named arrays as an npz file.

    The file is not compressed: floats hardly shrink.
    """
    stream = io.BytesIO()
    # Not np.savez: it takes the names as keyword arguments, and a layer may be called "file".
    with zipfile.ZipFile(stream, "w") as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)
    return Response(stream.getvalue(), media_type=NPZ)


def png(content: bytes, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response that is a PNG image."""
    return Response(content, media_type=PNG, headers=dict(headers or {}))
