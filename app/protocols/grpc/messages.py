"""Translates inference requests and responses from and into protocol buffers.

What a request may say is checked in `app.protocols.oip_messages`, for HTTP and gRPC alike. Knows
the schema in inference.proto; knows nothing of calls.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from google.protobuf.message import DecodeError

from app.bundle import Metadata
from app.errors import TooLargeError, UndecodableError
from app.protocols import tensors
from app.protocols.grpc import inference_pb2 as pb
from app.protocols.grpc.wire import Nested, has_more_fields
from app.protocols.inference import Recognised
from app.protocols.oip_messages import (
    EncodedOutput,
    ParsedInferRequest,
    encode_outputs,
    parse_message,
)
from app.web.requests.parsing import without_gc

T = TypeVar("T")
# Fields of an inference request besides its image files: names, parameters, sizes. Most have 20.
MAX_FIELDS = 10_000
# The fields that hold messages: parameters, inputs with parameters and contents, outputs.
_NESTED: Nested = {4: {}, 5: {4: {}, 5: {}}, 6: {2: {}}}
MAX_SHOWN_DIMENSIONS = tensors.MAX_DIMENSIONS + 1  # sizes of a shape that are looked at
# The field of `contents` for each datatype.
_FIELDS = {
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "INT8": "int_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "UINT8": "uint_contents",
}


class InferMessage(NamedTuple):
    """An inference request.

    Attributes:
        model: Name of the model.
        version: The version that the client asks for; None for any.
        request: What it asks for.
        marks_final: Whether a response on a stream says that it is the last one for the request.
    """

    model: str
    version: str | None
    request: ParsedInferRequest
    marks_final: bool


def parse(kind: type[T], content: bytes) -> T:
    """Return a message of a generated class.

    Raises:
        UndecodableError: The bytes are no such message.
    """
    try:
        return kind.FromString(content)  # type: ignore[attr-defined, no-any-return]
    except DecodeError as error:
        raise UndecodableError(f"The message is no valid {kind.__name__}.") from error


@without_gc
def parse_infer_request(content: bytes, max_files: int) -> InferMessage:
    """Parse a `ModelInferRequest`.

    Args:
        content: The encoded message.
        max_files: Image files in one request, at most.

    Raises:
        UndecodableError: The message does not follow the protocol.
        TooLargeError: It has more than `max_files` files, or far more fields than any request.
    """
    if has_more_fields(content, max_files + MAX_FIELDS, _NESTED):
        raise TooLargeError(
            f"The message was not parsed: it has more than {max_files + MAX_FIELDS} fields. Send"
            " numbers packed or in raw_input_contents."
        )
    message = parse(pb.ModelInferRequest, content)
    raw, fields = _raw_input(message), _fields(message)
    for tensor in fields["inputs"]:
        tensor["parameters"]["binary_data_size"] = len(raw)
    is_raw = bool(message.raw_input_contents)
    return InferMessage(
        message.model_name,
        message.model_version or None,
        parse_message(fields, raw, max_files, binary_output=is_raw),
        fields["parameters"].get("triton_enable_empty_final_response") is True,
    )


def _fields(message: pb.ModelInferRequest) -> dict[str, Any]:
    """Return the fields of a request as those of JSON, without the elements of its tensors."""
    return {
        "id": message.id or None,
        "parameters": _parameters(message.parameters),
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape[:MAX_SHOWN_DIMENSIONS]),
                "parameters": _parameters(tensor.parameters),
            }
            for tensor in message.inputs[:2]  # more than one is refused
        ],
        "outputs": [
            {"name": output.name, "parameters": _parameters(output.parameters)}
            for output in message.outputs
        ],
    }


def _parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(parameter) for name, parameter in values.items()}


def _value(parameter: Any) -> Any:
    chosen = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, chosen) if chosen else None


def _raw_input(message: pb.ModelInferRequest) -> bytes:
    """Return the bytes of the input, from raw or typed contents."""
    raw, typed = (
        message.raw_input_contents,
        any(each.HasField("contents") for each in message.inputs),
    )
    if raw and typed:
        raise UndecodableError("Expected either raw_input_contents or contents, got both.")
    if typed:
        return _encode_contents(message.inputs[0])
    if len(raw) != len(message.inputs):
        raise UndecodableError(
            f"raw_input_contents has {len(raw)} elements; expected one for each of the"
            f" {len(message.inputs)} inputs, or contents in each input."
        )
    return raw[0] if raw else b""


def _encode_contents(tensor: Any) -> bytes:
    """Return typed contents as the raw bytes of a tensor."""
    wanted = _FIELDS.get(tensor.datatype)
    given = [field.name for field, _ in tensor.contents.ListFields()]
    if wanted is None and tensor.datatype in tensors.PIXEL_TYPES:
        raise UndecodableError(f"{tensor.datatype} has no contents; send raw_input_contents.")
    if wanted is not None and given not in ([], [wanted]):
        raise UndecodableError(
            f"The contents of {tensor.datatype} belong in {wanted}, got {', '.join(given)}."
        )
    if tensor.datatype == "BYTES":
        return tensors.pack_strings(list(tensor.contents.bytes_contents))
    if wanted is None or tensor.datatype not in tensors.PIXEL_TYPES:
        return b""  # refused by its datatype
    return _encode_numbers(getattr(tensor.contents, wanted), tensor.datatype)


def _encode_numbers(numbers: Sequence[Any], datatype: str) -> bytes:
    """Return numbers as raw bytes.

    Raises:
        UndecodableError: One is out of the range of the datatype.
    """
    dtype = tensors.PIXEL_TYPES[datatype]
    values = np.array(numbers) if len(numbers) else np.empty(0, dtype)
    if dtype.kind in "iu":
        values = tensors.check_integers(values, datatype)
    return values.astype(dtype).tobytes()


def infer_response(
    metadata: Metadata, request: ParsedInferRequest, recognised: Recognised
) -> pb.ModelInferResponse:
    """Return the response with the requested outputs, in the order of the request.

    They are raw if all of them are wanted raw, and typed otherwise: a response cannot mix both.

    Args:
        metadata: Metadata of the model.
        request: The inference request.
        recognised: The answers; their warnings become a parameter of the response.
    """
    response = pb.ModelInferResponse(
        model_name=metadata.name, model_version=str(metadata.version), id=request.id or ""
    )
    outputs = encode_outputs(request, recognised, metadata.classes)
    is_raw = all(output.requested.binary for output in outputs)
    for output in outputs:
        tensor = response.outputs.add(
            name=output.requested.name, datatype=output.datatype, shape=output.shape
        )
        if is_raw:
            response.raw_output_contents.append(output.raw())
        else:
            _fill(tensor.contents, output)
    if recognised.warnings:
        response.parameters["warnings"].string_param = " ".join(recognised.warnings)
    return response


def _fill(contents: pb.InferTensorContents, output: EncodedOutput) -> None:
    data = output.data()
    if output.datatype == "BYTES":
        data = [text.encode() for text in data]
    getattr(contents, _FIELDS[output.datatype]).extend(data)
