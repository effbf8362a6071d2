"""Images in JSON: a file as base64, or rows of pixels; one, or a list of them.

A JSON body is hostile until proven otherwise: 5 MB of it can describe a million lists. So its size
is counted before it is parsed, validation stops at the first error, and the garbage collector
pauses meanwhile.
"""

import base64
import binascii
import itertools
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from app.errors import DigitscopeError, InvalidInputError, TooLargeError, UndecodableError
from app.recognise import ImageInput
from app.web.requests.body import Limits, require_content
from app.web.requests.parsing import detached, without_gc

T = TypeVar("T")

JSON_TYPE = "application/json"
MAX_UNCOUNTED_BYTES = 500_000  # bytes; larger bodies take up to a second to parse: count first
MAX_LISTS_PER_IMAGE = 29  # 28 rows, and the list of rows
MAX_COLONS_PER_IMAGE = 3  # two names, and one colon in a `data:` URL
MAX_ERRORS = 20  # of pydantic's errors, listed in a problem document

# `fail_fast`: 5 MB of values that are no pixels would otherwise give as many errors.
_Row = Annotated[
    list[Annotated[int, Field(ge=0, le=255, strict=True)]],
    Field(min_length=28, max_length=28, fail_fast=True),
]


class ImageJson(BaseModel):
    """An image in JSON: a file as base64, or 28 rows of 28 pixels; exactly one of the two."""

    # `_to_image` refuses unknown names, all in one error: pydantic makes one error per name, and a
    # body may hold 400,000 of them.
    model_config = ConfigDict(
        extra="allow", title="Image", json_schema_extra={"additionalProperties": False}
    )

    image: str | None = Field(
        None, description="An image file as base64, with or without a `data:` prefix."
    )
    pixels: Annotated[list[_Row], Field(min_length=28, max_length=28, fail_fast=True)] | None = (
        Field(None, description="28 rows of 28 integers, 0..255, ink high (MNIST's polarity).")
    )


def _count(entry: Any, info: ValidationInfo[tuple[Iterator[int], int]]) -> Any:
    """Raise `TooLargeError` at the first entry over the limit, before the rest is validated."""
    numbers, max_images = info.context
    if next(numbers) > max_images:
        raise TooLargeError(
            f"The batch has more than {max_images} images, the most that are accepted. Send them in"
            " several requests."
        )
    return entry


_IMAGE = TypeAdapter(ImageJson)
# An entry that is no image passes as it is, so that it becomes the error of that entry alone.
_IMAGES = TypeAdapter(
    list[Annotated[ImageJson | Any, Field(union_mode="left_to_right"), AfterValidator(_count)]]
)


@without_gc
def parse_image(body: bytes) -> ImageInput:
    """Parse one image in JSON.

    Returns:
        The decoded bytes of an image file, or pixels, uint8 `[28, 28]`.

    Raises:
        UndecodableError: The body is no JSON, or `image` is no base64.
        InvalidInputError: The JSON is not an image.
    """
    _check_size(body, 1)
    return _to_image(_validated(lambda: _IMAGE.validate_json(body)))


@without_gc
def parse_images(body: bytes, limits: Limits) -> list[ImageInput | DigitscopeError]:
    """Parse a JSON list of images; an entry that is no image becomes its error.

    Raises:
        UndecodableError: The body is no JSON.
        InvalidInputError: The JSON is no list.
        TooLargeError: The list has too many entries.
    """
    _check_size(body, limits.max_batch_items)
    context = itertools.count(1), limits.max_batch_items
    entries = _validated(lambda: _IMAGES.validate_json(body, context=context))
    return [_entry(entry) for entry in entries]


def _entry(entry: Any) -> ImageInput | DigitscopeError:
    try:
        return _to_image(_validated(lambda: _IMAGE.validate_python(entry)))
    except DigitscopeError as error:
        return detached(error)


def _check_size(body: bytes, images: int) -> None:
    """Refuse a large body with more lists or names than `images` images have, without parsing."""
    if len(body) <= MAX_UNCOUNTED_BYTES:
        return
    lists, colons = body.count(b"["), body.count(b":")
    max_lists, max_colons = MAX_LISTS_PER_IMAGE * images + 1, MAX_COLONS_PER_IMAGE * images
    if lists > max_lists or colons > max_colons:
        reason = (
            f"it has {lists} lists and {colons} names; {images} image{'s'[: images > 1]} have at"
            f" most {max_lists} and {max_colons}"
        )
        raise _not_an_image(reason, [{"loc": ["body"], "msg": reason}])


def _validated(validate: Callable[[], T]) -> T:
    """Run a validation; tell invalid JSON (400) from JSON of the wrong form (422)."""
    try:
        return validate()
    except ValidationError as error:
        entries = error.errors(include_url=False, include_context=False, include_input=False)
        if entries[0]["type"] == "json_invalid":
            raise UndecodableError(f"The body is no valid JSON: {entries[0]['msg']}.") from error
        listed = [
            {"loc": ["body", *entry["loc"]], "msg": entry["msg"]} for entry in entries[:MAX_ERRORS]
        ]
        raise _not_an_image(entries[0]["msg"], listed) from error


def _not_an_image(reason: str, errors: list[dict[str, Any]]) -> InvalidInputError:
    return InvalidInputError(
        'The JSON is not an image: expected {"image": "<base64>"} or'
        f' {{"pixels": [28 rows of 28 integers 0..255]}}; {reason}.',
        errors=errors,
    )


def _to_image(value: ImageJson) -> ImageInput:
    reason = ""
    if value.model_extra:
        reason = f"an image has no field {next(iter(value.model_extra))[:40]!r}"
    elif (value.image is None) == (value.pixels is None):
        reason = "give exactly one of 'image' (base64 of a file) and 'pixels' (28 rows of 28)"
    if reason:
        raise _not_an_image(reason, [{"loc": ["body"], "msg": reason}])
    if value.pixels is not None:
        # Takes half as long as np.array(value.pixels, np.uint8).
        return np.frombuffer(b"".join(map(bytes, value.pixels)), np.uint8).reshape(28, 28)
    return require_content(_decode_base64(value.image or ""))


def _decode_base64(text: str) -> bytes:
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise UndecodableError(
                "'image' is a data: URL without ';base64,'; expected data:image/png;base64,...."
            )
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UndecodableError(f"'image' is no valid base64: {error}.") from error
