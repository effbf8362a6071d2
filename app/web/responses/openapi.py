"""The OpenAPI document: bodies that are read by hand, worked examples, every error.

The examples are real: the bodies are digits of MNIST, and the answers shown are those that the
default model of this very process gives to them.
"""

import base64
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app import errors as tree
from app.imaging.formats import FORMAT_NAMES
from app.imaging.polarity import Polarity
from app.inference.registry import Registry
from app.inspection.activations import Scale
from app.inspection.attribution import Method
from app.recognise import Options, Preprocess, recognise
from app.samples import sample_pixels, sample_png
from app.verdict import Verdict
from app.web.http.auth import OPEN_PATHS
from app.web.http.problem_details import MEDIA_TYPE, PROTOCOLS
from app.web.requests.images import IMAGE_TYPES, NPY_TYPE
from app.web.requests.json_images import JSON_TYPE, ImageJson
from app.web.requests.multipart import FORM_TYPE
from app.web.responses.content_negotiation import BINARY_SCHEMA
from app.web.responses.predictions import prediction_answer
from app.web.schemas.predictions import Precision
from app.web.schemas.problem import Problem
from app.web.schemas.protocols import InferenceRequest, PredictRequest, ProtocolError

_PLACE = "#/components/schemas/"


def _named(name: str) -> dict[str, Any]:
    return {"$ref": f"{_PLACE}{name}"}


_IMAGE, _PROBLEM = _named("Image"), _named("Problem")
_FILE = {**BINARY_SCHEMA, "description": "An image."}
_FILES = {"type": "array", "items": BINARY_SCHEMA, "description": "Images, in order."}
_FORMS: Mapping[str, Mapping[str, Any]] = {
    "ImageForm": {"type": "object", "required": ["file"], "properties": {"file": _FILE}},
    "ImagesForm": {"type": "object", "required": ["files"], "properties": {"files": _FILES}},
    "ComparisonForm": {"type": "object", "properties": {"files": _FILES, "file": _FILE}},
}
# What the code knows as a few literals is one schema of the document, wherever it stands.
_CHOICES: Mapping[tuple[str, ...], str] = {
    get_args(Polarity): "Polarity",
    get_args(Preprocess): "Preprocess",
    get_args(Verdict): "Verdict",
    get_args(Scale): "Scale",
    get_args(Method): "ExplanationMethod",
    get_args(Precision): "Precision",
}
_ADMIN = "admin token"
ADMIN: dict[str, Any] = {"security": [{_ADMIN: []}]}  # `openapi_extra` of the operator's routes
EXAMPLE_DIGITS = (7, 3)  # as base64 and as pixels

# An error of each kind as a client meets it: class and detail.
_EXAMPLES: dict[str, tuple[type[tree.DigitscopeError], str]] = {
    "not-an-image": (
        tree.UndecodableError,
        f"The body is no image: expected {FORMAT_NAMES}.",
    ),
    "not-json": (
        tree.UndecodableError,
        "The body is no valid JSON: Invalid JSON: EOF while parsing at line 1 column 9.",
    ),
    "unknown-model": (tree.NotFoundError, "There is no model 'clasic'."),
    "unknown-layer": (
        tree.NotFoundError,
        "There is no layer 'conv_9'; give a name, or an index from 0 to 25.",
    ),
    "unsupported-layer": (
        tree.UnsupportedLayerError,
        "The arithmetic of the layer 'norm' (LayerNormalization) is not known to the service.",
    ),
    "too-large": (tree.TooLargeError, "The body has 9000000 bytes; at most 5242880 are accepted."),
    "too-many": (
        tree.TooLargeError,
        "The batch has 2000 images; at most 1024 are accepted. Send them in several requests.",
    ),
    "media-type": (
        tree.UnsupportedMediaTypeError,
        "The Content-Type 'text/plain' is not supported here; expected one of"
        " multipart/form-data, application/json, application/x-npy.",
    ),
    "wrong-shape": (
        tree.InvalidInputError,
        "Expected a uint8 array [28, 28], got float64 [28, 28].",
    ),
    "bad-parameter": (
        tree.InvalidInputError,
        "Bad parameters: query.preprocess: Input should be 'auto' or 'none'.",
    ),
    "blank": (
        tree.BlankImageError,
        "No ink was found: the image is blank or has too little contrast.",
    ),
    "empty-batch": (
        tree.InvalidInputError,
        "The batch is empty: expected 'files' fields, a JSON list or an array.",
    ),
    "not-ready": (
        tree.NotReadyError,
        "The model 'classic' (version 1) is being compiled; try again in a few seconds.",
    ),
    "stalled": (tree.StalledError, "No prediction came out for 61 s, and some wait."),
    "damaged-bundle": (
        tree.BundleError,
        "model/classic/model.tflite is not the file that metadata.json describes.",
    ),
    "key": (
        tree.UnauthorisedError,
        "This route needs the admin token: send 'Authorization: Bearer TOKEN'.",
    ),
    "api-key": (
        tree.UnauthorisedError,
        "This service needs an API key: send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.",
    ),
    "too-often": (
        tree.RateLimitError,
        "At most 20 requests a second are answered; try again in 0.05 s.",
    ),
    "bad-timeout": (
        tree.InvalidInputError,
        "The header X-Request-Timeout is 'soon'; expected seconds, more than 0.",
    ),
    "busy": (
        tree.QueueFullError,
        "The queue is full: 66 requests are running or waiting; try again in a second.",
    ),
    "late": (tree.DeadlineError, "No answer within 10 s; send less at once, or try again later."),
}
_ALWAYS = ("not-an-image", "not-json", "unknown-model", "too-large", "media-type", "bad-parameter")
_LOADED = ("not-ready", "busy", "late")
# What may come before a route is asked at all; of the probes without the first two.
_ANYWHERE = ("api-key", "too-often", "bad-timeout", "late")


