"""The Open Inference Protocol over gRPC: methods, errors, keys, deadlines, counters, shutdown."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from app.protocols.grpc import inference_pb2 as pb
from app.settings import REPOSITORY
from tests.conftest import Digits
from tests.ports import free_port
from tests.server.grpc_client import (
    SERVICE,
    GrpcClient,
    Http2Client,
    Reply,
    grpc_client,
    infer_request,
    prefixed,
)
from tests.server.process import PATIENCE_S, Server, eventually, serving

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
KEY = "a key of a client"
Code = grpc.StatusCode


@pytest.fixture(scope="module")
def calls(server: Server) -> Iterator[GrpcClient]:
    """A connection to the shared server."""
    with grpc_client(server) as client:
        yield client


def test_every_method_answers(calls: GrpcClient, server: Server, digits: Digits) -> None:
    """The methods answer as the routes of HTTP."""
    assert calls.call("ServerLive", b"", pb.ServerLiveResponse).message.live
    assert calls.call("ServerReady", b"", pb.ServerReadyResponse).message.ready
    for name, version, ready in (("compact", "", True), ("compact", "99", False), ("x", "", False)):
        request = pb.ModelReadyRequest(name=name, version=version)
        assert calls.call("ModelReady", request, pb.ModelReadyResponse).message.ready == ready
    metadata = calls.call("ServerMetadata", b"", pb.ServerMetadataResponse).message
    assert (metadata.name, metadata.version) == ("digitscope", server.get("/v2").json["version"])
    request = pb.ModelMetadataRequest(name="compact")
    model = calls.call("ModelMetadata", request, pb.ModelMetadataResponse).message
    said = server.get("/v2/models/compact").json
    for tensors, others in ((model.inputs, said["inputs"]), (model.outputs, said["outputs"])):
        assert [(t.name, t.datatype, list(t.shape)) for t in tensors] == [
            (other["name"], other["datatype"], other["shape"]) for other in others
        ]
    config = calls.call(
        "ModelConfig", pb.ModelConfigRequest(name="compact"), pb.ModelConfigResponse
    )
    types = [pb.DataType.Name(each.data_type) for each in config.message.config.output]
    wanted = server.get("/v2/models/compact/config").json
    assert types == [each["data_type"] for each in wanted["output"]]
    index = calls.call("RepositoryIndex", b"", pb.RepositoryIndexResponse).message
    assert [each.name for each in index.models] == list(server.get("/v1/models").json["models"])
    reply = calls.infer(infer_request(digits.images[:5], model="classic", id="mine"))
    digit = np.frombuffer(reply.message.raw_output_contents[1], "<i8")
    assert (reply.message.id, digit.tolist()) == ("mine", digits.labels[:5].tolist())


WRONG = {
    "model": (infer_request(bytes(784), shape=[1, 784], model="nope"), Code.NOT_FOUND),
    "version": (
        infer_request(bytes(784), shape=[1, 784], model_version="99"),
        Code.NOT_FOUND,
    ),
    "shape": (infer_request(bytes(783), shape=[1, 783]), Code.INVALID_ARGUMENT),
    "datatype": (infer_request(bytes(784), shape=[1, 784], datatype="BF16"), Code.INVALID_ARGUMENT),
    "file": (infer_request(b"\1\0\0\0x", shape=[1], datatype="BYTES"), Code.INVALID_ARGUMENT),
    "files": (infer_request(b"", shape=[2000], datatype="BYTES"), Code.RESOURCE_EXHAUSTED),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_have_the_text_of_http(calls: GrpcClient, server: Server, case: str) -> None:
    """A refusal has the code of its kind, and the message that HTTP gives."""
    request, code = WRONG[case]
    tensor, (raw,) = request.inputs[0], request.raw_input_contents
    head = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    head["parameters"] = {"binary_data_size": len(raw)}
    header = json.dumps({"inputs": [head]}).encode()
    version = f"/versions/{request.model_version}" if request.model_version else ""
    refused = server.ask(
        f"/v2/models/{request.model_name}{version}/infer",
        header + raw,
        Inference_Header_Content_Length=str(len(header)),
    )
    reply = calls.infer(request, metadata=[("x-request-id", "mine")])
    assert (reply.code, reply.detail) == (code, refused.json["error"])
    assert reply.metadata["x-request-id"] == "mine"


def test_operators_reload_models(calls: GrpcClient) -> None:
    """Loading needs the admin token and takes no parameters; unloading is refused."""
    load = pb.RepositoryModelLoadRequest(model_name="compact")
    admin = [("authorization", "Bearer the admin token")]
    assert calls.call("RepositoryModelLoad", load).code == Code.UNAUTHENTICATED
    reply = calls.call("RepositoryModelLoad", load, pb.RepositoryModelLoadResponse, metadata=admin)
    assert reply.message.isLoaded
    load.parameters["config"].string_param = "{}"
    reply = calls.call("RepositoryModelLoad", load, metadata=admin)
    assert (reply.code, "config" in reply.detail) == (Code.INVALID_ARGUMENT, True)
    unload = pb.RepositoryModelUnloadRequest(repository_name="compact")  # as KServe sends it
    assert calls.call("RepositoryModelUnload", unload).code == Code.UNAUTHENTICATED
    reply = calls.call("RepositoryModelUnload", unload, metadata=admin)
    assert (reply.code, "the folder" in reply.detail) == (Code.INVALID_ARGUMENT, True)


def test_stream_answers_in_order_and_survives_errors(calls: GrpcClient, digits: Digits) -> None:
    """An error is a message of the stream, unless the client wants a status."""
    requests = [infer_request(digits.images[number : number + 1]) for number in range(6)]
    requests[2].model_name = "nope"
    requests[4].parameters["triton_enable_empty_final_response"].bool_param = True
    contents = calls.stream("ModelStreamInfer", requests)
    replies = [pb.ModelStreamInferResponse.FromString(content) for content in contents]
    assert len(replies) == 6
    assert "no model 'nope'" in replies[2].error_message
    answers = [each.infer_response for each in replies if not each.error_message]
    found = [np.frombuffer(each.raw_output_contents[1], "<i8")[0] for each in answers]
    assert found == [label for number, label in enumerate(digits.labels[:6]) if number != 2]
    assert replies[4].infer_response.parameters["triton_final_response"].bool_param
    strict = [("triton_grpc_error", "true")]
    stream = calls.stream("ModelStreamInfer", requests, metadata=strict)
    with pytest.raises(grpc.RpcError) as refused:
        list(stream)
    assert refused.value.code() == Code.NOT_FOUND


def test_health_is_that_of_probes(calls: GrpcClient) -> None:
    """Health checking answers for the server and for the inference service."""
    for name in ("", SERVICE):
        request = health_pb2.HealthCheckRequest(service=name)
        reply = calls.call(CHECK, request, health_pb2.HealthCheckResponse)
        assert reply.message.status == SERVING
    assert calls.call(CHECK, health_pb2.HealthCheckRequest(service="x")).code == Code.NOT_FOUND
    listed = calls.call("/grpc.health.v1.Health/List", b"", health_pb2.HealthListResponse)
    assert set(listed.message.statuses) == {"", SERVICE}
    watch = calls.channel.unary_stream(WATCH)(b"", timeout=PATIENCE_S)
    assert health_pb2.HealthCheckResponse.FromString(next(watch)).status == SERVING
    watch.cancel()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_describes_the_services(calls: GrpcClient, version: str) -> None:
    """A client without the schema gets it, under the old name of the service and the new one."""
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"{SERVICE}.ModelInfer"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"{SERVICE}.Missing"),
    ]
    name = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    contents = calls.stream(name, requests)
    parse = reflection_pb2.ServerReflectionResponse.FromString
    services, files, of_method, missing = map(parse, contents)
    names = {each.name for each in services.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} < names
    (content,) = files.file_descriptor_response.file_descriptor_proto
    assert of_method.file_descriptor_response == files.file_descriptor_response
    assert of_method.original_request == requests[2]
    assert missing.error_response.error_code == Code.NOT_FOUND.value[0]
    (described,) = FileDescriptorProto.FromString(content).service
    for method in described.method:
        reply = calls.call(method.name, b"\xff", pb.ModelStreamInferResponse)
        if method.server_streaming:
            assert "no valid ModelInferRequest" in reply.message.error_message
        else:
            assert reply.code == Code.INVALID_ARGUMENT


def test_calls_are_counted_and_logged(calls: GrpcClient, server: Server) -> None:
    """A call counts under its method, and its line of the log has its id."""
    labels = {"route": f"/{SERVICE}/ModelInfer", "method": "gRPC", "status": "404"}
    before = server.metric("digitscope_requests_total", **labels)
    calls.infer(WRONG["model"][0], metadata=[("x-request-id", "find-me")])
    eventually(lambda: server.metric("digitscope_requests_total", **labels) == before + 1)
    line = f"gRPC /{SERVICE}/ModelInfer 404 request_id=find-me "
    eventually(lambda: line in server.log.read_text())
    reply = calls.call("/x.Y/Z\n", b"", metadata=[("x-request-id", "not harmless!")])
    assert (reply.code, len(reply.metadata["x-request-id"])) == (Code.UNIMPLEMENTED, 32)
    others = {"route": "other", "method": "gRPC"}
    eventually(lambda: server.metric("digitscope_requests_total", **others) >= 1)


def test_calls_in_flight_are_shown(server: Server) -> None:
    """A call whose message has not arrived is in flight until its client leaves."""
    # The request for metrics is one of them; calls of earlier tests may not have ended.
    eventually(lambda: server.metric("digitscope_requests_in_flight") == 1)
    with Http2Client(server.grpc_port) as client:
        client.begin("ModelInfer")
        eventually(lambda: server.metric("digitscope_requests_in_flight") == 2)
    eventually(lambda: server.metric("digitscope_requests_in_flight") == 1)


def test_calls_without_an_answer_are_counted(server: Server) -> None:
    """A client that leaves before the response, and a deadline that passes, are counted as such."""
    for reason, headers in (("client-gone", []), ("deadline", [("grpc-timeout", "100m")])):
        before = server.metric("digitscope_rejections_total", reason=reason)

        def is_counted(reason=reason, headers=headers, before=before) -> bool:
            with Http2Client(server.grpc_port) as client:
                client.begin("ModelInfer", *headers)
                threading.Event().wait(0.3)
            return server.metric("digitscope_rejections_total", reason=reason) > before

        eventually(is_counted)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with keys, small messages, one thread and no queue."""
    settings = {
        "grpc_port": free_port(),
        "api_keys": KEY,
        "open_metrics": True,
        "max_body_bytes": 2_000_000,
        "threads": 1,
        "max_queue": 0,
    }
    with serving(tmp_path_factory.mktemp("guarded"), **settings) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def test_keys_are_needed_except_for_probes(guarded: Server) -> None:
    """A key may come in either header; probes need none."""
    request = infer_request(bytes(784), shape=[1, 784])
    with grpc_client(guarded) as client:
        for metadata in ([("authorization", f"Bearer {KEY}")], [("x-api-key", KEY)]):
            metadata_of_it = client.call("ServerMetadata", metadata=metadata)
            assert metadata_of_it.code == Code.OK
        for metadata in ([], [("x-api-key", "wrong")], [("authorization", f"Basic {KEY}")]):
            reply = client.infer(request, metadata=metadata)
            assert (reply.code, "API key" in reply.detail) == (Code.UNAUTHENTICATED, True)
        for name in ("ModelReady", "RepositoryIndex", "ModelConfig", "/x.Y/Z"):
            assert client.call(name).code == Code.UNAUTHENTICATED
        for name in ("ServerLive", "ServerReady", CHECK):
            assert client.call(name).code == Code.OK
        (content,) = client.stream("ModelStreamInfer", [request])
        assert "API key" in pb.ModelStreamInferResponse.FromString(content).error_message
    eventually(lambda: guarded.metric("digitscope_rejections_total", reason="key") >= 8)


