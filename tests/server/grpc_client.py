"""A gRPC client that never raises, and one that speaks HTTP/2 by hand."""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc
import numpy as np
from google.protobuf.message import Message

from app.protocols.grpc import inference_pb2 as pb
from tests.server.process import PATIENCE_S, Server

SERVICE = "inference.GRPCInferenceService"
DATA, HEADERS, SETTINGS = 0, 1, 4  # frame types of HTTP/2
RESET, GOAWAY, WINDOW_UPDATE = 3, 7, 8
END_STREAM, END_HEADERS = 1, 4
HEAD = 9  # bytes of the head of a frame
MAX_FRAME, WINDOW = 16_384, 65_535  # bytes: of a frame, and that may be sent unasked
Metadata = Sequence[tuple[str, str]]


class Reply(NamedTuple):
    """The end of a call, and its response if it succeeded."""

    code: grpc.StatusCode
    detail: str = ""
    message: Any = None
    metadata: dict[str, str] | None = None


class GrpcClient:
    """A connection of its own to a service on this machine."""

    def __init__(self, port: int) -> None:
        """Use the service at a port."""
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{port}",
            options=[
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_retries", 0),
            ],
        )

    def call(
        self,
        name: str,
        request: Message | bytes = b"",
        answer: type[Message] | None = None,
        *,
        metadata: Metadata = (),
        timeout: float | None = PATIENCE_S,
        compression: grpc.Compression | None = None,
    ) -> Reply:
        """Call a method: of the inference service, or of the one that its name gives."""
        content = request if isinstance(request, bytes) else request.SerializeToString()
        method = self.channel.unary_unary(full_name(name))
        try:
            response, ended = method.with_call(
                content, metadata=metadata, timeout=timeout, compression=compression
            )
        except grpc.RpcError as error:
            return Reply(error.code(), error.details(), None, dict(error.trailing_metadata() or ()))
        parsed = answer.FromString(response) if answer else response
        return Reply(grpc.StatusCode.OK, "", parsed, dict(ended.trailing_metadata()))

    def infer(self, request: Message, **options: Any) -> Reply:
        """Call `ModelInfer`."""
        return self.call("ModelInfer", request, pb.ModelInferResponse, **options)

    def stream(
        self, name: str, requests: Iterable[bytes | Message], *, metadata: Metadata = ()
    ) -> Any:
        """Open a stream, and return its responses as they come."""
        contents = (
            each if isinstance(each, bytes) else each.SerializeToString() for each in requests
        )
        method = self.channel.stream_stream(full_name(name))
        return method(contents, metadata=metadata, timeout=PATIENCE_S)


def full_name(name: str) -> str:
    """Return the path of a method, which is one of the inference service by default."""
    return name if name.startswith("/") else f"/{SERVICE}/{name}"


@contextmanager
def grpc_client(server: Server) -> Iterator[GrpcClient]:
    """Connect to a server until the block ends."""
    client = GrpcClient(server.grpc_port)
    with client.channel:
        yield client


def infer_request(
    images: np.ndarray | bytes, *, datatype: str = "UINT8", model: str = "compact", **fields: Any
) -> pb.ModelInferRequest:
    """Return a request with raw contents."""
    tensor = pb.ModelInferRequest.InferInputTensor(
        name="image", datatype=datatype, shape=fields.pop("shape", None) or images.shape
    )
    content = images if isinstance(images, bytes) else images.tobytes()
    return pb.ModelInferRequest(
        model_name=model, inputs=[tensor], raw_input_contents=[content], **fields
    )


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)


class Http2Client:
    """A connection whose frames are written by hand; it reads only when it is asked to."""

    def __init__(self, port: int, start: bytes = PREFACE, *, address: str = "127.0.0.1") -> None:
        """Connect, and send the bytes with which a connection starts."""
        self.socket = socket.create_connection(("127.0.0.1", port), source_address=(address, 0))
        self.socket.settimeout(PATIENCE_S)
        self.socket.sendall(start)
        self._stream = -1

    def __enter__(self) -> "Http2Client":
        """Use the connection until the block ends."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the connection."""
        self.socket.close()

    def begin(self, name: str, *headers: tuple[str, str]) -> int:
        """Begin a call and return the number of its stream."""
        self._stream += 2
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", full_name(name)),
            (":authority", "localhost"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *headers,
        ]
        block = b"".join(b"\x00" + _text(key) + _text(value) for key, value in fields)
        self.socket.sendall(frame(HEADERS, END_HEADERS, self._stream, block))
        return self._stream

    def send(self, stream: int, content: bytes, *, ends: bool = False) -> None:
        """Send bytes of a stream: a part of a message with its prefix."""
        self.socket.sendall(frame(DATA, END_STREAM if ends else 0, stream, content))

    def send_all(self, stream: int, content: bytes) -> None:
        """Send a whole message in frames, each when the service has given room for it."""
        window = {0: WINDOW, stream: WINDOW}
        sent, received = 0, b""
        while sent < len(content):
            size = min(MAX_FRAME, len(content) - sent, *window.values())
            if size:
                last = sent + size == len(content)
                self.send(stream, content[sent : sent + size], ends=last)
                sent += size
                window = {number: left - size for number, left in window.items()}
                continue
            received += self.socket.recv(65536)
            while len(received) >= HEAD and len(received) >= (end := HEAD + _length(received)):
                kind, number = received[3], struct.unpack(">I", received[5:HEAD])[0]
                if kind == WINDOW_UPDATE and number in window:
                    window[number] += struct.unpack(">I", received[HEAD:end])[0]
                assert kind not in (RESET, GOAWAY), received
                received = received[end:]

    def read_until(self, words: bytes, *, at_end: bool = False) -> bytes:
        """Return what the service sends until some bytes have come, or until it closes."""
        received = b""
        while at_end or words not in received:
            part = self.socket.recv(65536)
            if at_end and not part:
                break
            assert part, received
            received += part
        return received


def _length(received: bytes) -> int:
    return int.from_bytes(received[:3], "big")


def prefixed(message: bytes, length: int | None = None) -> bytes:
    """Return a message with gRPC's prefix, which may announce another length."""
    return struct.pack(">BI", 0, len(message) if length is None else length) + message


def _text(value: str) -> bytes:
    content = value.encode()
    assert len(content) < 127  # longer ones need a longer length
    return bytes([len(content)]) + content
