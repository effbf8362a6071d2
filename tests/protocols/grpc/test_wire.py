"""Fields are counted before a message is parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.protocols.grpc import inference_pb2 as pb
from app.protocols.grpc.wire import has_more_fields

NESTED = {5: {5: {}}}  # the contents of the inputs
INPUT = pb.ModelInferRequest.InferInputTensor


def test_fields_are_counted_inside_messages() -> None:
    """Fields of the message and of the named messages inside it count; packed numbers are one."""
    contents = pb.InferTensorContents(bytes_contents=[b"a", b"b"], fp32_contents=[1.0] * 100)
    tensor = INPUT(name="image", shape=[1, 28, 28], contents=contents)
    content = pb.ModelInferRequest(model_name="compact", inputs=[tensor]).SerializeToString()
    # model_name, inputs; name, shape, contents; two files, numbers.
    assert has_more_fields(content, 7, NESTED)
    assert not has_more_fields(content, 8, NESTED)
    assert not has_more_fields(content, 5, {5: {}})
    assert not has_more_fields(content, 2, {})


@pytest.mark.parametrize(
    "field", [b"\x2a\x00", b"\x2a\x02\x2a\x00", b"\x1a\x00", b"\x08\x01", b"\x0d" + bytes(4)]
)
def test_crowds_of_fields_are_seen(field: bytes) -> None:
    """Many small fields are seen, whatever they are."""
    assert has_more_fields(field * 1000, 999, NESTED)
    assert not has_more_fields(field * 10, 999, NESTED)


@given(st.binary(max_size=200))
def test_damaged_messages_are_left_to_the_parser(content: bytes) -> None:
    """Bytes that are no message raise nothing."""
    assert not has_more_fields(content, 1000, NESTED)
    assert has_more_fields(content, 0, NESTED) == bool(content)