def errors(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can fail in these ways, each with a worked example."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        error, detail = _EXAMPLES[kind]
        document = {
            "type": f"urn:digitscope:problem:{error.slug}",
            "title": error.title,
            "status": error.status,
            "detail": detail,
            "instance": "/predict",
            "request_id": "5f0c9a3e8b7d4c21a6e4f0b1d2c3a495",
        }
        entry = responses.setdefault(
            error.status,
            {
                "description": error.title,
                "content": {MEDIA_TYPE: {"schema": _PROBLEM, "examples": {}}},
            },
        )
        entry["content"][MEDIA_TYPE]["examples"][kind] = {"summary": kind, "value": document}
    return responses


def image_errors(*more: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that takes one image, and may fail in more ways."""
    return errors(*_ALWAYS, *more, "wrong-shape", "blank", *_LOADED)


def batch_errors() -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that takes many images."""
    return errors(*_ALWAYS, "too-many", "empty-batch", *_LOADED)


def protocol_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a protocol's route, whose errors are `{"error": ...}`."""
    example = {"error": "There is no model 'clasic'."}
    schema = _named("ProtocolError")
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": schema, "example": example}},
        }
        for status in statuses
    }


def oip_body(*parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the request of the Open Inference Protocol, with a digit as its example."""
    pixels = sample_pixels(EXAMPLE_DIGITS[0])
    tensor = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8"}
    example = {"inputs": [{**tensor, "data": pixels.reshape(-1).tolist()}]}
    content = {
        JSON_TYPE: {"schema": _named("InferenceRequest"), "example": example},
        "application/octet-stream": {"schema": BINARY_SCHEMA},
    }
    length = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "required": False,
        "description": "Length of the JSON in front of binary tensors; 0: the body is one tensor.",
        "schema": {"type": "integer", "minimum": 0},
    }
    return {
        "parameters": [*parameters, length],
        "requestBody": {"required": True, "content": content},
    }


def tfserving_body(*parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the request of TensorFlow Serving, in row format, with an image file."""
    file = base64.b64encode(sample_png(EXAMPLE_DIGITS[0])).decode()
    content = {
        JSON_TYPE: {
            "schema": _named("PredictRequest"),
            "example": {"instances": [{"b64": file}]},
        }
    }
    return {
        "parameters": list(parameters),
        "requestBody": {"required": True, "content": content},
    }


def one_image_body() -> dict[str, Any]:
    """Return the request body of a route that takes one image, the file chooser first."""
    png, pixels = _example(EXAMPLE_DIGITS[0], "image"), _example(EXAMPLE_DIGITS[1], "pixels")
    content: dict[str, Any] = {
        FORM_TYPE: {"schema": _named("ImageForm")},
        JSON_TYPE: {"schema": _IMAGE, "examples": {**png, **pixels}},
    }
    # Any file last: where several types are one to a generator, its clients send the last.
    content |= {kind: {"schema": BINARY_SCHEMA} for kind in (NPY_TYPE, *IMAGE_TYPES)}
    return {"requestBody": {"required": True, "content": content}}


def many_images_body() -> dict[str, Any]:
    """Return the request body of a route that takes many images."""
    listed = [_example(digit, "image")[f"a {digit} as image"]["value"] for digit in EXAMPLE_DIGITS]
    content = {
        FORM_TYPE: {"schema": _named("ImagesForm")},
        JSON_TYPE: {"schema": {"type": "array", "items": _IMAGE}, "example": listed},
        NPY_TYPE: {"schema": BINARY_SCHEMA},
    }
    return {"requestBody": {"required": True, "content": content}}


def two_images_body() -> dict[str, Any]:
    """Return the request body of a route that takes two images, or one for two models."""
    one, two = (made["requestBody"]["content"] for made in (one_image_body(), many_images_body()))
    either = [one[JSON_TYPE]["schema"], two[JSON_TYPE]["schema"]]
    content = {
        **one,
        FORM_TYPE: {"schema": _named("ComparisonForm")},
        JSON_TYPE: {**two[JSON_TYPE], "schema": {"anyOf": either}},
    }
    return {"requestBody": {"required": True, "content": content}}


def _example(digit: int, form: str) -> dict[str, Any]:
    png = sample_png(digit)
    value: dict[str, Any] = {"image": base64.b64encode(png).decode()}
    if form == "pixels":
        value = {"pixels": sample_pixels(digit).tolist()}
    return {
        f"a {digit} as {form}": {"summary": f"A handwritten {digit}, as {form}", "value": value}
    }


def install(app: FastAPI, registry: Callable[[], Registry | None]) -> None:
    """Make an app publish its document, with real answers once `registry` returns the models."""

    def document() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        made = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        schemas = made["components"]["schemas"]
        schemas |= _FORMS
        for model in (ImageJson, Problem, ProtocolError, InferenceRequest, PredictRequest):
            schema = model.model_json_schema(ref_template=f"{_PLACE}{{model}}")
            found = {schema["title"]: schema, **schema.pop("$defs", {})}
            for each in found.values():
                _drop_null_defaults(each)
            schemas |= found
        made["components"]["securitySchemes"] = {
            _ADMIN: {"type": "http", "scheme": "bearer", "description": "DIGITSCOPE_ADMIN_TOKEN"}
        }
        _drop_framework_errors(made)
        _add_what_comes_anywhere(made)
        _name_choices(made)
        if models := registry():
            _show_real_answers(made, models)
            app.openapi_schema = made
        return made

    app.openapi = document  # type: ignore[method-assign]


def _drop_framework_errors(made: dict[str, Any]) -> None:
    """Remove the 422 that FastAPI adds to routes with parameters: ours have another form."""
    for name in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(name, None)
    for operations in made["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422", "")):
                del operation["responses"]["422"]


