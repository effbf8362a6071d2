"""The bare minimum under uvicorn: an ASGI function, LiteRT and orjson, without a framework."""

import io
import os

import numpy as np
import orjson
from digits import Digits
from PIL import Image

digits = Digits()
ANSWER = orjson.loads(os.environ["PEER_ANSWER"])
HEADER = b"inference-header-content-length"


async def app(scope, receive, send):
    """Answer a PNG, or a tensor of the protocols V1 and V2."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    content = ROUTES[scope["path"]](body, scope["headers"])
    headers = [
        (b"content-length", str(len(content)).encode()),
        (b"content-type", b"application/json"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def png(body: bytes, _) -> bytes:
    """Answer an image file with the JSON of digitscope."""
    probabilities = digits.probabilities(
        np.asarray(Image.open(io.BytesIO(body)).convert("L"))[None]
    )
    return orjson.dumps(
        {"digit": int(probabilities.argmax()), "probabilities": probabilities[0].tolist()}
    )


def v1(body: bytes, _) -> bytes:
    """Answer TensorFlow Serving's row format."""
    images = np.array(orjson.loads(body)["instances"], np.float32)
    return orjson.dumps({"predictions": digits.probabilities(images).tolist()})


def v2(body: bytes, headers) -> bytes:
    """Answer the Open Inference Protocol, JSON or a binary tensor, in the same form."""
    head_size = int(dict(headers).get(HEADER, 0))
    if head_size:
        tensor = orjson.loads(body[:head_size])["inputs"][0]
        pixels = np.frombuffer(body, np.uint8, offset=head_size)
    else:
        tensor = orjson.loads(body)["inputs"][0]
        pixels = np.array(tensor["data"], np.uint8)
    found = digits.probabilities(pixels.reshape(tensor["shape"]))
    output = {"name": "probabilities", "datatype": "FP32", "shape": found.shape}
    if head_size:
        output["parameters"] = {"binary_data_size": found.nbytes}
        return orjson.dumps({"model_name": "digits", "outputs": [output]}) + found.tobytes()
    output["data"] = found.ravel().tolist()
    return orjson.dumps({"model_name": "digits", "outputs": [output]})


ROUTES = {"/predict": png, "/v1/models/digits:predict": v1, "/v2/models/digits/infer": v2}
