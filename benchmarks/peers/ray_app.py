"""Ray Serve, as its documentation has it: a deployment that is called with the request."""

import os
import signal

from digits import Digits
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class DigitsDeployment:
    """One replica."""

    def __init__(self) -> None:
        """Load the network."""
        self.digits = Digits()

    async def __call__(self, request: Request) -> dict:
        """Read a raw body, or a form's file."""
        if request.headers["content-type"].startswith("multipart/"):
            form = await request.form()
            return self.digits.read(await form["file"].read())
        return self.digits.read(await request.body())


if __name__ == "__main__":
    serve.start(http_options={"port": int(os.environ["PEER_PORT"]), "access_log": False})
    serve.run(DigitsDeployment.bind())
    signal.pause()
