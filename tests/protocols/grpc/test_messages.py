"""Inference requests in protocol buffers mean the same as those in JSON."""

import numpy as np
import pytest

from app.errors import DigitscopeError, TooLargeError, UndecodableError
from app.protocols.grpc import inference_pb2 as pb
from app.protocols.grpc.messages import MAX_FIELDS, infer_response, parse_infer_request
from app.protocols.inference import Recognised
from app.samples import sample_png
from tests.conftest import Digits

INPUT = pb.ModelInferRequest.InferInputTensor
OUTPUT = pb.ModelInferRequest.InferRequestedOutputTensor
MAX_FILES = 10


def _request(
    datatype: str, shape: list[int], raw: bytes | None = None, **contents: object
) -> pb.ModelInferRequest:
    tensor = INPUT(name="image", datatype=datatype, shape=shape)
    if contents:
        tensor.contents.MergeFrom(pb.InferTensorContents(**contents))
    return pb.ModelInferRequest(
        model_name="compact", inputs=[tensor], raw_input_contents=[] if raw is None else [raw]
    )


def _parse(request: pb.ModelInferRequest) -> object:
    return parse_infer_request(request.SerializeToString(), MAX_FILES).request


def test_raw_and_typed_contents_hold_the_same_pixels(digits: Digits) -> None:
    """Pixels arrive unchanged as bytes, as integers and as floats."""
    images = digits.images[:3]
    shape = list(images.shape)
    floats = images.astype("<f4")
    for request in (
        _request("UINT8", shape, images.tobytes()),
        _request("FP32", shape, floats.tobytes()),
        _request("UINT8", shape, uint_contents=images.reshape(-1).tolist()),
        _request("FP32", shape, fp32_contents=floats.reshape(-1).tolist()),
    ):
        np.testing.assert_array_equal(_parse(request).pixels, images)


def test_files_and_options() -> None:
    """Files are taken in both forms; parameters, id, version and outputs are read."""
    files = [sample_png(3), b""]
    typed = _parse(_request("BYTES", [2], bytes_contents=files))
    packed = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    assert typed.files == _parse(_request("BYTES", [2], packed)).files == files
    request = _request("UINT8", [1, 784], bytes(784))
    request.id, request.model_version = "mine", "6"
    request.parameters["preprocess"].string_param = "auto"
    request.outputs.append(OUTPUT(name="probabilities"))
    request.outputs[0].parameters["classification"].int64_param = 2
    message = parse_infer_request(request.SerializeToString(), MAX_FILES)
    assert (message.model, message.version, message.request.id) == ("compact", "6", "mine")
    assert message.request.preprocess == "auto"
    assert [(each.name, each.classes) for each in message.request.outputs] == [("probabilities", 2)]