def test_full_queue_and_deadline(guarded: Server, digits: Digits) -> None:
    """Work that takes too long ends at the deadline; meanwhile others are told when to come."""
    key = [("x-api-key", KEY)]
    quick = infer_request(digits.images[:1], model="ensemble")
    slow = infer_request(np.repeat(digits.images, 2, axis=0), model="ensemble")
    ends = (Code.OK, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)
    with grpc_client(guarded) as client, ThreadPoolExecutor(4) as pool:
        assert client.infer(quick, metadata=key).code == Code.OK  # it is loaded
        assert client.infer(slow, metadata=key, timeout=0.05).code in ends[1:]
        refusals: list[Reply] = []

        def is_refused() -> bool:
            replies = list(pool.map(lambda _: client.infer(slow, metadata=key), range(4)))
            assert all(reply.code in ends for reply in replies)
            refusals.extend(reply for reply in replies if reply.code == Code.UNAVAILABLE)
            return bool(refusals)

        eventually(is_refused)  # at once, unless the four arrive one after the other
        refused = refusals[0]
        seconds = int(refused.metadata["retry-after"])
        assert refused.metadata["grpc-retry-pushback-ms"] == str(1000 * seconds)
        assert f"Try again in {seconds} s." in refused.detail


def test_stop_finishes_calls_and_ends_streams(tmp_path: Path, digits: Digits) -> None:
    """After SIGTERM, health says so, begun calls are answered, and idle streams end."""
    settings = {"grpc_port": free_port(), "drain_delay_s": 600, "grace_s": PATIENCE_S}
    request = infer_request(digits.images[:1])
    with (
        serving(tmp_path, **settings) as server,
        grpc_client(server) as client,
        Http2Client(server.grpc_port) as slow,
    ):
        ends = threading.Event()

        def requests() -> Iterator[pb.ModelInferRequest]:
            yield request
            ends.wait(PATIENCE_S)

        stream = client.stream("ModelStreamInfer", requests())
        assert not pb.ModelStreamInferResponse.FromString(next(stream)).error_message
        watch = client.channel.unary_stream(WATCH)(b"", timeout=PATIENCE_S)
        statuses = (health_pb2.HealthCheckResponse.FromString(each).status for each in watch)
        assert next(statuses) == SERVING
        content = prefixed(request.SerializeToString())
        begun = slow.begin("ModelInfer")
        slow.send(begun, content[:100])
        server.process.send_signal(signal.SIGTERM)
        assert next(statuses) == NOT_SERVING
        assert not client.call("ServerReady", b"", pb.ServerReadyResponse).message.ready
        server.process.send_signal(signal.SIGTERM)  # ends the drain
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        ends.set()
        assert ended.value.code() == Code.UNAVAILABLE
        assert client.call("ServerLive").code == Code.UNAVAILABLE
        slow.send(begun, content[100:], ends=True)
        slow.read_until(b"probabilities")
        assert server.process.wait(PATIENCE_S) == -signal.SIGTERM
    assert "Traceback" not in server.log.read_text()


