"""From a request's body to the images in it: streamed limits, media types, multipart, JSON and npy.

Knows HTTP and the forms that an image may come in; leaves the decoding of image files to
`app.imaging`.
"""

import asyncio
import base64
import binascii
import gc
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from app.errors import (
    DigitscopeError,
    InvalidInputError,
    TooLargeError,
    UndecodableError,
    UnsupportedMediaTypeError,
)
from app.imaging.formats import MEDIA_TYPE_ALIASES, MEDIA_TYPES
from app.web.requests.npy_reader import are_images, begins_images, read_npy

P = ParamSpec("P")
T = TypeVar("T")
ImageInput = bytes | NDArray[np.uint8]  # an encoded file, or (28, 28) pixels with high ink

IMAGE_TYPES = (*MEDIA_TYPES, "application/octet-stream")
NPY_TYPE, JSON_TYPE, FORM_TYPE = "application/x-npy", "application/json", "multipart/form-data"
ONE_IMAGE_TYPES = (FORM_TYPE, *IMAGE_TYPES, JSON_TYPE, NPY_TYPE)
MANY_IMAGES_TYPES = (FORM_TYPE, JSON_TYPE, NPY_TYPE)
_ALL = -1  # have come
MAX_PART_HEADER_BYTES = 4096  # bytes in which the header of an npy file should have come
# Longer JSON is counted before it is read: an image has so many lists at most, and so many colons
# (two names, and one in a `data:` URL). 5 MB of lists in lists take a second to build.
COUNTED_ABOVE, MAX_LISTS, MAX_COLONS = 500_000, 29, 3
# Lists end at the first thing that is wrong: 5 MB of what is no pixel would be as many errors.
_Row = Annotated[
    list[Annotated[int, Field(ge=0, le=255, strict=True)]],
    Field(min_length=28, max_length=28, fail_fast=True),
]


class ImageJson(BaseModel):
    """An image in JSON: a file as base64, or 28 rows of 28 pixels; exactly one of the two."""

    # Names that are unknown are refused by `_from_json`, all as one mistake: pydantic makes one of
    # each, and a body may hold 400,000.
    model_config = ConfigDict(
        extra="allow", title="Image", json_schema_extra={"additionalProperties": False}
    )

    image: str | None = Field(
        None, description="An image file as base64, with or without a `data:` prefix."
    )
    pixels: Annotated[list[_Row], Field(min_length=28, max_length=28, fail_fast=True)] | None = (
        Field(None, description="28 rows of 28 integers, 0..255, ink high (MNIST's polarity).")
    )


def _counted(entry: Any, counting: ValidationInfo[tuple[Iterator[int], int]]) -> Any:
    """Raise `TooLargeError` at the first entry that is too many, before the others are built."""
    numbers, most = counting.context
    if next(numbers) > most:
        raise TooLargeError(f"The batch holds more than the {most} images that are taken at once.")
    return entry


_ONE = TypeAdapter(ImageJson)
# An entry that is no image stays as it is, so that it can be told what is wrong with it.
_MANY = TypeAdapter(
    list[Annotated[ImageJson | Any, Field(union_mode="left_to_right"), AfterValidator(_counted)]]
)


@dataclass(frozen=True)
class Limits:
    """The largest body in bytes, and the most images in one request."""

    max_body_bytes: int
    max_batch_items: int


def uncollected(read: Callable[P, T]) -> Callable[P, T]:
    """Keep Python from looking for cycles while JSON is read: it has none.

    It would look at every list, again and again: a million take seconds so, and 0.3 s without, in
    which the event loop does nothing else.
    """

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        gc.disable()
        try:
            return read(*args, **kwargs)
        except DigitscopeError as error:
            raise _bare(error)  # noqa: B904 - that is the point
        finally:
            gc.enable()

    return reading


