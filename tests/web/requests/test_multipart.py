"""Forms: files that arrive in pieces, invalid forms, and what they leave in memory."""

import asyncio
import gc
from contextlib import aclosing

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from app.errors import (
    InvalidInputError,
    TooLargeError,
    UndecodableError,
    UnsupportedMediaTypeError,
)
from app.web.requests.images import begin_many
from tests.traced_memory import Traced, least_traced
from tests.web.requests.bodies import LIMITS, read_all, request_in_pieces

FORM, END = b"multipart/form-data; boundary=b", b"\r\n--b--\r\n"


def _part(content: bytes, name: bytes = b"files", file: bytes = b'; filename="x"') -> bytes:
    disposition = b'Content-Disposition: form-data; name="' + name + b'"' + file
    return b"--b\r\n" + disposition + b"\r\n\r\n" + content + b"\r\n"


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-7", "utf-16", "zlib", "x", ""])
def test_other_charsets_are_refused(charset: str) -> None:
    """A form whose names are in another charset is refused before it is parsed."""
    kind = FORM + f'; charset="{charset}"'.encode()
    with pytest.raises(UnsupportedMediaTypeError, match="expected UTF-8, ASCII or Latin-1"):
        asyncio.run(read_all(request_in_pieces([_part(b"one"), b"--b--\r\n"], kind=kind)))


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", "us-ascii", "latin1", "ISO-8859-1"])
def test_common_charsets_are_accepted(charset: str) -> None:
    """UTF-8, ASCII and Latin-1 may be named, by any of their names."""
    kind = FORM + f"; charset={charset}".encode()
    asyncio.run(read_all(request_in_pieces([_part(b"one"), b"--b--\r\n"], kind=kind)))


def test_files_are_given_as_they_arrive() -> None:
    """A file is there once the piece that ends it has come; fields of other names are ignored."""
    first, second = _part(b"one") + _part(b"two")[:-9], _part(b"two")[-9:] + _part(b"three")
    text, other = _part(b"text", b"note", file=b""), _part(b"four", b"file")
    go = asyncio.Event()

    async def read() -> None:
        pieces = [first, second + b"--b", b"\r\n" + (text + other)[5:], _part(b"")[:-2] + END]
        request = request_in_pieces(pieces, kind=FORM)
        receive, waits = request._receive, [False, True, True, True, True]

        async def receive_after_go() -> Message:
            if waits.pop(0):
                await go.wait()
            return await receive()

        request._receive = receive_after_go
        images, arrivals = await begin_many(request, LIMITS)
        assert await anext(arrivals) == 1
        assert images == [b"one"]
        go.set()
        assert [count async for count in arrivals][-1] == 4
        assert images == [b"one", b"two", b"three", b""]

    asyncio.run(read())


@pytest.mark.parametrize(
    ("pieces", "disconnects", "error"),
    [
        ([_part(b"one"), _part(b"two")[:-2] + END, b""], False, None),
        ([_part(b"one"), _part(b"two")], True, ClientDisconnect),
        ([_part(b"one"), _part(b"two")[:-2], b""], False, UndecodableError),
        ([_part(b"one"), b"nonsense", b""], False, UndecodableError),
        ([_part(b"one"), _part(b"") * 100 + END, b""], False, TooLargeError),
        ([_part(b"one"), b" " * 1_000_000], False, TooLargeError),
        ([_part(b"one", b"file"), b"--b--\r\n", b""], False, InvalidInputError),
        ([b"--b--\r\n", b""], False, InvalidInputError),
    ],
)
def test_error_behind_arrived_files_is_raised(
    pieces: list[bytes], disconnects: bool, error: type[Exception] | None
) -> None:
    """An error in a later part of the form is raised, and no task goes on reading."""

    async def read() -> None:
        request = request_in_pieces(pieces, disconnects=disconnects, kind=FORM)
        images, arrivals = await begin_many(request, LIMITS)
        if error:
            with pytest.raises(error):
                async for _ in arrivals:
                    pass
        else:
            assert [count async for count in arrivals][-1] == 2
            assert images == [b"one", b"two"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(read())


def test_invalid_form_is_freed_at_once() -> None:
    """The files of an invalid form are freed without a run of the garbage collector."""

    async def read() -> None:
        for _ in range(20):
            pieces = [_part(b"x" * 400_000), _part(b"y" * 400_000)[:-2], b""]
            with pytest.raises(UndecodableError):
                await read_all(request_in_pieces(pieces, kind=FORM))

    enough = Traced(1 << 30, 2_000_000)
    gc.collect()
    gc.disable()
    try:
        found = least_traced(lambda: None, lambda _: asyncio.run(read()), enough)
        assert found.held < enough.held
    finally:
        gc.enable()


def test_reader_that_stops_early_leaves_no_task() -> None:
    """A caller that stops after the first file leaves no task behind."""

    async def read_first() -> None:
        never = asyncio.Event()
        request = request_in_pieces([_part(b"one") + b"--b\r\n"], kind=FORM)
        receive, is_first = request._receive, [True]

        async def receive_once() -> Message:
            if not is_first.pop():
                await never.wait()
            is_first.append(False)
            return await receive()

        request._receive = receive_once
        _, arrivals = await begin_many(request, LIMITS)
        async with aclosing(arrivals):
            async for count in arrivals:
                assert count == 1
                break
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(read_first())
