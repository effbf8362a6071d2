"""Documents the error responses of every route, each with an example.

A route names the kinds of error that it can answer with; this module turns them into the
`responses` argument of FastAPI's route decorators.
"""

from http import HTTPStatus
from typing import Any

from app import errors
from app.imaging.formats import FORMAT_NAMES
from app.web.http.problem_details import MEDIA_TYPE

# One example for each kind of error: its class and its message.
_EXAMPLES: dict[str, tuple[type[errors.DigitscopeError], str]] = {
    "not-an-image": (
        errors.UndecodableError,
        f"The image cannot be read: expected {FORMAT_NAMES}, got a PDF.",
    ),
    "not-json": (
        errors.UndecodableError,
        "The body is no valid JSON: Invalid JSON: EOF while parsing at line 1 column 9.",
    ),
    "unknown-model": (errors.NotFoundError, "There is no model 'clasic'."),
    "unknown-layer": (
        errors.NotFoundError,
        "There is no layer 'conv_9'; give a name, or an index from 0 to 25.",
    ),
    "unsupported-layer": (
        errors.UnsupportedLayerError,
        "The service does not support the arithmetic of the layer 'norm' (LayerNormalization).",
    ),
    "slow-body": (
        errors.BodyTimeoutError,
        "The body arrives too slowly: 4000 bytes in 5 s; expected at least 8000 per second.",
    ),
    "memory": (
        errors.MemoryBudgetError,
        "The service holds 190 MiB of bodies, of at most 192 MiB; try again in a second.",
    ),
    "too-large": (
        errors.TooLargeError,
        "The body has 9000000 bytes; at most 5242880 are accepted.",
    ),
    "too-many": (
        errors.TooLargeError,
        "The batch has 2000 images; at most 1024 are accepted. Send them in several requests.",
    ),
    "media-type": (
        errors.UnsupportedMediaTypeError,
        "The Content-Type 'text/plain' is not supported here; expected one of"
        " multipart/form-data, application/json, application/x-npy.",
    ),
    "wrong-shape": (
        errors.InvalidInputError,
        "Expected a uint8 array [28, 28], got float64 [28, 28].",
    ),
    "bad-parameter": (
        errors.InvalidInputError,
        "Bad parameters: query.preprocess: Input should be 'auto' or 'none'.",
    ),
    "blank": (
        errors.BlankImageError,
        "No ink was found: the image shows nothing but ruled lines or noise.",
    ),
    "empty-batch": (
        errors.InvalidInputError,
        "The batch is empty: expected form fields named 'files', a JSON list of images, or an npy"
        " array [N, 28, 28].",
    ),
    "not-ready": (
        errors.NotReadyError,
        "The model 'classic' (version 1) is being compiled; try again in a few seconds.",
    ),
    "stalled": (
        errors.StalledError,
        "No prediction has finished for 61 s, although requests are waiting.",
    ),
    "unknown-label": (
        errors.InvalidInputError,
        "The model 'compact' has no class 'seven'; expected the name of a class, or 'not-a-digit'.",
    ),
    "several-digits": (
        errors.InvalidInputError,
        'The image seems to show 3 digits; POST /read reads "472". A correction is of one digit, so'
        " nothing was stored. Cut the digit out and send it alone.",
    ),
    "unknown-correction": (
        errors.NotFoundError,
        "There is no correction '5f0c9a3e8b7d4c21a6e4f0b1d2c3a495'.",
    ),
    "storage": (
        errors.StorageError,
        "The folder of corrections cannot be changed: No space left on device. Nothing was stored"
        " or deleted.",
    ),
    "storage-full": (
        errors.StorageFullError,
        "The folder of corrections is full: it holds 10000 pictures and 45878000 bytes, of at most"
        " 10000 and 67108864. Nothing was stored. Delete corrections, or ask the operator to empty"
        " the folder.",
    ),
    "damaged-bundle": (
        errors.BundleError,
        "model/classic/model.tflite is not the file that was published: expected SHA-256 9f86d081,"
        " got 60303ae2 (1024 bytes). Restore it, or train the model again.",
    ),
    "key": (
        errors.UnauthorisedError,
        "This route needs the admin token: send 'Authorization: Bearer TOKEN'.",
    ),
    "api-key": (
        errors.UnauthorisedError,
        "This service needs an API key: send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.",
    ),
    "too-often": (
        errors.RateLimitError,
        "At most 20 requests a second are answered; try again in 0.05 s.",
    ),
    "bad-timeout": (
        errors.InvalidInputError,
        "The header X-Request-Timeout is 'soon'; expected seconds, more than 0.",
    ),
    "busy": (
        errors.QueueFullError,
        "The queue is full: 66 requests are running or waiting. Try again in 1 s.",
    ),
    "late": (errors.DeadlineError, "No answer within 10 s; send less at once, or try again later."),
}
_BODY_ERRORS = (
    "not-an-image",
    "not-json",
    "unknown-model",
    "slow-body",
    "memory",
    "too-large",
    "media-type",
    "bad-parameter",
)
_MODEL_ERRORS = ("not-ready", "busy", "late")
# Errors of the middleware, which any route may answer with. The probes need no key and have no
# rate limit.
_TIMEOUT_ERRORS = ("bad-timeout", "late")
_MIDDLEWARE_ERRORS = ("api-key", "too-often", *_TIMEOUT_ERRORS)


def error_responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can answer with these kinds of error.

    Args:
        kinds: Keys of the examples in this module, such as `unknown-model`.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        error, detail = _EXAMPLES[kind]
        problem = {
            "type": f"urn:digitscope:problem:{error.slug}",
            "title": error.title,
            "status": error.status,
            "detail": detail,
            "instance": "/predict",
            "request_id": "5f0c9a3e8b7d4c21a6e4f0b1d2c3a495",
        }
        schema = {"$ref": "#/components/schemas/Problem"}
        response = responses.setdefault(
            error.status,
            {
                "description": error.title,
                "content": {MEDIA_TYPE: {"schema": schema, "examples": {}}},
            },
        )
        response["content"][MEDIA_TYPE]["examples"][kind] = {"summary": kind, "value": problem}
    return responses


def image_error_responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that takes one image; `kinds` adds errors of its own."""
    return error_responses(*_BODY_ERRORS, *kinds, "wrong-shape", "blank", *_MODEL_ERRORS)


def batch_error_responses() -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that takes many images."""
    return error_responses(*_BODY_ERRORS, "too-many", "empty-batch", *_MODEL_ERRORS)


def middleware_error_responses(*, is_probe: bool) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` that the middleware adds to every route."""
    return error_responses(*(_TIMEOUT_ERRORS if is_probe else _MIDDLEWARE_ERRORS))


def protocol_error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a protocol's route, whose errors are `{"error": "..."}`."""
    schema = {"$ref": "#/components/schemas/ProtocolError"}
    example = {"error": "There is no model 'clasic'."}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": schema, "example": example}},
        }
        for status in statuses
    }