def _bare(error: DigitscopeError) -> DigitscopeError:
    """Return an error without what led to it, which holds all that was read as long as it lives."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


class Arriving(NamedTuple):
    """Images of a request, the last of which may be on their way.

    Attributes:
        images: As `read_many` gives them; in an array, those that have not come yet are undefined,
            a list grows as they come.
        arrivals: Gives how many have come, again and again until that is all.
    """

    images: list[ImageInput | DigitscopeError] | NDArray[np.uint8]
    arrivals: AsyncGenerator[int, None] | None


async def read_one(request: Request, limits: Limits) -> ImageInput:
    """Read the one image that a request carries, in any accepted form.

    Raises:
        TooLargeError: The body is over the limit; the rest of it is not read.
        UnsupportedMediaTypeError: The Content-Type is none of `ONE_IMAGE_TYPES`.
        UndecodableError: The body is not what its Content-Type says.
        InvalidInputError: It is, but holds no image of the right shape.
    """
    kind = _media_type(request, ONE_IMAGE_TYPES)
    if kind == FORM_TYPE:
        async with _parsed(_parser(request, limits, max_files=1)) as form:
            return await _file_content(form, "file")
    body = await read_body(request, limits)
    if kind == JSON_TYPE:
        return _one(body)
    if kind == NPY_TYPE:
        return read_npy(body, "[28, 28]", lambda shape: shape == (28, 28))
    return _not_empty(body)


async def read_many(
    request: Request, limits: Limits
) -> list[ImageInput | DigitscopeError] | NDArray[np.uint8]:
    """Read the images of a batch, in order; an item that is wrong is given as its error.

    Returns:
        The images; of an npy file the pixels of all, `[N, 28, 28]`.

    Raises:
        DigitscopeError: The body as a whole cannot be read, or holds no or too many items.
    """
    kind = _media_type(request, MANY_IMAGES_TYPES)
    items: list[ImageInput | DigitscopeError] | NDArray[np.uint8]
    if kind == FORM_TYPE:
        items = []
        async for _ in _collect(items, request, limits):
            pass
        return items
    if kind == NPY_TYPE:
        items = _images_of_npy(await read_body(request, limits))
    else:
        items = _items(await read_body(request, limits), limits)
    _check_count(len(items), limits)
    return items


async def begin_many(request: Request, limits: Limits) -> Arriving:
    """Read the images of a batch as `read_many` does, but give arrays and files as they come.

    Raises:
        DigitscopeError: As `read_many`; what is wrong with a body behind the images that have come,
            `arrivals` raises.
    """
    kind = _media_type(request, MANY_IMAGES_TYPES)
    if kind == FORM_TYPE:
        files = list[ImageInput | DigitscopeError]()
        return Arriving(files, _collect(files, request, limits))
    if kind == JSON_TYPE:
        items = await read_many(request, limits)
        return Arriving(items, None)
    said, chunks = _header(request, b"content-length"), _limited(request, limits)
    length = int(said) if said.isdecimal() else None
    head, begun = b"", None
    async for chunk in chunks:
        head += chunk
        if (begun := begins_images(head, length)) or len(head) > MAX_PART_HEADER_BYTES:
            break
    if not begun or len(head) == length:
        images = _images_of_npy(b"".join([head, *[chunk async for chunk in chunks]]))
        _check_count(len(images), limits)
        return Arriving(images, None)
    count, start = begun
    _check_count(count, limits)
    images = np.empty((count, 28, 28), np.uint8)
    return Arriving(images, _fill(images.reshape(-1), head[start:], chunks))


async def _fill(
    pixels: NDArray[np.uint8], head: bytes, chunks: AsyncIterator[bytes]
) -> AsyncGenerator[int, None]:
    """Put pixels in their places as they come; give the number of images that have come whole."""
    filled = 0
    async for chunk in _beginning_with(head, chunks):
        begin, filled = filled, filled + len(chunk)
        pixels[begin:filled] = np.frombuffer(chunk[: max(0, len(pixels) - begin)], np.uint8)
        yield min(filled, len(pixels)) // (28 * 28)
    if filled != len(pixels):
        raise UndecodableError(f"The npy file promises {len(pixels)} values and holds {filled}.")


async def _beginning_with(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    yield head
    async for chunk in chunks:
        yield chunk


def _images_of_npy(body: bytes) -> NDArray[np.uint8]:
    return read_npy(body, "[N, 28, 28]", are_images)


def _check_count(count: int, limits: Limits) -> None:
    if count == 0:
        raise InvalidInputError(
            "The batch is empty: expected form fields that are named 'files', a JSON list of"
            " images, or an npy array [N, 28, 28]."
        )
    if count > limits.max_batch_items:
        raise TooLargeError(
            f"The batch holds {count} images; at most {limits.max_batch_items} are taken at once."
        )


def _check_parts(body: bytes, images: int) -> None:
    """Refuse long JSON that no so many images can be, without building what it says."""
    if len(body) <= COUNTED_ABOVE:
        return
    lists, colons = body.count(b"["), body.count(b":")
    most_lists, most_colons = MAX_LISTS * images + 1, MAX_COLONS * images
    if lists > most_lists or colons > most_colons:
        reason = (
            f"it holds {lists} lists and {colons} names, and {images}"
            f" image{'s'[: images > 1]} at most {most_lists} and {most_colons}"
        )
        raise _no_image(reason, [{"loc": ["body"], "msg": reason}])


@uncollected
def _one(body: bytes) -> ImageInput:
    _check_parts(body, 1)
    return _from_json(_validated(lambda: _ONE.validate_json(body)))


@uncollected
def _items(body: bytes, limits: Limits) -> list[ImageInput | DigitscopeError]:
    _check_parts(body, limits.max_batch_items)
    counting = itertools.count(1), limits.max_batch_items
    entries = _validated(lambda: _MANY.validate_json(body, context=counting))
    return [_item(entry) for entry in entries]


def _item(entry: Any) -> ImageInput | DigitscopeError:
    try:
        return _from_json(_validated(lambda: _ONE.validate_python(entry)))
    except DigitscopeError as error:
        return _bare(error)


def _media_type(request: Request, accepted: tuple[str, ...]) -> str:
    header = _header(request, b"content-type") or "application/octet-stream"
    kind = header.partition(";")[0].strip().lower()
    kind = MEDIA_TYPE_ALIASES.get(kind, kind)
    if kind not in accepted:
        hint = (
            " (curl's --data-binary sends this type unless told otherwise: add -H 'Content-Type:"
            " image/png', or use -F file=@digit.png)"
            if kind == "application/x-www-form-urlencoded"
            else ""
        )
        raise UnsupportedMediaTypeError(
            f"The Content-Type {kind!r} is not read here{hint}.", valid=list(accepted)
        )
    return kind


def _header(request: Request, name: bytes) -> str:
    """Return a header, the first where there are several; starlette's way takes far longer."""
    for key, value in request.scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return ""


