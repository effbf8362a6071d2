"""Runs the models for the inference protocols: finds the version, recognises pixels or files."""

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

# OpenAPI description of the path parameter that `VersionDep` reads by hand.
VERSION_PARAMETER: dict[str, Any] = {
    "name": "version",
    "in": "path",
    "required": True,
    "description": "The version that is served, such as `3`; another version gives 404.",
    "schema": {"type": "string"},
}


async def _version(request: Request) -> str | None:
    return request.path_params.get("version")


VersionDep = Annotated[str | None, Depends(_version)]  # None if the path has no version


async def find_model(service: Service, name: str, version: str | None) -> Model:
    """Return a model, if it is served in this version.

    Args:
        service: The service.
        name: Name of the model.
        version: The version that the client asks for, or None for any.

    Raises:
        NotFoundError: There is no such model, or it is served in another version.
        NotReadyError: The model is being compiled, or could not be loaded.
        QueueFullError: The model must be loaded, and too many loads are waiting.
    """
    model = await service.model(name)
    served = str(model.bundle.metadata.version)
    if version is not None and version != served:
        raise NotFoundError(
            f"The model {name!r} has no version {version!r}; it is served in version {served}.",
            valid=[served],
        )
    return model


async def recognise_pixels(
    request: Request, service: Service, model: Model, pixels: Pixels
) -> NDArray[np.float32]:
    """Return probabilities `[N, 10]` for pixels `[N, 28, 28]`, which are not prepared."""
    options = Options(preprocess="none")
    parts = await service.recognise_many(
        pixels, model, options, _probabilities, disconnected=disconnected(request)
    )
    return np.concatenate(parts)


async def recognise_files(
    request: Request, service: Service, model: Model, files: Sequence[bytes]
) -> NDArray[np.float32]:
    """Return probabilities `[N, 10]` for image files, which are prepared.

    Raises:
        DigitscopeError: The error of the first unreadable file, with its index in the message.
    """
    options = service.file_options
    parts = await service.recognise_many(
        list(files), model, options, lambda result: result, disconnected=disconnected(request)
    )
    before = 0  # files in earlier parts, all readable
    for part in parts:
        for index, error in part.errors.items():
            error.detail = f"Element {before + index}: {error.detail}"
            raise error
        before += len(part.predictions)
    return np.concatenate([_probabilities(part) for part in parts])


def _probabilities(result: BatchResult) -> NDArray[np.float32]:
    return result.predictions.probabilities