def _add_what_comes_anywhere(made: dict[str, Any]) -> None:
    """Add to every route the errors of keys, rates and deadlines."""
    for path, operations in made["paths"].items():
        found = errors(*_ANYWHERE[2 * (path in OPEN_PATHS) :])
        if PROTOCOLS.match(path):
            found = protocol_errors(*(int(status) for status in found))
        for operation in operations.values():
            for status, response in found.items():
                operation["responses"].setdefault(str(status), response)


def _drop_null_defaults(schema: dict[str, Any]) -> None:
    """Leave no default of null: generators take a member with a default as always there."""
    for member in schema["properties"].values():
        if "default" in member and member["default"] is None:
            del member["default"]


def _name_choices(made: dict[str, Any]) -> None:
    """Put each set of choices in one place, and a reference to it wherever it stands."""

    def visit(at: Any) -> None:
        for part in at.values() if isinstance(at, dict) else at:
            if not isinstance(part, dict | list):
                continue
            if isinstance(part, dict):
                name = _CHOICES.get(tuple(part.get("enum", ())))
                if name:
                    for key in ("enum", "type", "title"):
                        part.pop(key, None)
                    part |= _named(name)
            visit(part)

    visit(made)
    for choices, name in _CHOICES.items():
        made["components"]["schemas"][name] = {"type": "string", "enum": list(choices)}


def _show_real_answers(made: dict[str, Any], models: Registry) -> None:
    try:
        model = models.get(None)
    except tree.NotReadyError:
        return
    answers = {
        digit: (
            prediction_answer(
                recognise(sample_png(digit), model, Options()), model.bundle
            ).model_dump(mode="json")
        )
        for digit in EXAMPLE_DIGITS
    }
    one = made["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]
    one["examples"] = {
        f"a {digit}": {"summary": f"A handwritten {digit}", "value": value}
        for digit, value in answers.items()
    }
    many = made["paths"]["/predict/batch"]["post"]["responses"]["200"]["content"][
        "application/json"
    ]
    many["example"] = list(answers.values())
