"""The parser of forms: the same parts as Starlette's, whatever the chunks and the damage.

Starlette's parser knows no text before the first boundary and no lines that end in LF; these are
compared with what the parser of Python's `email` finds.
"""

import asyncio
import email
import email.policy
import random
from collections.abc import AsyncGenerator

import pytest
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from app.errors import DigitscopeError, TooLargeError, UndecodableError
from app.web.requests.form_parser import MAX_PREAMBLE_BYTES, FormParser

MAX_FILES, MAX_FIELDS, MAX_FIELD_BYTES = 4, 3, 200
DISPOSITIONS = (
    b'form-data; name="files"; filename="a.png"',
    b'form-data; name="text"',
    b"form-data;name=x",
    b'form-data; name="a\\"b"; filename="c;d"',
    b'form-data; name="\xff"; filename=""',
    b'form-data; name*=x; name="q"; filename="z"',
    b'form-data; filename="no name"',
)


class _Reference(MultiPartParser):
    """Starlette's parser, which also notes whether the closing boundary came."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


def _parser(boundary: bytes = b"b") -> FormParser:
    return FormParser(
        boundary,
        "utf-8",
        max_files=MAX_FILES,
        max_fields=MAX_FIELDS,
        max_field_bytes=MAX_FIELD_BYTES,
    )


def _parse(chunks: list[bytes], boundary: bytes) -> list[tuple[str, bytes, bool]] | None:
    """Return name, content and kind of each part; None for an invalid or incomplete form."""
    parser = _parser(boundary)
    try:
        for chunk in chunks:
            parser.feed(chunk)
        parser.finish()
    except DigitscopeError:
        return None
    return [tuple(part) for part in parser.parts]


def _parse_by_starlette(body: bytes, boundary: bytes) -> list[tuple[str, bytes, bool]] | None:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _Reference(
        Headers({"content-type": f"multipart/form-data; boundary={boundary.decode()}"}),
        stream(),
        max_files=MAX_FILES,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        asyncio.run(parser.parse())
        parts = [
            (name, value.file.read(), True)
            if isinstance(value, UploadFile)
            else (name, value.encode(), False)
            for name, value in parser.items
        ]
    except MultiPartException:
        return None
    finally:
        for file in parser._files_to_close_on_error:
            file.close()
    return parts if parser.ended else None


def _random_form(rng: random.Random, boundary: bytes) -> bytes:
    """Return a form with contents that look like its boundary, sometimes damaged."""
    line = b"\r\n--" + boundary
    pieces = (b"abc", b"\r", b"\n", b"-", b"\r\n--", line, line + b"x", line + b"-", line[:-1])
    body = b""
    for _ in range(rng.randrange(5)):
        headers = [
            b"Content-Disposition: " + rng.choice(DISPOSITIONS[: rng.choice((1, 1, 1, 6, 7))])
        ]
        headers += [b"Content-Type: image/png"] * rng.randrange(2)
        headers += [b"x-%d: y" % number for number in range(rng.choice((0, 0, 0, 2, 7)))]
        content = b"".join(rng.choice(pieces) for _ in range(rng.randrange(5)))
        padding = rng.choice((b"", b"", b"", b" \t")) if body else b""
        body += b"--" + boundary + padding + b"\r\n" + b"\r\n".join(headers)
        body += b"\r\n\r\n" + content + b"\r\n"
    body += b"--" + boundary + rng.choice((b"--\r\n", b"--\r\n", b"--", b"--epilogue", b"-"))
    first_line = len(b"--" + boundary + b"\r\n")
    if rng.random() < 0.2 and len(body) > first_line:
        at = rng.randrange(first_line, len(body))
        body = body[:at] + rng.choice((b"", b"\r", b"\n", b":", b"-", b" ")) + body[at + 1 :]
    return body


@pytest.mark.parametrize("seed", range(4))
def test_parts_are_those_of_starlette(seed: int) -> None:
    """However a form is cut into chunks, both parsers find the same parts or refuse it."""
    rng, accepted = random.Random(seed), 0
    for _ in range(100):
        boundary = rng.choice((b"b", b"-", b"----WebKitFormBoundary7MA4"))
        body = _random_form(rng, boundary)
        expected = _parse_by_starlette(body, boundary)
        size = rng.choice((1, 2, 7, len(body)))
        chunks = [body[at : at + size] for at in range(0, len(body), size)]
        assert _parse(chunks, boundary) == expected, (body, size)
        accepted += expected is not None
    assert accepted >= 20


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (b"x" * 20_000, UndecodableError, "begins no line of its first 16384 bytes"),
        (b"--b" + b" " * 20_000, UndecodableError, "begins no line of its first 16384 bytes"),
        (b"--b\r\nno colon\r\n\r\n", UndecodableError, "has no name"),
        (b"--b\r\n\r\n", UndecodableError, "no header Content-Disposition"),
        (b"--b\r\na:" + b"x" * 5000, UndecodableError, "more than 4224 bytes"),
        (b"--b\r\n" + b"a: b\r\n" * 9, UndecodableError, "more than 8 headers"),
        (b"--b\r\na: b\rc", UndecodableError, "something else than CR and LF"),
        (
            b"--b\nContent-Disposition: form-data; name=t\n\n\n--b \r\n",
            UndecodableError,
            "something else than LF",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="t"\r\n\r\n' + b"x" * 400,
            UndecodableError,
            "more than 200 bytes",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="t"\r\n\r\n\r\n' * 4,
            UndecodableError,
            "more than 3 fields",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="f"; filename=""\r\n\r\n\r\n' * 5,
            TooLargeError,
            "at most 4",
        ),
    ],
)
def test_refusal_names_the_reason(body: bytes, error: type[Exception], message: str) -> None:
    """Every fault is refused while the form arrives, with a sentence that names it."""
    with pytest.raises(error, match=message):
        _parser().feed(body)


def _parse_by_email(body: bytes, boundary: bytes) -> list[tuple[str, bytes, bool]]:
    head = b'Content-Type: multipart/form-data; boundary="' + boundary + b'"\n\n'
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_payload(decode=True),
            part.get_filename() is not None,
        )
        for part in message.iter_parts()
    ]


@pytest.mark.parametrize(
    ("start", "line_end"),
    [
        (b"This is a form.\r\n", b"\r\n"),
        (b"\r\n", b"\r\n"),
        (b"\r\n--not\r\n--b\r\r\n--\r\nx--b\r\n", b"\r\n"),
        (b"x" * (MAX_PREAMBLE_BYTES - 9) + b"\r\n", b"\r\n"),
        (b"A preamble with LF\n", b"\r\n"),
        (b"", b"\n"),
        (b"A preamble\n\n", b"\n"),
        (b"A preamble with CR\r\n", b"\n"),
    ],
)
@pytest.mark.parametrize("padding", [b"", b" \t"])
@pytest.mark.parametrize("epilogue", [b"", b"\r\n", b"\n--b\n", b"--\r\nfar beyond"])
@pytest.mark.parametrize("boundary", [b"b y", b"----WebKit"])
def test_preamble_epilogue_and_line_ends_are_accepted(
    start: bytes, line_end: bytes, padding: bytes, epilogue: bytes, boundary: bytes
) -> None:
    """Text around the form and lines that all end in LF change nothing about its parts."""
    line = b"--" + boundary + padding + line_end
    body = start + line_end.join(
        [
            line + b'Content-Disposition: form-data; name="files"; filename="a.png"',
            b"Content-Type: image/png",
            b"",
            b"12\r345" + line_end,
            line + b"content-disposition: form-data; name=text",
            b"",
            b"",
            b"--" + boundary + b"--" + epilogue,
        ]
    )
    expected = [("files", b"12\r345" + line_end, True), ("text", b"", False)]
    for size in (1, 3, len(body)):
        chunks = [body[at : at + size] for at in range(0, len(body), size)]
        assert _parse(chunks, boundary) == expected
    assert [part[0] for part in _parse_by_email(body, boundary)] == ["files", "text"]


@pytest.mark.parametrize("body", [b"x", b"--c\r\n", b"--b", b"-", b"", b"\r\n --b\r\n", b"--b\r"])
def test_form_without_its_boundary_is_refused(body: bytes) -> None:
    """A short body whose lines are no boundary is refused at its end, with the reason."""
    parser = _parser()
    parser.feed(body)
    with pytest.raises(UndecodableError, match="Its boundary begins none of its lines"):
        parser.finish()


def test_unparsed_bytes_are_bounded() -> None:
    """What is kept of a preamble, a header that never ends, or between two chunks is small."""
    parser = _parser()
    for _ in range(7):
        parser.feed(b"\r\n--" * 500)
        assert len(parser._data) - parser._at < 10
    parser.feed(b"\r\n")
    parser.feed(b'--b\r\nContent-Disposition: form-data; name="f"; filename=""\r\n\r\n')
    for _ in range(20):
        parser.feed(b"\r\n--" * 1000)
        assert len(parser._data) - parser._at < 10
