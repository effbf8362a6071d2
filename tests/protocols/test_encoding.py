"""JSON of the protocols is checked before it is parsed."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.errors import TooLargeError, UndecodableError
from app.protocols.encoding import read_json


@contextmanager
def _little_memory() -> Iterator[None]:
    """Fail if the block allocates a megabyte."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_json_with_too_many_nested_lists_is_not_parsed() -> None:
    """Half a million lists, which would take about 30 MB, are refused without building them."""
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    content = json.dumps({"inputs": [deep] * 5000}).encode()
    with _little_memory(), pytest.raises(UndecodableError, match="505001 lists"):
        read_json(content, 10)


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
    with _little_memory(), pytest.raises(TooLargeError, match="200000 names"):
        read_json(content, 10)


def test_json_with_too_many_objects_is_not_parsed() -> None:
    """Empty objects have no names; they are counted by their braces."""
    with pytest.raises(TooLargeError, match="200001 names or objects"):
        read_json(b'{"instances": [' + b"{}," * 199_999 + b"{}]}", 10)


def test_names_for_each_image_are_parsed() -> None:
    """As many images as are allowed may each name their input and their encoding."""
    instances = [{"image": {"b64": "eA=="}}] * 2000
    parsed = read_json(json.dumps({"instances": instances}).encode(), 2000)
    assert parsed["instances"] == instances
