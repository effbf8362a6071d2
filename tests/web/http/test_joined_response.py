"""A response that comes in one piece is sent in one piece, with the bytes that uvicorn sends."""

import asyncio
import logging
from typing import Any, NamedTuple

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.web.http.joined_response import JoinedResponseCycle

JSON = (b"content-type", b"application/json")
BODY = {"type": "http.response.body", "body": b"12345"}
EMPTY = {"type": "http.response.body"}


class Transport:
    """A connection that records what is written."""

    def __init__(self) -> None:
        """Begin open, without bytes."""
        self.writes: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        """Record bytes."""
        if data:
            self.writes.append(bytes(data))

    def close(self) -> None:
        """Note that the connection closes."""
        self.is_closed = True

    def is_closing(self) -> bool:
        """Return whether it closes."""
        return self.is_closed

    def resume_reading(self) -> None:
        """Do nothing."""


class Outcome(NamedTuple):
    """What a client and the server see of a response."""

    content: bytes
    is_closed: bool
    is_complete: bool
    completions: int
    error: str


def _start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def _length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", str(size).encode()


def _respond(
    kind: type[RequestResponseCycle],
    messages: list[dict[str, Any]],
    *,
    method: str = "GET",
    keep_alive: bool = True,
    is_gone: bool = False,
) -> tuple[Outcome, int]:
    """Return the outcome of a response, and the number of writes."""
    transport, completions = Transport(), list[int]()
    cycle = kind(
        scope={"method": method},  # type: ignore[typeddict-item]
        transport=transport,  # type: ignore[arg-type]
        flow=FlowControl(transport),  # type: ignore[arg-type]
        logger=logging.getLogger("test"),
        access_logger=logging.getLogger("test"),
        access_log=False,
        default_headers=[(b"server", b"uvicorn")],
        message_event=asyncio.Event(),
        expect_100_continue=True,
        keep_alive=keep_alive,
        on_response=lambda: completions.append(1),
    )
    cycle.disconnected = is_gone

    async def send_all() -> None:
        for message in messages:
            await cycle.send(message)  # type: ignore[arg-type]

    error = ""
    try:
        asyncio.run(send_all())
    except RuntimeError as raised:
        error = type(raised).__name__
    content = b"".join(transport.writes)
    outcome = Outcome(
        content, transport.is_closed, cycle.response_complete, len(completions), error
    )
    return outcome, len(transport.writes)


@pytest.mark.parametrize(
    "messages",
    [
        [_start(JSON, _length(5)), BODY],
        [_start(JSON, _length(0)), EMPTY],
        [_start((b"Content-Length", b"5"), (b"X-Any", b"thing"), status=404), BODY],
    ],
)
@pytest.mark.parametrize("keep_alive", [True, False])
def test_whole_response_is_written_at_once(
    messages: list[dict[str, Any]], keep_alive: bool
) -> None:
    """Head and body are one write."""
    outcome, writes = _respond(JoinedResponseCycle, messages, keep_alive=keep_alive)
    assert writes == 1
    assert outcome.content.startswith(b"HTTP/1.1 ")
    uvicorn, _ = _respond(RequestResponseCycle, messages, keep_alive=keep_alive)
    assert outcome.content.lower() == uvicorn.content.lower()
    assert outcome[1:] == uvicorn[1:]
    assert (outcome.is_complete, outcome.completions, outcome.error) == (True, 1, "")


@pytest.mark.parametrize(
    "messages",
    [
        [_start(JSON), BODY],  # chunked
        [_start(JSON), {**BODY, "more_body": True}, BODY],
        [_start(JSON, _length(10)), {**BODY, "more_body": True}, BODY],
        [_start(JSON, _length(5), (b"connection", b"close")), BODY],
        [_start((b"transfer-encoding", b"chunked")), BODY],
        [_start(status=204), EMPTY],
        [_start(status=304), EMPTY],
        [_start(JSON, _length(4)), BODY],
        [_start(JSON, _length(6)), BODY],
        [_start(JSON, _length(5)), BODY, BODY],
        [_start((b"x-name", b"a\r\nb"), _length(5)), BODY],
        [_start((b"x name", b"a"), _length(5)), BODY],
        [BODY],
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_responses_are_those_of_uvicorn(messages: list[dict[str, Any]], method: str) -> None:
    """So are the errors of an application that does not follow ASGI."""
    outcome, _ = _respond(JoinedResponseCycle, messages, method=method)
    assert outcome == _respond(RequestResponseCycle, messages, method=method)[0]


def test_failure_between_head_and_body_becomes_its_own_response() -> None:
    """The head that was held back is replaced by that of the error."""
    messages = [_start(JSON, _length(9)), _start(JSON, _length(5), status=500), BODY]
    outcome, _ = _respond(JoinedResponseCycle, messages)
    assert outcome == _respond(RequestResponseCycle, messages[1:])[0]


def test_nothing_is_sent_to_a_client_that_has_gone() -> None:
    """The response of a closed connection is dropped."""
    outcome, writes = _respond(JoinedResponseCycle, [_start(JSON, _length(5)), BODY], is_gone=True)
    assert (writes, outcome.error, outcome.completions) == (0, "", 0)