async def _limited(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """Give the body's chunks and stop at the limit, whatever the Content-Length said."""
    said = _header(request, b"content-length")
    if said.isdecimal() and int(said) > limits.max_body_bytes:
        raise TooLargeError(f"The body has {said} bytes; at most {limits.max_body_bytes} are read.")
    received, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, more = message.get("body", b""), message.get("more_body", False)
        received += len(chunk)
        if received > limits.max_body_bytes:
            raise TooLargeError(
                f"The body has more than the {limits.max_body_bytes} bytes that are read."
            )
        yield chunk


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return the whole body.

    Raises:
        TooLargeError: It is over the limit; the rest of it is not read.
    """
    return b"".join([chunk async for chunk in _limited(request, limits)])


class _Parser(MultiPartParser):
    """Remembers whether the form came to its end."""

    ended = False

    def on_end(self) -> None:
        self.ended = True

    def close(self) -> None:
        """Let go of all files, those that have not come whole too."""
        for file in self._files_to_close_on_error:
            file.close()


def _parser(request: Request, limits: Limits, *, max_files: int) -> _Parser:
    parser = _Parser(
        request.headers,
        _limited(request, limits),
        max_files=max_files,
        max_fields=16,
        max_part_size=limits.max_body_bytes,
    )
    # Never to disk: nothing that a user sends is stored.
    parser.spool_max_size = limits.max_body_bytes + 1
    return parser


@asynccontextmanager
async def _parsed(parser: _Parser) -> AsyncIterator[FormData]:
    try:
        yield await _parse(parser)
    finally:
        parser.close()


async def _parse(parser: _Parser) -> FormData:
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise TooLargeError(
                f"The form holds more than {parser.max_files} file(s), the most taken here."
            ) from error
        raise UndecodableError(
            f"The body is no valid multipart/form-data: {error.message} Expected a 'boundary'"
            " parameter in the Content-Type and a part for each file."
        ) from error
    except UnicodeError as error:
        raise UndecodableError(
            f"The form's field names cannot be decoded in its charset: {error}. Expected UTF-8."
        ) from error
    if not parser.ended:
        raise UndecodableError(
            "The form is cut off: expected a line with the boundary and '--' at its end."
        )
    return form


async def _collect(
    files: list[ImageInput | DigitscopeError], request: Request, limits: Limits
) -> AsyncGenerator[int, None]:
    """Append a form's files as they come; give how many have come."""
    parser = _parser(request, limits, max_files=limits.max_batch_items)
    come = asyncio.Queue[int]()
    looked_at = 0

    async def looking(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        nonlocal looked_at
        async for chunk in chunks:
            yield chunk
            # The parser asks for the next: what ended in this one is whole.
            for field, part in parser.items[looked_at:]:
                if field == "files" and isinstance(part, UploadFile):
                    files.append(part.file.read())
                    part.file.close()
            looked_at = len(parser.items)
            come.put_nowait(len(files))

    async def parse() -> None:
        try:
            # Generators that stand still, tasks and errors would hold each other, and the files.
            async with aclosing(parser.stream), _parsed(parser):
                pass
        finally:
            come.put_nowait(_ALL)

    parser.stream = looking(parser.stream)
    parsing = asyncio.ensure_future(parse())
    try:
        while (count := await come.get()) != _ALL:
            yield count
        await parsing  # raises what it raised
        _check_count(len(files), limits)
    finally:
        parsing.cancel()
        await asyncio.wait([parsing])
        if not parsing.cancelled():
            parsing.exception()  # has been raised, or nobody is there any more
        del parsing


async def _file_content(form: FormData, field: str) -> bytes:
    part = form.get(field)
    if part is None:
        raise InvalidInputError(
            f"The form has no field {field!r}; it has {', '.join(map(repr, form)) or 'no fields'}.",
            errors=[{"loc": ["body", field], "msg": "Field required"}],
        )
    if not isinstance(part, UploadFile):
        raise InvalidInputError(
            f"The field {field!r} is text; it must be a file (with a filename).",
            errors=[{"loc": ["body", field], "msg": "Expected a file"}],
        )
    return _not_empty(await part.read())


def _not_empty(content: bytes) -> bytes:
    if not content:
        raise UndecodableError("The image is empty: 0 bytes came; expected an image file.")
    return content


def _validated(validate: Callable[[], T]) -> T:
    """Run a validation and tell bad JSON (400) from JSON that says the wrong thing (422)."""
    try:
        return validate()
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            raise UndecodableError(f"The body is no JSON: {found[0]['msg']}.") from error
        listed = [{"loc": ["body", *entry["loc"]], "msg": entry["msg"]} for entry in found[:20]]
        raise _no_image(found[0]["msg"], listed) from error


def _no_image(reason: str, errors: list[dict[str, Any]]) -> InvalidInputError:
    return InvalidInputError(
        'The JSON is not an image: expected {"image": "<base64>"} or'
        f' {{"pixels": [28 rows of 28 integers 0..255]}}; {reason}.',
        errors=errors,
    )


def _from_json(value: ImageJson) -> ImageInput:
    reason = ""
    if value.model_extra:
        reason = f"there is no {next(iter(value.model_extra))[:40]!r} in an image"
    elif (value.image is None) == (value.pixels is None):
        reason = "give exactly one of 'image' (base64 of a file) and 'pixels' (28 rows of 28)"
    if reason:
        raise _no_image(reason, [{"loc": ["body"], "msg": reason}])
    if value.pixels is not None:
        # Half as long as NumPy's way.
        return np.frombuffer(b"".join(map(bytes, value.pixels)), np.uint8).reshape(28, 28)
    text = value.image or ""
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise UndecodableError(
                "'image' is a data: URL without ';base64,'; expected data:image/png;base64,...."
            )
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UndecodableError(f"'image' is no valid base64: {error}.") from error
    return _not_empty(content)
