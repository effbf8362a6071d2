"""Documents the request bodies that routes read by hand, with examples that can be sent unchanged.

Each function returns the `openapi_extra` argument of FastAPI's route decorators.
"""

import base64
from collections.abc import Mapping
from typing import Any

from app.samples import sample_pixels, sample_png
from app.web.requests.images import IMAGE_TYPES, NPY_TYPE
from app.web.requests.json_images import JSON_TYPE
from app.web.requests.multipart import FORM_TYPE
from app.web.responses.content_negotiation import BINARY_SCHEMA

SCHEMAS_PATH = "#/components/schemas/"
ADMIN_SCHEME = "AdminToken"  # name of the security scheme
ADMIN_SECURITY: dict[str, Any] = {"security": [{ADMIN_SCHEME: []}]}  # for the operator's routes
EXAMPLE_DIGITS = (7, 3)  # the first is shown as base64, the second as pixels


def schema_ref(name: str) -> dict[str, Any]:
    """Return a reference to a schema of the document."""
    return {"$ref": f"{SCHEMAS_PATH}{name}"}


_FILE = {**BINARY_SCHEMA, "description": "An image file."}
_FILES = {"type": "array", "items": BINARY_SCHEMA, "description": "Image files, in order."}
FORM_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "ImageForm": {"type": "object", "required": ["file"], "properties": {"file": _FILE}},
    "ImagesForm": {"type": "object", "required": ["files"], "properties": {"files": _FILES}},
    "ComparisonForm": {"type": "object", "properties": {"files": _FILES, "file": _FILE}},
}


def one_image_body() -> dict[str, Any]:
    """Return the request body of a route that takes one image.

    The form comes first, because Swagger UI then shows a file chooser.
    """
    base64_digit, pixels_digit = EXAMPLE_DIGITS
    examples = {
        **_example(base64_digit, "image", _base64_json(base64_digit)),
        **_example(pixels_digit, "pixels", {"pixels": sample_pixels(pixels_digit).tolist()}),
    }
    content: dict[str, Any] = {
        FORM_TYPE: {"schema": schema_ref("ImageForm")},
        JSON_TYPE: {"schema": schema_ref("Image"), "examples": examples},
    }
    # The binary types come last: where a client generator treats several types as the same, its
    # clients send the last, which is any file.
    content |= {kind: {"schema": BINARY_SCHEMA} for kind in (NPY_TYPE, *IMAGE_TYPES)}
    return {"requestBody": {"required": True, "content": content}}


def many_images_body() -> dict[str, Any]:
    """Return the request body of a route that takes many images."""
    example = [_base64_json(digit) for digit in EXAMPLE_DIGITS]
    content = {
        FORM_TYPE: {"schema": schema_ref("ImagesForm")},
        JSON_TYPE: {
            "schema": {"type": "array", "items": schema_ref("Image")},
            "example": example,
        },
        NPY_TYPE: {"schema": BINARY_SCHEMA},
    }
    return {"requestBody": {"required": True, "content": content}}


def two_images_body() -> dict[str, Any]:
    """Return the request body of a route that takes two images, or one image for two models."""
    one, many = (made["requestBody"]["content"] for made in (one_image_body(), many_images_body()))
    either = [one[JSON_TYPE]["schema"], many[JSON_TYPE]["schema"]]
    content = {
        **one,
        FORM_TYPE: {"schema": schema_ref("ComparisonForm")},
        JSON_TYPE: {**many[JSON_TYPE], "schema": {"anyOf": either}},
    }
    return {"requestBody": {"required": True, "content": content}}


def oip_body(*parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the request of the Open Inference Protocol, with a digit as its example.

    Args:
        parameters: Path parameters that the route reads by hand.
    """
    tensor = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8"}
    pixels = sample_pixels(EXAMPLE_DIGITS[0]).reshape(-1).tolist()
    content = {
        JSON_TYPE: {
            "schema": schema_ref("InferenceRequest"),
            "example": {"inputs": [{**tensor, "data": pixels}]},
        },
        "application/octet-stream": {"schema": BINARY_SCHEMA},
    }
    length = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "required": False,
        "description": (
            "Length in bytes of the JSON before the binary tensors. With 0, the whole body is one"
            " tensor. Leave it out if the body is all JSON."
        ),
        "schema": {"type": "integer", "minimum": 0},
    }
    return {
        "parameters": [*parameters, length],
        "requestBody": {"required": True, "content": content},
    }


def control_body(schema: str) -> dict[str, Any]:
    """Return the optional request body of a control request of the Open Inference Protocol."""
    content = {JSON_TYPE: {"schema": schema_ref(schema), "example": {}}}
    return {"requestBody": {"required": False, "content": content}}


def tfserving_body(*parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the request of TensorFlow Serving in row format, with an image file as its example.

    Args:
        parameters: Path parameters that the route reads by hand.
    """
    file = _base64_json(EXAMPLE_DIGITS[0])["image"]
    content = {
        JSON_TYPE: {
            "schema": schema_ref("PredictRequest"),
            "example": {"instances": [{"b64": file}]},
        }
    }
    return {
        "parameters": list(parameters),
        "requestBody": {"required": True, "content": content},
    }


def _base64_json(digit: int) -> dict[str, Any]:
    return {"image": base64.b64encode(sample_png(digit)).decode()}


def _example(digit: int, form: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        f"a {digit} as {form}": {"summary": f"A handwritten {digit}, as {form}", "value": value}
    }