MANY = 2**40
REFUSED = {
    "no input": (pb.ModelInferRequest(model_name="compact"), "one tensor"),
    "two inputs": (
        pb.ModelInferRequest(inputs=[INPUT(name="image")] * 2, raw_input_contents=[b"", b""]),
        "one tensor",
    ),
    "both": (_request("UINT8", [1, 784], bytes(784), uint_contents=[0] * 784), "got both"),
    "no contents": (_request("UINT8", [1, 784]), "has 0 elements"),
    "short": (_request("UINT8", [1, 784], bytes(783)), "does not fit"),
    "part of a number": (_request("FP32", [1, 784], bytes(7)), "whole number"),
    "negative": (_request("UINT8", [-1, 784], bytes(784)), "does not fit"),
    "two negatives": (_request("UINT8", [-1, -784], bytes(784)), "does not fit"),
    "overflow": (_request("UINT8", [MANY, MANY, 784], bytes(784)), "does not fit"),
    "overflow to the right size": (_request("UINT8", [2**62, 4, 784], b""), "does not fit"),
    "none": (_request("UINT8", [0, 784], b""), "no image"),
    "no shape": (_request("UINT8", [], b"x"), "Expected the shape"),
    "long shape": (_request("UINT8", [1] * 1000 + [784], bytes(784)), "sizes"),
    "NaN": (_request("FP32", [1, 784], np.full(784, np.nan, "<f4").tobytes()), "nan"),
    "infinite": (_request("FP32", [1, 784], fp32_contents=[float("inf")] * 784), "inf"),
    "datatype": (_request("BOOL", [1, 784], bytes(784)), "'BOOL' is not supported"),
    "typed datatype": (_request("BOOL", [1, 1], bool_contents=[True]), "'BOOL' is not supported"),
    "no datatype": (_request("", [1, 784], bytes(784)), "'' is not supported"),
    "wrong field": (_request("UINT8", [1, 1], fp32_contents=[1]), "belong in uint_contents"),
    "range": (_request("UINT8", [1, 1], uint_contents=[256]), "from 0 to 255"),
    "one too few": (_request("UINT8", [1, 784], uint_contents=[0] * 783), "does not fit"),
    "file ends": (_request("BYTES", [1], b"\xff\xff\xff\xff"), "after the end"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_tensors_are_refused(case: str) -> None:
    """Each is refused with a message that names the fault."""
    request, words = REFUSED[case]
    with pytest.raises(UndecodableError) as refused:
        _parse(request)
    assert words in refused.value.detail


def test_shared_memory_is_refused() -> None:
    """A tensor that is said to be in shared memory is not taken for an empty one."""
    request = _request("UINT8", [1, 784], b"")
    request.inputs[0].parameters["shared_memory_region"].string_param = "mine"
    with pytest.raises(UndecodableError, match="Shared memory"):
        _parse(request)


@pytest.mark.parametrize("content", [b"\xff", b"\x0a\x05x", b"\x0a\x01\xff", b"\x2a\x02\x0a\x7f"])
def test_other_bytes_are_refused(content: bytes) -> None:
    """Bytes that are no message, or hold text that is no UTF-8, are refused."""
    with pytest.raises(UndecodableError, match="no valid ModelInferRequest"):
        parse_infer_request(content, MAX_FILES)


@pytest.mark.parametrize("crowd", [b"\x2a\x00", b"\x32\x00", b"\x3a\x00", b"\x22\x00"])
def test_crowds_of_empty_parts_are_not_parsed(crowd: bytes) -> None:
    """Millions of empty tensors would take hundreds of times their bytes."""
    with pytest.raises(TooLargeError, match="fields"):
        parse_infer_request(crowd * (MAX_FILES + MAX_FIELDS + 1), MAX_FILES)
    with pytest.raises(DigitscopeError):
        parse_infer_request(crowd * 100, MAX_FILES)


def test_too_many_files_are_refused() -> None:
    """The number of files is limited in both forms."""
    for request in (
        _request("BYTES", [MAX_FILES + 1], bytes_contents=[b"x"] * (MAX_FILES + 1)),
        _request("BYTES", [MAX_FILES + 1], b""),
    ):
        with pytest.raises(TooLargeError, match="at most 10"):
            _parse(request)


def test_response_has_the_form_of_the_request(classic, digits: Digits) -> None:
    """Raw contents are answered raw, typed ones typed; a parameter chooses."""
    images = digits.images[:2]
    metadata = classic.bundle.metadata
    recognised = Recognised(classic.runtime.predict(images).probabilities, ["Look."])
    raw = _request("UINT8", list(images.shape), images.tobytes())
    typed = _request("UINT8", list(images.shape), uint_contents=images.reshape(-1).tolist())
    answers = [infer_response(metadata, _parse(each), recognised) for each in (raw, typed)]
    for answer in answers:
        assert [output.name for output in answer.outputs] == ["probabilities", "digit", "label"]
        assert [list(output.shape) for output in answer.outputs] == [[2, 10], [2], [2]]
        assert answer.parameters["warnings"].string_param == "Look."
    floats, integers, texts = (output.contents for output in answers[1].outputs)
    assert not answers[1].raw_output_contents
    raw_floats, raw_integers, raw_texts = answers[0].raw_output_contents
    assert np.frombuffer(raw_floats, "<f4").tolist() == list(floats.fp32_contents)
    assert np.frombuffer(raw_integers, "<i8").tolist() == list(integers.int64_contents)
    assert raw_texts == b"".join(b"\x01\0\0\0" + text for text in texts.bytes_contents)
    raw.parameters["binary_data_output"].bool_param = False
    assert not infer_response(metadata, _parse(raw), recognised).raw_output_contents
