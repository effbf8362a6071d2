"""Tells when the client of an HTTP request has closed its connection."""

from starlette.requests import Request

from app.cancellation import Disconnected


def disconnected(request: Request) -> Disconnected:
    """Return a function that waits until the client has gone.

    It drops the rest of the body. The time that the client takes to send that rest counts for the
    deadline.
    """

    async def wait() -> None:
        request.state.timer.leave_body()
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait
