"""Image files in `multipart/form-data`, kept in memory and handed on as they arrive."""

import codecs
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from app.errors import (
    DigitscopeError,
    InvalidInputError,
    UnsupportedMediaTypeError,
)
from app.recognise import ImageInput
from app.web.requests.body import Limits, header, read_chunks, require_content
from app.web.requests.form_parser import FormParser, FormPart, invalid_form

FORM_TYPE = "multipart/form-data"
MAX_TEXT_FIELDS = 16  # fields that are no files; no route reads one
# Other codecs of Python decode no text, or take time that grows with the square of a name.
CHARSETS = ("utf-8", "ascii", "iso8859-1")  # names as `codecs.lookup` gives them


async def read_file(request: Request, limits: Limits) -> bytes:
    """Return the content of the one file of a form, in its field `file`.

    Raises:
        TooLargeError: The body is over the limit, or the form has several files.
        UndecodableError: The body is no valid form, or the file is empty.
        InvalidInputError: The form has no field `file`, or that field is no file.
    """
    parser = _parser(request, limits, max_files=1)
    async for chunk in read_chunks(request, limits.max_image_bytes):
        parser.feed(chunk)
    parser.finish()
    return _file_content(parser, "file")


async def stream_files(
    files: list[ImageInput | DigitscopeError], request: Request, limits: Limits
) -> AsyncGenerator[int, None]:
    """Append the files of the fields `files` to a list as they arrive.

    Args:
        files: The list to append to.
        request: The request with the form.
        limits: The largest body and the most files.

    Yields:
        The number of files that have arrived, after each chunk of the body.

    Raises:
        TooLargeError: The body is over the limit, or the form has too many files.
        UndecodableError: The body is no valid form.
        InvalidInputError: The form has no field `files`.
        ClientDisconnect: The client disconnected before the end of the form.
    """
    parser = _parser(request, limits, max_files=limits.max_batch_items)
    names = dict[str, None]()
    async with aclosing(read_chunks(request, limits.max_image_bytes)) as chunks:
        async for chunk in chunks:
            parser.feed(chunk)
            files += [
                part.content for part in parser.parts if part.is_file and part.name == "files"
            ]
            _check_parts(parser.parts)
            names |= dict.fromkeys(part.name for part in parser.parts)
            parser.parts.clear()
            yield len(files)
    parser.finish()
    if not files:
        _check_names(list(names))
    limits.check_count(len(files))


def _check_parts(parts: Sequence[FormPart]) -> None:
    """Refuse a part `files` that is text: without it, the answers would not fit the parts.

    Raises:
        InvalidInputError: There is one.
    """
    if any(part.name == "files" and not part.is_file for part in parts):
        raise InvalidInputError(
            "The field 'files' is text; expected files (parts with a filename).",
            errors=[{"loc": ["body", "files"], "msg": "Expected files"}],
        )


def _check_names(names: list[str]) -> None:
    """Raise if a form without files of the right name has other fields, and name these.

    Args:
        names: The names of its fields.

    Raises:
        InvalidInputError: It has.
    """
    if names:
        given = ", ".join(repr(name[:40]) for name in names)
        raise InvalidInputError(
            f"The form has no field 'files'; it has {given}.",
            errors=[{"loc": ["body", "files"], "msg": "Field required"}],
        )


def _parser(request: Request, limits: Limits, *, max_files: int) -> FormParser:
    """Begin to parse the form of a request; without `charset` its names are in UTF-8.

    Raises:
        UnsupportedMediaTypeError: The header Content-Type names a charset other than `CHARSETS`.
        UndecodableError: It names no boundary, or one that is too long.
    """
    _, options = parse_options_header(header(request, b"content-type"))
    charset = options.get(b"charset", b"utf-8").decode("latin-1")
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):  # unknown, or no name at all
        name = ""
    if name not in CHARSETS:
        raise UnsupportedMediaTypeError(
            f"The charset {charset[:40]!r} of the form is not supported; expected UTF-8, ASCII or"
            " Latin-1.",
            valid=["utf-8", "us-ascii", "iso-8859-1"],
        )
    if b"boundary" not in options:
        raise invalid_form("Its boundary is missing.")
    return FormParser(
        options[b"boundary"].rstrip(b" \t"),  # RFC 2046: it does not end with white space
        name,
        max_files=max_files,
        max_fields=MAX_TEXT_FIELDS,
        max_field_bytes=limits.max_image_bytes,
    )


def _file_content(parser: FormParser, field: str) -> bytes:
    parts = {part.name: part for part in parser.parts}
    part = parts.get(field)
    if part is None:
        raise InvalidInputError(
            f"The form has no field {field!r}; it has"
            f" {', '.join(map(repr, parts)) or 'no fields'}.",
            errors=[{"loc": ["body", field], "msg": "Field required"}],
        )
    if not part.is_file:
        raise InvalidInputError(
            f"The field {field!r} is text; expected a file (a part with a filename).",
            errors=[{"loc": ["body", field], "msg": "Expected a file"}],
        )
    return require_content(part.content)
