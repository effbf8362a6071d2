"""LitServe, as its documentation has it: a LitAPI with four steps."""

import os

import litserve
from digits import Digits
from fastapi import UploadFile


class DigitsAPI(litserve.LitAPI):
    """One worker, one image at a time."""

    def setup(self, device: str) -> None:
        """Load the network in the worker."""
        self.digits = Digits()

    def decode_request(self, request: UploadFile) -> bytes:
        """Take a form's file, in the field `request`."""
        return request.file.read()

    def predict(self, content: bytes) -> dict:
        """Run the network."""
        return self.digits.read(content)

    def encode_response(self, output: dict) -> dict:
        """Give it as it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(DigitsAPI(), accelerator="cpu", workers_per_device=1)
    server.run(port=int(os.environ["PEER_PORT"]), generate_client_file=False, log_level="error")