def test_grace_period_ends_calls(tmp_path: Path) -> None:
    """A call whose message never comes does not delay the stop."""
    settings = {"grpc_port": free_port(), "drain_delay_s": 0, "grace_s": 1}
    with serving(tmp_path, **settings) as server, Http2Client(server.grpc_port) as client:
        client.begin("ModelInfer")
        assert server.stop() == -signal.SIGTERM
        assert "Traceback" not in server.log.read_text()


def test_workers_share_the_port(tmp_path: Path, digits: Digits) -> None:
    """Connections spread over the workers; the death of one leaves the port to the other."""
    with serving(tmp_path, workers=2, grpc_port=free_port()) as server:
        server.wait_for_starts(2)
        request = infer_request(digits.images[:1], model="classic")

        def serve(count: int) -> None:
            for _ in range(count):
                with grpc_client(server) as client:
                    assert client.infer(request).code == Code.OK

        def counted() -> float:
            return server.metric("digitscope_requests_total", method="gRPC")

        serve(20)
        eventually(lambda: counted() == 20)
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
            break
        server.wait_for_starts(3)
        serve(1)
        eventually(lambda: counted() == 21)
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"GRPC_PORT": "8000", "PORT": "8000"}, 2, "HTTP uses this port"),
        ({"GRPC_PORT": "{taken}"}, 1, "the setting DIGITSCOPE_GRPC_PORT"),
        ({"GRPC_PORT": "{free}", "missing": "grpc"}, 2, "install the extra 'grpc'"),
    ],
    ids=["same port", "port in use", "not installed"],
)
def test_start_says_what_is_wrong(
    server: Server, tmp_path: Path, settings: dict[str, str], code: int, words: str
) -> None:
    """A start that cannot serve gRPC ends with a message."""
    paths = [str(REPOSITORY)]
    if missing := settings.pop("missing", None):
        paths.insert(0, str(tmp_path))
        error = f"raise ModuleNotFoundError('no {missing}', name={missing!r})"
        (tmp_path / f"{missing}.py").write_text(error)
    ports = {"taken": server.grpc_port, "free": free_port()}
    variables = {f"DIGITSCOPE_{key}": value.format(**ports) for key, value in settings.items()}
    variables.setdefault("DIGITSCOPE_PORT", str(free_port()))
    done = subprocess.run(
        [sys.executable, "-m", "digitscope", "serve"],
        cwd=tmp_path,
        env={**os.environ, **variables, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == code
    assert words in done.stderr
