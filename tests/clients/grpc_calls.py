"""What public gRPC clients get from a service, as JSON; runs in the clients' own Python.

python grpc_calls.py ADDRESS < given.json, with `images` as lists and a `file` as base64. Triton's
client and KServe's register the same schema, so each runs in a process of its own: with a further
argument, `triton`, `triton-aio` or `kserve`.
"""

import asyncio
import base64
import json
import sys
import time
from typing import Any

import numpy as np

MODEL = "classic"
Image = np.ndarray


def triton(address: str, images: Image, file: bytes) -> dict[str, Any]:
    """Use Triton's synchronous client: probes, metadata, tensors, compression, errors, a stream."""
    import tritonclient.grpc as client

    def tensor(values: Image, datatype: str) -> Any:
        made = client.InferInput("image", list(values.shape), datatype)
        made.set_data_from_numpy(values)
        return made

    def refusal(call: Any) -> list[str]:
        try:
            call()
        except client.InferenceServerException as error:
            return [error.status() or "", error.message()]
        return ["answered"]

    pixels = tensor(images, "UINT8")
    with client.InferenceServerClient(address) as server:
        said: dict[str, Any] = {
            "live": server.is_server_live(),
            "ready": server.is_server_ready(),
            "models": [server.is_model_ready(name) for name in (MODEL, "nope")],
            "name": server.get_server_metadata(as_json=True)["name"],
            "inputs": server.get_model_metadata(MODEL, as_json=True)["inputs"],
            "backend": server.get_model_config(MODEL, as_json=True)["config"]["backend"],
            "index": [each.name for each in server.get_model_repository_index().models],
        }
        options: list[dict[str, Any]] = [
            {"inputs": [pixels]},
            {"inputs": [tensor(images[..., None].astype(np.float32), "FP32")]},
            {"inputs": [pixels], "compression_algorithm": "gzip"},
            {"inputs": [pixels], "compression_algorithm": "deflate"},
            {"inputs": [pixels], "parameters": {"preprocess": "none"}, "client_timeout": 60.0},
        ]
        answers = [server.infer(MODEL, request_id="mine", **each) for each in options]
        said["probabilities"] = [each.as_numpy("probabilities").tolist() for each in answers]
        said["ids"] = [each.get_response().id for each in answers]
        files = [tensor(np.array([file], object), "BYTES")]
        wanted = [
            client.InferRequestedOutput("digit"),
            client.InferRequestedOutput("probabilities", class_count=1),
            client.InferRequestedOutput("label"),
        ]
        answer = server.infer(MODEL, files, outputs=wanted)
        said["digit"] = answer.as_numpy("digit").tolist()
        said["label"] = answer.as_numpy("label").tolist()[0].decode()
        said["class"] = answer.as_numpy("probabilities").tolist()[0][0].decode()
        said["no model"] = refusal(lambda: server.infer("nope", [pixels]))
        said["wrong shape"] = refusal(lambda: server.infer(MODEL, [tensor(images[:, 1:], "UINT8")]))
        said["no token"] = refusal(lambda: server.load_model(MODEL))
        token = {"authorization": "Bearer the admin token"}
        said["loaded"] = refusal(lambda: server.load_model(MODEL, headers=token))
        said["unload"] = refusal(lambda: server.unload_model(MODEL, headers=token))
        said["stream"] = _triton_stream(server, [tensor(each[None], "UINT8") for each in images])
    return said


def _triton_stream(server: Any, tensors: list[Any]) -> list[Any]:
    received: list[Any] = []

    def note(result: Any, error: Any) -> None:
        received.append(error.message() if error else result.as_numpy("digit").tolist())

    server.start_stream(callback=note)
    for tensor in tensors:
        server.async_stream_infer(MODEL, [tensor])
    server.async_stream_infer("nope", tensors[:1])
    until = time.monotonic() + 60
    while len(received) < len(tensors) + 1 and time.monotonic() < until:
        time.sleep(0.01)
    server.stop_stream()
    return received


async def triton_aio(address: str, images: Image, file: bytes) -> dict[str, Any]:
    """Use Triton's asynchronous client: a call and a stream."""
    import tritonclient.grpc.aio as client

    tensor = client.InferInput("image", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images)

    async def requests() -> Any:
        for _ in range(3):
            yield {"model_name": MODEL, "inputs": [tensor]}

    async with client.InferenceServerClient(address) as server:
        answer = await server.infer(MODEL, [tensor])
        stream = server.stream_infer(requests())
        found = [(result or error).as_numpy("digit").tolist() async for result, error in stream]
        return {
            "ready": await server.is_server_ready(),
            "digits": [answer.as_numpy("digit").tolist(), *found],
        }


async def kserve(address: str, images: Image, file: bytes) -> dict[str, Any]:
    """Use KServe's client: probes, raw and typed tensors, files, errors."""
    import grpc
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    def request(values: Image, datatype: str, *, binary: bool) -> Any:
        tensor = InferInput("image", list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        return InferRequest(MODEL, [tensor], request_id="mine")

    async def refusal(call: Any) -> list[str]:
        try:
            await call
        except grpc.RpcError as error:
            return [str(error.code()), error.details()]
        return ["answered"]

    client = InferenceGRPCClient(address)
    said: dict[str, Any] = {
        "live": await client.is_server_live(),
        "ready": await client.is_server_ready(),
        "models": [await client.is_model_ready(name) for name in (MODEL, "nope")],
        "probabilities": [],
    }
    for datatype, values in (("UINT8", images), ("FP32", images.astype(np.float32))):
        for binary in (True, False):
            answer = await client.infer(request(values, datatype, binary=binary))
            said["probabilities"].append(answer.outputs[0].as_numpy().tolist())
    said["answered"] = [answer.id, answer.model_name]
    files = request(np.array([file], object), "BYTES", binary=True)
    outputs = {each.name: each for each in (await client.infer(files)).outputs}
    said["digit"] = outputs["digit"].as_numpy().tolist()
    wrong = request(images[:, 1:], "UINT8", binary=True)
    said["wrong shape"] = await refusal(client.infer(wrong))
    right = request(images, "UINT8", binary=True)
    right.model_name = "nope"
    said["no model"] = await refusal(client.infer(right))
    await client.close()
    return said


def schemas(address: str, images: Image, file: bytes) -> dict[str, Any]:
    """Return the fields of Triton's messages, by the names of the messages."""
    from tritonclient.grpc import model_config_pb2, service_pb2

    found: dict[str, Any] = {}

    def add(message: Any) -> None:
        found[message.full_name] = {
            field.name: [field.number, field.type, field.is_repeated] for field in message.fields
        }
        for inner in message.nested_types:
            add(inner)

    for module in (service_pb2, model_config_pb2):
        for message in module.DESCRIPTOR.message_types_by_name.values():
            add(message)
    methods = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    found["methods"] = {
        each.name: [each.input_type.name, each.output_type.name] for each in methods
    }
    found["types"] = dict(model_config_pb2.DataType.items())
    return found


def main() -> None:
    """Run one client."""
    address, name = sys.argv[1:]
    given = json.load(sys.stdin)
    images, file = np.array(given["images"], np.uint8), base64.b64decode(given["file"])
    clients = {"triton": triton, "triton-aio": triton_aio, "kserve": kserve, "schemas": schemas}
    said = clients[name](address, images, file)
    json.dump(asyncio.run(said) if asyncio.iscoroutine(said) else said, sys.stdout)


main()
