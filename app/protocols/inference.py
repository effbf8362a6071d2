"""Runs the models for the inference protocols: finds the version, recognises pixels or files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np
from fastapi import Depends
from numpy.typing import NDArray
from starlette.requests import Request

from app.bundle import Bundle
from app.cancellation import Disconnected
from app.errors import DigitscopeError, NotFoundError
from app.inference.model import Model
from app.inference.runtime import Pixels
from app.predictions import BatchResult, InputSummary
from app.recognise import Images, Options, Preprocess
from app.web.service import Service

# OpenAPI description of the path parameter that `VersionDep` reads by hand.
VERSION_PARAMETER: dict[str, Any] = {
    "name": "version",
    "in": "path",
    "required": True,
    "description": "The version that is served, such as `3`; another version gives 404.",
    "schema": {"type": "string"},
}


_UNPREPARED = Options(preprocess="none")
MAX_NAMED = 5  # images that a warning names; it counts the others


@dataclass(frozen=True)
class Recognised:
    """The answers of a model for a batch of `N` images.

    Attributes:
        probabilities: float32 `[N, classes]`.
        warnings: Sentences on what may make answers wrong, each with the images it is about.
    """

    probabilities: NDArray[np.float32]
    warnings: list[str]


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


async def recognise(
    service: Service,
    model: Model,
    pixels: Pixels | None,
    files: Sequence[bytes],
    preprocess: Preprocess,
    *,
    disconnected: Disconnected,
    client: object,
) -> Recognised:
    """Return the answers for the images of a request.

    Args:
        service: The service.
        model: The network.
        pixels: `[N, 28, 28]`, or None if the request has files.
        files: Image files, which are always prepared.
        preprocess: Whether pixels are prepared.
        disconnected: Returns once the client has gone.
        client: Identifies the client's connection.

    Raises:
        DigitscopeError: The error of the first image that cannot be read, with its index in the
            message.
    """
    images: Images = list(files)
    options = service.file_options
    if pixels is not None:
        if preprocess == "auto":
            pixels = np.rint(pixels).astype(np.uint8)
        else:
            options = _UNPREPARED
        few = await service.recognise_few(pixels, model, options, _probabilities, client=client)
        if few is not None:
            probabilities, summaries = few
            warnings = _images_by_warning(summaries)
            return Recognised(probabilities, [_about(*item) for item in warnings.items()])
        images = pixels
    parts = await service.recognise_many(
        images, model, options, _columns, disconnected=disconnected
    )
    before = 0  # images in earlier parts, all readable
    warnings = {}
    for part in parts:
        for index, error in part.errors.items():
            error.detail = f"Element {before + index}: {error.detail}"
            raise error
        for warning, indices in part.warnings.items():
            warnings.setdefault(warning, []).extend(before + index for index in indices)
        before += len(part.probabilities)
    probabilities = np.concatenate([part.probabilities for part in parts])
    return Recognised(probabilities, [_about(*item) for item in warnings.items()])


class _Columns(NamedTuple):
    """What a response needs of a part of a batch: also the indices of the images of a warning."""

    probabilities: NDArray[np.float32]
    warnings: dict[str, list[int]]
    errors: dict[int, DigitscopeError]


def _columns(result: BatchResult) -> _Columns:
    probabilities, warnings = result.predictions.probabilities, _images_by_warning(result.summaries)
    return _Columns(probabilities, warnings, result.errors)


def _probabilities(result: BatchResult, bundle: Bundle) -> NDArray[np.float32]:
    return result.predictions.probabilities


def _images_by_warning(summaries: Sequence[InputSummary]) -> dict[str, list[int]]:
    """Return the indices of the images of each warning."""
    warnings: dict[str, list[int]] = {}
    for index, summary in enumerate(summaries):
        for warning in summary.warnings:
            warnings.setdefault(warning, []).append(index)
    return warnings


def _about(warning: str, indices: Sequence[int]) -> str:
    """Return a warning with the indices of its images."""
    named = ", ".join(map(str, indices[:MAX_NAMED]))
    more = f" and {len(indices) - MAX_NAMED} more" if len(indices) > MAX_NAMED else ""
    return f"{'Images' if len(indices) > 1 else 'Image'} {named}{more}: {warning}"
