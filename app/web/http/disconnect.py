"""Tells when the client of an HTTP request has closed its connection."""

from starlette.requests import Request

from app.cancellation import Disconnected


def disconnected(request: Request) -> Disconnected:
    """Return a function that waits until the client has gone, and drops what is left of the body.

    Without a body to read, the time that the client takes for it counts for the deadline.
    """

    async def wait() -> None:
        request.state.timer.leave_body()
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait
