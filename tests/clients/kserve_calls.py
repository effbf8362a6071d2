"""What KServe's own client gets from a service, as JSON; runs in the clients' own Python.

python kserve_calls.py ADDRESS < given.json, with `images` as lists and a `file` as base64.
"""

import asyncio
import base64
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

MODEL = "classic"


def _request(kind: str, values: np.ndarray, *, binary: bool, wanted: bool = False) -> InferRequest:
    tensor = InferInput("image", list(values.shape), kind)
    tensor.set_data_from_numpy(values, binary_data=binary)
    outputs = [RequestedOutput("digit", {"binary_data": binary})] if wanted else None
    return InferRequest(
        MODEL,
        [tensor],
        request_id="mine",
        parameters={"binary_data_output": binary},
        request_outputs=outputs,
    )


async def _refusal(call: Any) -> str:
    try:
        await call
    except httpx.HTTPStatusError as error:
        return str(error)
    return "answered"


async def _version_2(address: str, images: np.ndarray, file: bytes) -> dict[str, Any]:
    said: dict[str, Any] = {}
    async with InferenceRESTClient(RESTConfig(protocol="v2", timeout=180)) as client:
        said["live"] = await client.is_server_live(address)
        said["ready"] = await client.is_server_ready(address)
        said["models"] = [await client.is_model_ready(address, name) for name in (MODEL, "nope")]
        said["probabilities"] = []
        for kind, values in (("UINT8", images), ("FP32", images[..., None].astype(np.float32))):
            for binary in (True, False):
                got = await client.infer(address, _request(kind, values, binary=binary), MODEL)
                said["probabilities"].append(got.outputs[0].as_numpy().tolist())
        said["answered"] = [got.id, got.model_name]
        files = _request("BYTES", np.array([file], object), binary=True, wanted=True)
        got = await client.infer(address, files, MODEL)
        said["outputs"] = [[one.name, one.as_numpy().tolist()] for one in got.outputs]
        wrong = _request("UINT8", images[:, 1:], binary=True)
        said["wrong shape"] = await _refusal(client.infer(address, wrong, MODEL))
        right = _request("UINT8", images, binary=True)
        said["no model"] = await _refusal(client.infer(address, right, "nope"))
    return said


async def _version_1(address: str, images: np.ndarray, file: bytes) -> dict[str, Any]:
    said: dict[str, Any] = {}
    async with InferenceRESTClient(RESTConfig(protocol="v1", timeout=180)) as client:
        said["ready"] = await client.is_model_ready(address, MODEL)
        rows = {"instances": images.tolist()}
        said["predictions"] = (await client.infer(address, rows, MODEL))["predictions"]
        named = {"instances": [{"image": {"b64": base64.b64encode(file).decode()}}]}
        said["file"] = (await client.infer(address, named, MODEL))["predictions"]
        said["no model"] = await _refusal(client.is_model_ready(address, "nope"))
        said["wrong"] = await _refusal(client.infer(address, {"instances": []}, MODEL))
    return said


async def _main(address: str) -> None:
    given = json.load(sys.stdin)
    images, file = np.array(given["images"], np.uint8), base64.b64decode(given["file"])
    said = {
        "v2": await _version_2(address, images, file),
        "v1": await _version_1(address, images, file),
    }
    json.dump(said, sys.stdout)


asyncio.run(_main(sys.argv[1]))
