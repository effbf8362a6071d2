"""Parses the requests and writes the responses of the Open Inference Protocol, version 2.

A message is JSON, followed by the raw bytes of the binary tensors. Knows the protocol's messages;
knows nothing of routes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from app.bundle import MAX_CLASSES, Metadata
from app.errors import UndecodableError
from app.inference.runtime import Pixels
from app.protocols import tensors
from app.protocols.encoding import json_response, read_json, shorten, to_json
from app.protocols.inference import Recognised
from app.protocols.input_options import InputOptions, parse_input_options, parse_parameters
from app.recognise import Preprocess
from app.web.requests.parsing import without_gc

LENGTH_HEADER = "inference-header-content-length"
INPUT = "image"
PROBABILITIES, DIGIT, LABEL = OUTPUTS = "probabilities", "digit", "label"
DATATYPES = (*tensors.PIXEL_TYPES, "BYTES")
# Decimal digits of a length in the header: more than any length has. Python refuses to convert
# 4,300 digits and more.
MAX_LENGTH_DIGITS = 19


@dataclass(frozen=True)
class RequestedOutput:
    """One output that the client asks for.

    Attributes:
        name: `probabilities`, `digit` or `label`.
        binary: Whether to send it as raw bytes instead of JSON.
        classes: How many of the most probable classes to name instead of sending numbers; 0 sends
            the numbers.
    """

    name: str
    binary: bool
    classes: int


@dataclass(frozen=True)
class ParsedInferRequest:
    """An inference request.

    Attributes:
        id: The client's name for the request, or None.
        pixels: `[N, 28, 28]`, or None if the request has files.
        files: Image files; empty if the request has pixels.
        outputs: The outputs that the client asks for, in order.
        preprocess: Whether pixels are prepared.
    """

    id: str | None
    pixels: Pixels | None
    files: Sequence[bytes]
    outputs: Sequence[RequestedOutput]
    preprocess: Preprocess = "none"


@dataclass(frozen=True)
class EncodedOutput:
    """One output of a response.

    Attributes:
        requested: What the client asked for.
        datatype: The protocol's name of its type.
        shape: Its shape.
        values: Its elements in row-major order: numbers, little-endian, or texts.
    """

    requested: RequestedOutput
    datatype: str
    shape: list[int]
    values: NDArray[Any] | list[str]

    def data(self) -> list[Any]:
        """Return the elements for JSON or a typed field."""
        return self.values if isinstance(self.values, list) else self.values.tolist()

    def raw(self) -> bytes:
        """Return the elements as the raw bytes of a binary tensor."""
        if isinstance(self.values, list):
            return tensors.pack_strings([text.encode() for text in self.values])
        return self.values.tobytes()


@without_gc
def parse_request(content: bytes, length_header: str | None, max_files: int) -> ParsedInferRequest:
    """Parse the body of an inference request.

    Args:
        content: The body: JSON, followed by the binary tensors.
        length_header: Value of the header that gives the length of the JSON; None if the body is
            all JSON.
        max_files: Image files in one request, at most.

    Raises:
        UndecodableError: The body does not follow the protocol.
        TooLargeError: There are more than `max_files` files.
    """
    length = _parse_length(length_header, len(content))
    if length == 0:  # no JSON: the whole body is one tensor of one image
        return ParsedInferRequest(None, *_parse_raw_image(content), _all_outputs(binary=True))
    return parse_message(read_json(content[:length], max_files), content[length:], max_files)


def parse_message(
    message: Mapping[str, Any], raw: bytes, max_files: int, *, binary_output: bool = False
) -> ParsedInferRequest:
    """Parse an inference request whose fields have the names and types of JSON.

    Args:
        message: The fields of the request.
        raw: The binary tensor of the input; empty if the message has its data.
        max_files: Image files in one request, at most.
        binary_output: Whether outputs are raw bytes if the client says nothing about it.

    Raises:
        UndecodableError: The message does not follow the protocol.
        TooLargeError: There are more than `max_files` files.
    """
    inputs = message.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise UndecodableError(f"Expected 'inputs' with one tensor, named {INPUT!r}.")
    options = parse_input_options(parse_parameters(message), parse_parameters(inputs[0]))
    pixels, files = _parse_input(inputs[0], raw, max_files, options)
    request_id = message.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise UndecodableError("'id' must be a string.")
    outputs = _parse_outputs(message, binary=binary_output)
    return ParsedInferRequest(request_id, pixels, files, outputs, options.preprocess)


def _parse_length(header: str | None, body_length: int) -> int:
    if header is None:
        return body_length
    if not header.isdecimal() or len(header) > MAX_LENGTH_DIGITS or int(header) > body_length:
        raise UndecodableError(
            f"The header {LENGTH_HEADER} is {header[:40]!r}; expected a number of bytes, at most"
            f" {body_length}, the length of the body."
        )
    return int(header)


def _parse_raw_image(content: bytes) -> tuple[Pixels | None, Sequence[bytes]]:
    """Return pixels if the length is that of a 28x28 in one of the datatypes, else a file."""
    for datatype in tensors.RAW_TYPES:
        if len(content) == tensors.SIDE**2 * tensors.PIXEL_TYPES[datatype].itemsize:
            return tensors.to_pixels(tensors.from_bytes(content, datatype, [1, 28, 28])), ()
    return None, [content]


def _parse_input(
    tensor: Mapping[str, Any], raw: bytes, max_files: int, options: InputOptions
) -> tuple[Pixels | None, Sequence[bytes]]:
    name, datatype, shape = (tensor.get(key) for key in ("name", "datatype", "shape"))
    if name != INPUT:
        raise UndecodableError(f"There is no input {shorten(name)}; expected {INPUT!r}.")
    if datatype not in DATATYPES:
        raise UndecodableError(
            f"The datatype {shorten(datatype)} is not supported; expected {', '.join(DATATYPES)}."
        )
    shape = _parse_shape(shape)
    size = parse_parameters(tensor).get("binary_data_size")
    if (size is None) == (tensor.get("data") is None):
        raise UndecodableError("Expected either 'data' or the parameter 'binary_data_size'.")
    if size is None:
        return _parse_data(tensor["data"], datatype, shape, max_files, options)
    if type(size) is not int or size != len(raw):
        raise UndecodableError(
            f"'binary_data_size' is {shorten(size)}, but {len(raw)} bytes follow the JSON."
        )
    if datatype == "BYTES":
        return None, tensors.unpack_strings(raw, tensors.count_files(shape, max_files))
    return tensors.to_pixels(tensors.from_bytes(raw, datatype, shape), options.scale), ()


def _parse_shape(shape: Any) -> list[int]:
    if not isinstance(shape, list):
        raise UndecodableError("Expected a 'shape' of integers.")
    if len(shape) > tensors.MAX_DIMENSIONS:  # multiplying a million sizes would take minutes
        raise UndecodableError(
            f"The 'shape' has {len(shape)} sizes; at most {tensors.MAX_DIMENSIONS} are expected."
        )
    if not all(type(size) is int for size in shape):
        raise UndecodableError("Expected a 'shape' of integers.")
    return shape


def _parse_data(
    data: Any, datatype: str, shape: Sequence[int], max_files: int, options: InputOptions
) -> tuple[Pixels | None, Sequence[bytes]]:
    if datatype != "BYTES":
        values = tensors.from_lists(data, shape)
        if tensors.PIXEL_TYPES[datatype].kind in "iu":
            values = tensors.check_integers(values, datatype)
        return tensors.to_pixels(values, options.scale), ()
    count = tensors.count_files(shape, max_files)
    if not isinstance(data, list) or len(data) != count:
        raise UndecodableError(f"BYTES data must be a list of {count} strings, as its shape says.")
    return None, [tensors.decode_base64(text) for text in data]


def _all_outputs(*, binary: bool) -> list[RequestedOutput]:
    return [RequestedOutput(name, binary, 0) for name in OUTPUTS]


def _parse_outputs(message: Mapping[str, Any], *, binary: bool) -> Sequence[RequestedOutput]:
    binary = parse_parameters(message).get("binary_data_output", binary) is True
    entries = message.get("outputs")
    if not entries:
        return _all_outputs(binary=binary)
    if not isinstance(entries, list):
        raise UndecodableError("'outputs' must be a list.")
    outputs: list[RequestedOutput] = []
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        if name not in OUTPUTS:
            raise UndecodableError(
                f"There is no output {shorten(name)}; expected one of {', '.join(OUTPUTS)}."
            )
        # One output listed thousands of times would make a response of gigabytes.
        if any(name == output.name for output in outputs):
            raise UndecodableError(f"The output {name!r} is listed twice.")
        parameters = parse_parameters(entry)
        classes = parameters.get("classification", 0)
        if type(classes) is not int or classes < 0 or (classes and name != PROBABILITIES):
            raise UndecodableError(
                f"'classification' must be a count, and only {PROBABILITIES!r} has classes."
            )
        entry_binary = parameters.get("binary_data", binary) is True
        outputs.append(RequestedOutput(name, entry_binary, min(classes, MAX_CLASSES)))
    return outputs


def write_response(
    metadata: Metadata,
    inference: ParsedInferRequest,
    recognised: Recognised,
) -> Response:
    """Return the response with the requested outputs, in the order of the request.

    Args:
        metadata: Metadata of the model.
        inference: The inference request.
        recognised: The answers; their warnings become a parameter of the response.
    """
    entries, raw = [], b""
    for output in encode_outputs(inference, recognised, metadata.classes):
        entry: dict[str, Any] = {
            "name": output.requested.name,
            "datatype": output.datatype,
            "shape": output.shape,
        }
        if output.requested.binary:
            content = output.raw()
            entry["parameters"] = {"binary_data_size": len(content)}
            raw += content
        else:
            entry["data"] = output.data()
        entries.append(entry)
    message: dict[str, Any] = {
        "model_name": metadata.name,
        "model_version": str(metadata.version),
        "outputs": entries,
    }
    if inference.id is not None:
        message["id"] = inference.id
    if recognised.warnings:
        message["parameters"] = {"warnings": " ".join(recognised.warnings)}
    if not any(output.binary for output in inference.outputs):
        return json_response(message)
    head = to_json(message)
    headers = {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(len(head))}
    return Response(head + raw, headers=headers)


def encode_outputs(
    inference: ParsedInferRequest, recognised: Recognised, classes: Sequence[str]
) -> list[EncodedOutput]:
    """Return the outputs that a client asks for, in the order of the request.

    Args:
        inference: The inference request.
        recognised: The answers.
        classes: Names of the classes of the model.
    """
    return [
        EncodedOutput(output, *_encode_output(output, recognised.probabilities, classes))
        for output in inference.outputs
    ]


def _encode_output(
    output: RequestedOutput, probabilities: NDArray[np.float32], classes: Sequence[str]
) -> tuple[str, list[int], NDArray[Any] | list[str]]:
    """Return datatype, shape and values of an output."""
    if output.classes:
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : output.classes]
        labels = [
            f"{row[digit]:f}:{digit}:{classes[digit]}"  # probability, index and label of the class
            for row, digits in zip(probabilities, order, strict=True)
            for digit in digits
        ]
        return "BYTES", list(order.shape), labels
    if output.name == PROBABILITIES:
        return "FP32", list(probabilities.shape), probabilities.reshape(-1).astype("<f4")
    digits = probabilities.argmax(axis=1).astype("<i8")
    if output.name == DIGIT:
        return "INT64", [len(digits)], digits
    return "BYTES", [len(digits)], [classes[digit] for digit in digits.tolist()]
