"""What the protocols ask of a model: digits by the thousand, or image files, in the fast lane."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import Depends
from numpy.typing import NDArray
from starlette.requests import Request

from app.errors import NotFoundError
from app.inference.model import Model
from app.inference.runtime import Pixels
from app.predictions import BatchResult
from app.recognise import Options
from app.web.http.disconnect import disconnected
from app.web.service import Service

# What the document says of a path's version, which `VersionDep` reads.
VERSION: dict[str, Any] = {
    "name": "version",
    "in": "path",
    "required": True,
    "description": "The version that is served.",
    "schema": {"type": "string"},
}


async def _version(request: Request) -> str | None:
    return request.path_params.get("version")


VersionDep = Annotated[str | None, Depends(_version)]  # None where the path names no version


async def find_model(service: Service, name: str, version: str | None) -> Model:
    """Return a model in the version that is served.

    Raises:
        NotFoundError: There is no such model, or it is served in another version.
        NotReadyError: It is not loaded.
    """
    model = await service.model(name)
    served = str(model.bundle.metadata.version)
    if version is not None and version != served:
        raise NotFoundError(
            f"The model {name!r} has no version {version!r}; it is served in version {served}.",
            valid=[served],
        )
    return model


async def read_digits(
    request: Request, service: Service, model: Model, pixels: Pixels
) -> NDArray[np.float32]:
    """Return probabilities `[N, 10]` of digits `[N, 28, 28]` as they are, without preparation."""
    options = Options(preprocess="none")
    parts = await service.recognise_many(
        pixels, model, options, _probabilities, disconnected=disconnected(request)
    )
    return np.concatenate(parts)


async def read_files(
    request: Request, service: Service, model: Model, files: Sequence[bytes]
) -> NDArray[np.float32]:
    """Return probabilities `[N, 10]` of image files, which are prepared.

    Raises:
        DigitscopeError: The first error that some file gives, with its place.
    """
    options = Options(max_pixels=service.max_pixels)
    parts = await service.recognise_many(
        list(files), model, options, lambda result: result, disconnected=disconnected(request)
    )
    before = 0
    for part in parts:
        for place, error in part.errors.items():
            error.detail = f"Element {before + place}: {error.detail}"
            raise error
        before += len(part.predictions)
    return np.concatenate([_probabilities(part) for part in parts])


def _probabilities(found: BatchResult) -> NDArray[np.float32]:
    return found.predictions.probabilities
