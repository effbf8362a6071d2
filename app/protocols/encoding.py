"""Reads and writes the JSON of the inference protocols, within limits."""

import reprlib
from collections.abc import Mapping
from typing import Any

import pydantic_core
from starlette.requests import Request
from starlette.responses import Response

from app.errors import TooLargeError, UndecodableError
from app.web.requests.body import read_body

# Lists allowed in JSON besides two for each comma. A tensor of images has about one list for each
# comma at most, when there is a list around each value.
MAX_EXTRA_LISTS = 1000
# Of a message without tensors, such as one that lists or loads models.
MAX_CONTROL_BYTES = 1 << 16
# Names allowed in JSON for each image, as in `{"image": {"b64": ...}}`, and in all others.
MAX_NAMES_PER_IMAGE, MAX_EXTRA_NAMES = 2, 1000


def read_json(content: bytes, max_images: int) -> dict[str, Any]:
    """Parse a JSON object, unless it has far more lists or names than any request for digits.

    The parser holds Python's global lock, so the event loop would stop for up to a second.

    Args:
        content: The JSON.
        max_images: Most images in one request, of which each may have names.

    Raises:
        UndecodableError: The content is no JSON object, or it has too many lists.
        TooLargeError: It has too many names.
    """
    lists, commas = content.count(b"["), content.count(b",")
    if lists > 2 * commas + MAX_EXTRA_LISTS:
        raise UndecodableError(
            f"The body was not parsed: it has {lists} lists but only {commas} commas, which no"
            " tensor has."
        )
    names, max_names = content.count(b":"), MAX_NAMES_PER_IMAGE * max_images + MAX_EXTRA_NAMES
    if names > max_names or (names := content.count(b"{")) > max_names:
        raise TooLargeError(
            f"The body was not parsed: it has {names} names or objects; a request with at most"
            f" {max_images} images has at most {max_names}."
        )
    try:
        parsed = pydantic_core.from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise UndecodableError(f"The body is no valid JSON: {error}.") from error
    if not isinstance(parsed, dict):
        raise UndecodableError("The body is no JSON object.")
    return parsed


async def read_control(request: Request, fields: Mapping[str, type]) -> dict[str, Any]:
    """Return the JSON of a control request, whose fields are all known; no body is the same as {}.

    Args:
        request: The request.
        fields: The names that are allowed, with the types of their values; null is allowed, too.

    Raises:
        UndecodableError: The body is no such object.
        TooLargeError: The body is larger than any control request.
    """
    body = await read_body(request, MAX_CONTROL_BYTES)
    message = read_json(body, 0) if body.strip() else {}
    for name, value in message.items():
        if name not in fields:
            raise UndecodableError(
                f"The request has a field {shorten(name)}; expected"
                f" {', '.join(map(repr, fields))}, or no body."
            )
        if value is not None and not isinstance(value, fields[name]):
            raise UndecodableError(f"The field {name!r} is {shorten(value)}.")
    return message


def shorten(value: Any) -> str:
    """Return a value of a client's JSON for a message: short, however long the value is."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return reprlib.repr(value)


def json_response(value: Any) -> Response:
    """Return a JSON response."""
    return Response(to_json(value), media_type="application/json")


def to_json(value: Any) -> bytes:
    """Return a value of plain types as JSON."""
    return pydantic_core.to_json(value)
