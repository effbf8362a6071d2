"""What bodies of the protocols may cost, and say, before anything is believed of them."""

import gc
import json
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.errors import DigitscopeError, TooLargeError, UndecodableError
from app.protocols import oip, tensors, tfserving

PIXELS = {"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": [0] * 784}


def _oip(tensor: dict[str, Any], raw: bytes = b"", **more: Any) -> oip.ParsedInferRequest:
    if raw:
        tensor = {**tensor, "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return oip.read_request(head + raw, str(len(head)), 10)


def _tfs(**said: Any) -> tfserving.ParsedPredictRequest:
    return tfserving.read_request(json.dumps(said).encode(), 10)


@pytest.mark.parametrize("shape", [(784,), (28, 28), (28, 28, 1)])
@pytest.mark.parametrize("kind", [int, float])
def test_lists_become_the_array_that_they_are(shape: tuple[int, ...], kind: type) -> None:
    """Nested lists keep their shape, their numbers and whether these are whole."""
    values = np.random.default_rng(5).integers(0, 256, (3, *shape)).astype(kind)
    found = tensors.from_lists(values.tolist())
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(
        tensors.from_lists(values.reshape(-1).tolist(), [3, 784]), values.reshape(3, 784)
    )


@pytest.mark.parametrize(
    "data",
    [7, "7", None, {}, [None], ["7"], [True], [True, 1], [[1], 1], [[1], [1, 2]], [{}], [2**64]],
)
def test_lists_of_something_else_are_refused(data: Any) -> None:
    """Texts, truth values, gaps and numbers that no array holds are no numbers."""
    with pytest.raises(UndecodableError):
        tensors.from_lists(data)


def test_lists_are_flattened_four_deep() -> None:
    """No images are nested deeper, and NumPy has an end of its own."""
    deep = json.loads("[" * 100 + "]" * 100)
    with pytest.raises(UndecodableError, match="more than the 4 lists"):
        tensors.from_lists(deep)


def test_a_text_among_numbers_takes_no_room_for_each() -> None:
    """One text of 1,000 letters among 100,000 numbers: NumPy would take 400 MB for them."""
    data = ["a" * 1000] + [0] * 100_000
    tracemalloc.start()
    try:
        with pytest.raises(UndecodableError, match="must be numbers"):
            tensors.from_lists(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


def test_files_that_are_too_many_are_not_decoded() -> None:
    """A thousand files are refused by their number, whatever they hold."""
    files = {"name": "image", "datatype": "BYTES", "shape": [1000]}
    damaged = struct.pack("<I", 2**31)
    for ask in (
        lambda: _oip({**files, "data": ["?"] * 1000}),
        lambda: _oip(files, damaged),
        lambda: _tfs(instances=[{"b64": "?"}] * 1000),
        lambda: _tfs(inputs={"image": [{"b64": "?"}] * 1000}),
    ):
        with pytest.raises(TooLargeError, match="1000 images; at most 10"):
            ask()


def test_elements_behind_those_of_the_shape_are_not_unpacked() -> None:
    """A tensor that says 3 and holds 1,000 is refused after the third."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [3]}
    with pytest.raises(UndecodableError, match="more than the 3 elements"):
        _oip(tensor, bytes(4 * 3) + struct.pack("<I", 2**31) * 997)


def test_an_output_is_written_once() -> None:
    """One asked for 100,000 times, of many images, would be an answer of gigabytes."""
    wanted = [{"name": "probabilities"}, {"name": "digit"}]
    assert [one.name for one in _oip(PIXELS, outputs=wanted).outputs] == ["probabilities", "digit"]
    with pytest.raises(UndecodableError, match="'digit' is asked for twice"):
        _oip(PIXELS, outputs=[*wanted, {"name": "digit"}])


LONG: list[Any] = ["x" * 100_000, [0] * 100_000, dict.fromkeys(map(str, range(100_000)), 0)]


@pytest.mark.parametrize("long", LONG, ids=["text", "list", "object"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda long: _oip({**PIXELS, "name": long}),
        lambda long: _oip({**PIXELS, "datatype": long}),
        lambda long: _oip({**PIXELS, "shape": long}),
        lambda long: _oip(
            {"name": "image", "datatype": "UINT8", "shape": [1, 784]}
            | {"parameters": {"binary_data_size": long}}
        ),
        lambda long: _oip(PIXELS, outputs=[{"name": long}]),
        lambda long: _tfs(instances=[1], signature_name=long),
        lambda long: _tfs(instances=[{"image": 0, **dict.fromkeys(long, 0)}]),
        lambda long: _tfs(instances=[{str(long): 0}]),
        lambda long: _tfs(inputs={str(long): 0}),
    ],
)
def test_answers_do_not_repeat_all_that_was_said(ask: Callable[[Any], Any], long: Any) -> None:
    """Whatever stands where a name is expected, the sentence about it is short."""
    with pytest.raises(DigitscopeError) as found:
        ask(long)
    assert len(found.value.detail) < 200


@pytest.mark.parametrize("wrong", [False, True])
def test_python_looks_for_no_cycles_in_what_is_read(wrong: bool) -> None:
    """It would do so every 700 lists; an error keeps none of them, and all is as before."""
    rows = np.zeros((100, 28, 28, 1), int).tolist()
    body = json.dumps({"instances": [*rows, "x"] if wrong else rows}).encode()
    looks: list[str] = []
    error = None

    def look(phase: str, info: dict[str, int]) -> None:
        looks.append(phase)

    tracemalloc.start()
    gc.callbacks.append(look)
    try:
        tfserving.read_request(body, 10)
    except UndecodableError as found:
        error = found
    finally:
        gc.callbacks.remove(look)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    assert len(looks) < 10
    assert (error is not None) == wrong
    assert held < 1_000_000  # the lists take 6 MB
    assert gc.isenabled()
