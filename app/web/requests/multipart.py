"""Image files in `multipart/form-data`, kept in memory and handed on as they arrive."""

import asyncio
import codecs
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from app.errors import (
    DigitscopeError,
    InvalidInputError,
    TooLargeError,
    UndecodableError,
    UnsupportedMediaTypeError,
)
from app.recognise import ImageInput
from app.web.requests.body import Limits, header, read_chunks, require_content

FORM_TYPE = "multipart/form-data"
MAX_TEXT_FIELDS = 16  # fields that are no files; no route reads one
# Other codecs of Python decode no text, or take time that grows with the square of a name.
CHARSETS = ("utf-8", "ascii", "iso8859-1")  # names as `codecs.lookup` gives them
_END = -1  # in the queue of counts: the form has ended


async def read_file(request: Request, limits: Limits) -> bytes:
    """Return the content of the one file of a form, in its field `file`.

    Raises:
        TooLargeError: The body is over the limit, or the form has several files.
        UndecodableError: The body is no valid form, or the file is empty.
        InvalidInputError: The form has no field `file`, or that field is no file.
    """
    async with _parsed(_parser(request, limits, max_files=1)) as form:
        return await _file_content(form, "file")


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
    counts = asyncio.Queue[int]()
    seen_items = 0

    async def collect(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Pass chunks to the parser; after each, collect the files that it has completed."""
        nonlocal seen_items
        async for chunk in chunks:
            yield chunk
            # Reached when the parser asks for the next chunk, so it has parsed this one.
            for field, part in parser.items[seen_items:]:
                if field == "files" and isinstance(part, UploadFile):
                    files.append(part.file.read())
                    part.file.close()
            seen_items = len(parser.items)
            counts.put_nowait(len(files))

    async def parse() -> None:
        try:
            # Close the stream here: if it stayed suspended, it, its task and its exception would
            # form a reference cycle that keeps the files in memory.
            async with aclosing(parser.stream), _parsed(parser):
                pass
        finally:
            counts.put_nowait(_END)

    parser.stream = collect(parser.stream)
    task = asyncio.ensure_future(parse())
    try:
        while (count := await counts.get()) != _END:
            yield count
        await task  # raises the exception of the parser
        if not files:
            _check_names(parser)
        limits.check_count(len(files))
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # retrieved: it was raised above, or the caller has stopped reading
        del task


class _Parser(MultiPartParser):
    """Starlette's parser, which also notes whether the form's closing boundary came."""

    ended = False

    def on_end(self) -> None:
        self.ended = True

    def close(self) -> None:
        """Close all files, including incomplete ones."""
        for file in self._files_to_close_on_error:
            file.close()


def _check_names(parser: _Parser) -> None:
    """Raise if a form without files of the right name has other fields, and name these.

    Raises:
        InvalidInputError: It has.
    """
    names = list(dict.fromkeys(name for name, _ in parser.items))
    if "files" in names:
        raise InvalidInputError(
            "The field 'files' is text; expected files (parts with a filename).",
            errors=[{"loc": ["body", "files"], "msg": "Expected files"}],
        )
    if names:
        given = ", ".join(repr(name[:40]) for name in names)
        raise InvalidInputError(
            f"The form has no field 'files'; it has {given}.",
            errors=[{"loc": ["body", "files"], "msg": "Field required"}],
        )


def _check_charset(request: Request) -> None:
    """Raise unless the form's names are in one of `CHARSETS`; without `charset` they are UTF-8.

    Raises:
        UnsupportedMediaTypeError: The header Content-Type names another charset.
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


def _parser(request: Request, limits: Limits, *, max_files: int) -> _Parser:
    _check_charset(request)
    parser = _Parser(
        request.headers,
        read_chunks(request, limits.max_image_bytes),
        max_files=max_files,
        max_fields=MAX_TEXT_FIELDS,
        max_part_size=limits.max_image_bytes,
    )
    # No file is ever large enough to be written to disk: uploads stay in memory.
    parser.spool_max_size = limits.max_image_bytes + 1
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
                f"The form has too many files; at most {parser.max_files} are accepted here."
            ) from error
        raise UndecodableError(
            f"The body is no valid multipart/form-data: {error.message} Expected a 'boundary'"
            " parameter in the Content-Type and one part per file."
        ) from error
    except UnicodeError as error:
        raise UndecodableError(
            f"The form's field names cannot be decoded in its charset: {error}. Expected UTF-8."
        ) from error
    if not parser.ended:
        raise UndecodableError(
            "The form is incomplete: expected a line with the boundary and '--' at its end."
        )
    return form


async def _file_content(form: FormData, field: str) -> bytes:
    part = form.get(field)
    if part is None:
        raise InvalidInputError(
            f"The form has no field {field!r}; it has {', '.join(map(repr, form)) or 'no fields'}.",
            errors=[{"loc": ["body", field], "msg": "Field required"}],
        )
    if not isinstance(part, UploadFile):
        raise InvalidInputError(
            f"The field {field!r} is text; expected a file (a part with a filename).",
            errors=[{"loc": ["body", field], "msg": "Expected a file"}],
        )
    return require_content(await part.read())
