"""JSON that the protocols refuse before they read it."""

import json
import tracemalloc

import pytest

from app.errors import UndecodableError
from app.protocols.encoding import read_json


def test_lists_in_lists_are_not_built() -> None:
    """Half a million of them, which would take some 30 MB and much of the event loop's time."""
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    content = json.dumps({"inputs": [deep] * 5000}).encode()
    tracemalloc.start()
    try:
        with pytest.raises(UndecodableError, match="505001 lists"):
            read_json(content)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [(50, 28, 28, 1), (2000, 1), (1, 1, 1, 1)])
def test_tensors_with_a_list_for_each_value_are_read(shape: tuple[int, ...]) -> None:
    """However their last sizes are written."""
    tensor: object = 7
    for size in reversed(shape):
        tensor = [tensor] * size
    assert read_json(json.dumps({"inputs": tensor}).encode())["inputs"] == tensor
