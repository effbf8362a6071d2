"""JSON of the protocols is checked before it is parsed."""

import json

import pytest

from app.errors import TooLargeError, UndecodableError
from app.protocols.encoding import read_json
from tests.traced_memory import least_peak


def _is_refused(content: bytes, error: type[Exception], message: str) -> None:
    """Fail unless JSON is refused, and that takes less than a megabyte."""

    def refuse(content: bytes) -> None:
        with pytest.raises(error, match=message):
            read_json(content, 10)

    enough = 1_000_000  # bytes
    assert least_peak(lambda: content, refuse, enough) < enough


def test_json_with_too_many_nested_lists_is_not_parsed() -> None:
    """Half a million lists, which would take about 30 MB, are refused without building them."""
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    content = json.dumps({"inputs": [deep] * 5000}).encode()
    _is_refused(content, UndecodableError, "505001 lists")


@pytest.mark.parametrize("shape", [(50, 28, 28, 1), (2000, 1), (1, 1, 1, 1)])
def test_tensor_with_a_list_around_each_value_is_parsed(shape: tuple[int, ...]) -> None:
    """Trailing dimensions of size 1 do not count as too many lists."""
    tensor: object = 7
    for size in reversed(shape):
        tensor = [tensor] * size
    assert read_json(json.dumps({"inputs": tensor}).encode(), 10)["inputs"] == tensor


@pytest.mark.parametrize("entry", ['"n%d":1', '"n%d":{}'])
def test_json_with_too_many_names_is_not_parsed(entry: str) -> None:
    """200,000 names, which would take about 20 MB, are refused without building them."""
    content = ("{" + ",".join(entry % number for number in range(200_000)) + "}").encode()
    _is_refused(content, TooLargeError, "200000 names")


def test_json_with_too_many_objects_is_not_parsed() -> None:
    """Empty objects have no names; they are counted by their braces."""
    with pytest.raises(TooLargeError, match="200001 names or objects"):
        read_json(b'{"instances": [' + b"{}," * 199_999 + b"{}]}", 10)


def test_names_for_each_image_are_parsed() -> None:
    """As many images as are allowed may each name their input and their encoding."""
    instances = [{"image": {"b64": "eA=="}}] * 2000
    parsed = read_json(json.dumps({"instances": instances}).encode(), 2000)
    assert parsed["instances"] == instances
