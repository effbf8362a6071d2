"""Hostile gRPC: nothing ends in UNKNOWN or INTERNAL, memory is bounded, and others are served."""

import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.protocols.grpc import inference_pb2 as pb
from app.samples import sample_png
from tests.ports import free_port
from tests.server.footprint import memory_mb
from tests.server.grpc_client import (
    SERVICE,
    GrpcClient,
    Http2Client,
    full_name,
    grpc_client,
    infer_request,
    prefixed,
)
from tests.server.process import Server, eventually, serving

Code = grpc.StatusCode
FAULTS = {Code.UNKNOWN, Code.INTERNAL, Code.DATA_LOSS}
MAX_BODY_BYTES = 5 * 1024 * 1024  # the setting's default
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods]
DIGIT = infer_request(np.zeros((1, 28, 28), np.uint8))
FILE = sample_png(3)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the least memory for bodies: 6 messages may arrive at a time."""
    limits = {"grpc_port": free_port(), "memory_budget_mb": 64, "client_timeout_s": 2}
    with serving(tmp_path_factory.mktemp("hostile"), **limits) as server:
        yield server
        assert "Traceback" not in server.log.read_text()
        assert " ERROR " not in server.log.read_text()


@pytest.fixture(scope="module")
def calls(hostile: Server) -> Iterator[GrpcClient]:
    """A connection to the server."""
    with grpc_client(hostile) as client:
        yield client


@pytest.fixture(autouse=True)
def _others_are_served(hostile: Server) -> Iterator[None]:
    """After each test, another client is served, over gRPC and HTTP."""
    yield
    packed = infer_request(struct.pack("<I", len(FILE)) + FILE, shape=[1], datatype="BYTES")
    with grpc_client(hostile) as client:
        reply = client.infer(packed)
    assert reply.code == Code.OK, reply
    assert np.frombuffer(reply.message.raw_output_contents[1], "<i8").tolist() == [3]
    assert hostile.ask(body=FILE).json["digit"] == 3


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(METHODS), content=st.binary(max_size=300))
def test_random_messages(calls: GrpcClient, name: str, content: bytes) -> None:
    """Any bytes get an answer or a refusal from every method."""
    assert calls.call(name, content).code not in FAULTS


@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_requests(calls: GrpcClient, data: st.DataObject) -> None:
    """Requests with wild shapes, datatypes, parameters, contents and bytes get an answer."""
    numbers = st.lists(st.integers(-(2**63), 2**63 - 1) | st.sampled_from([1, 28, 784]), max_size=6)
    tensor = pb.ModelInferRequest.InferInputTensor(
        name=data.draw(st.sampled_from(["image", "", "x"])),
        datatype=data.draw(st.sampled_from(["UINT8", "FP32", "BYTES", "FP16", "BOOL", "\x00"])),
        shape=data.draw(numbers),
    )
    if data.draw(st.booleans()):
        tensor.contents.fp32_contents.extend(data.draw(st.lists(st.floats(width=32), max_size=9)))
        tensor.contents.uint_contents.extend(data.draw(st.lists(st.integers(0, 300), max_size=9)))
        tensor.contents.bytes_contents.extend(data.draw(st.lists(st.binary(), max_size=3)))
    raw = data.draw(st.lists(st.binary(max_size=40) | st.just(bytes(784)), max_size=3))
    request = pb.ModelInferRequest(model_name="compact", inputs=[tensor], raw_input_contents=raw)
    for parameters in (request.parameters, tensor.parameters):
        name = data.draw(st.sampled_from(["scale", "preprocess", "binary_data_size", "x"]))
        choice = data.draw(st.sampled_from(["bool_param", "int64_param", "string_param", None]))
        values = {"bool_param": True, "int64_param": -(2**63), "string_param": "model"}
        if choice:
            setattr(parameters[name], choice, values[choice])
        else:
            parameters[name].SetInParent()
    content = bytearray(request.SerializeToString())
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    assert calls.infer(pb.ModelInferRequest(), metadata=()).code == Code.INVALID_ARGUMENT
    assert calls.call("ModelInfer", bytes(content)).code not in FAULTS


@pytest.mark.parametrize("name", ["ModelInfer", "ServerLive", REFLECTION, "ModelStreamInfer"])
def test_messages_over_the_limit(calls: GrpcClient, hostile: Server, name: str) -> None:
    """A message of more than the limit is refused, also if it is small until it is expanded."""
    sizes = [(MAX_BODY_BYTES + 1, None), (20 * MAX_BODY_BYTES, grpc.Compression.Gzip)]
    before = memory_mb(hostile)
    for size, compression in sizes:
        reply = calls.call(name, bytes(size), compression=compression)
        assert reply.code == Code.RESOURCE_EXHAUSTED
    assert memory_mb(hostile) - before < 60


def test_methods_without_tensors_take_small_messages(calls: GrpcClient) -> None:
    """A message of 1 MB is refused where a message has 100 bytes."""
    names = [name for name in METHODS if "Infer" not in name]
    for name in (*names, "/grpc.health.v1.Health/Check"):
        assert calls.call(name, bytes(1_000_000)).code == Code.RESOURCE_EXHAUSTED


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_crowds_of_empty_parts_take_little_memory(calls: GrpcClient, hostile: Server) -> None:
    """Millions of empty tensors in one message are not parsed."""
    before = memory_mb(hostile)
    for part in (b"\x2a\x00", b"\x32\x00", b"\x3a\x00", b"\x2a\x04\x2a\x02\x42\x00"):
        reply = calls.call("ModelInfer", part * (5_000_000 // len(part)))
        assert reply.code == Code.RESOURCE_EXHAUSTED
    assert memory_mb(hostile) - before < 60


@pytest.mark.parametrize("seconds", [0, 0.001, 0.01])
def test_short_deadlines(calls: GrpcClient, seconds: float) -> None:
    """A deadline that cannot be met ends as such, or the call is refused before it waits."""
    ends = (Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE)
    many = infer_request(np.zeros((3000, 28, 28), np.uint8), model="classic")
    for _ in range(5):
        assert calls.infer(many, timeout=seconds).code in ends
        assert calls.call("ServerLive", timeout=seconds).code in (Code.OK, Code.DEADLINE_EXCEEDED)


def test_cancelled_calls(calls: GrpcClient) -> None:
    """Hundreds of calls that are cancelled at once disturb nothing."""
    method = calls.channel.unary_unary(full_name("ModelInfer"))
    content = infer_request(np.zeros((100, 28, 28), np.uint8)).SerializeToString()
    for _ in range(300):
        method.future(content).cancel()


def test_crowds_of_metadata(calls: GrpcClient) -> None:
    """Thousands of entries, and long ones, are refused."""
    for metadata in (
        [(f"key-{number}", "value") for number in range(5000)],
        [("key", "x" * 100_000)],
        [("key-bin", bytes(100_000))],
    ):
        assert calls.call("ServerLive", metadata=metadata).code == Code.RESOURCE_EXHAUSTED
    strange = [("x-request-id", "x" * 1000), ("x-request-id", " "), ("authorization", "Bearer")]
    assert calls.call("ServerLive", metadata=[*strange, ("key-bin", b"\0\xff")]).code == Code.OK


def test_crowd_of_streams(calls: GrpcClient, hostile: Server) -> None:
    """However many streams are open, calls are answered; streams are, or are told why not."""
    with ExitStack() as stack:
        end = threading.Event()
        stack.callback(end.set)

        def requests() -> Iterator[pb.ModelInferRequest]:
            yield DIGIT
            end.wait()

        clients = [stack.enter_context(grpc_client(hostile)) for _ in range(4)]
        streams = [
            client.stream("ModelStreamInfer", requests()) for client in clients for _ in range(25)
        ]
        codes = set()
        for stream in streams:
            try:
                next(stream)
            except grpc.RpcError as error:
                codes.add(error.code())
        assert codes <= {Code.UNAVAILABLE}
        assert calls.infer(DIGIT).code == Code.OK


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_crowd_of_half_messages_takes_little_memory(calls: GrpcClient, hostile: Server) -> None:
    """Messages that never end take their places only: others are answered meanwhile."""
    before = memory_mb(hostile)
    with ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(Http2Client(hostile.grpc_port, address="127.0.0.2"))
            for _ in range(4):
                number = client.begin("ModelInfer")
                start = prefixed(bytes(10_000), MAX_BODY_BYTES)
                with suppress(OSError):
                    client.send(number, start)
        assert calls.infer(DIGIT).code == Code.OK
        assert memory_mb(hostile) - before < 60


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_clients_that_never_read_take_little_memory(calls: GrpcClient, hostile: Server) -> None:
    """Large responses that nobody reads count in the memory budget; others are answered."""

    def answered() -> float:
        refused = hostile.metric("digitscope_rejections_total", reason="memory")
        return hostile.metric("digitscope_verdicts_total") + refused

    before = memory_mb(hostile)
    many = infer_request(np.zeros((5000, 28, 28), np.uint8))
    tops = many.outputs.add(name="probabilities")
    tops.parameters["classification"].int64_param = 10
    content = prefixed(many.SerializeToString())
    with ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(Http2Client(hostile.grpc_port))
            counted = answered()
            client.send_all(client.begin("ModelInfer"), content)
            eventually(lambda counted=counted: answered() > counted)
        assert calls.infer(DIGIT).code == Code.OK
        assert memory_mb(hostile) - before < 100


def test_bytes_that_are_no_http2(hostile: Server) -> None:
    """Other protocols and damaged frames close the connection."""
    for content in (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(1000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000,
    ):
        with Http2Client(hostile.grpc_port, content) as client:
            client.read_until(b"", at_end=True)


def test_wrong_prefixes_and_headers(hostile: Server) -> None:
    """Calls whose headers or prefixes break gRPC's rules leave no fault in the log."""
    with Http2Client(hostile.grpc_port) as client:
        for headers, content in (
            ([("grpc-encoding", "snappy")], b"\x01\0\0\0\x01x"),
            ([("grpc-encoding", "gzip")], b"\x01\0\0\0\x05hello"),
            ([("grpc-timeout", "soon")], prefixed(b"")),
            ([], b"\x02\0\0\0\x01x"),
            ([], b"\0\0"),
            ([], b"\0\xff\xff\xff\xff"),
            ([], prefixed(b"") * 100),
        ):
            with suppress(OSError):
                client.send(client.begin("ServerLive", *headers), content, ends=True)


def test_reflection_is_not_abused(calls: GrpcClient) -> None:
    """Names that do not exist, long ones and thousands of requests get answers."""
    request = reflection_pb2.ServerReflectionRequest
    names = ["", "/etc/passwd", "../x", "\x00", "x" * 60_000, SERVICE + ".x", "é"]
    requests = [request()]
    for name in names:
        requests += [request(file_by_filename=name), request(file_containing_symbol=name)]
        requests.append(request(all_extension_numbers_of_type=name))
        requests.append(request())
        requests[-1].file_containing_extension.containing_type = name
    requests += [request(file_containing_symbol=SERVICE)] * 200
    answers = list(calls.stream(REFLECTION, requests))
    assert len(answers) == len(requests)
    parsed = reflection_pb2.ServerReflectionResponse.FromString(answers[1])
    assert parsed.error_response.error_code == Code.NOT_FOUND.value[0]
    for content in (b"\xff", bytes(100_000)):
        with pytest.raises(grpc.RpcError) as refused:
            list(calls.stream(REFLECTION, [content]))
        assert refused.value.code() not in FAULTS
