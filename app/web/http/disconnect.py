"""Tells when the client of an HTTP request has closed its connection."""

from starlette.requests import Request

from app.cancellation import Disconnected


def disconnected(request: Request) -> Disconnected:
    """Return a function that waits until the client has gone; the body must have been read."""

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait
