"""Tensors are checked before memory is allocated for them, and messages about them are short."""

import gc
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from app.errors import DigitscopeError, TooLargeError, UndecodableError
from app.protocols import oip_messages, tensors, tfserving
from tests.traced_memory import Traced, collections_counted, least_peak, least_traced

PIXELS = {"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": [0] * 784}


def _oip(tensor: dict[str, Any], raw: bytes = b"", **more: Any) -> oip_messages.ParsedInferRequest:
    if raw:
        tensor = {**tensor, "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return oip_messages.parse_request(head + raw, str(len(head)), 10)


def _tfs(**message: Any) -> tfserving.ParsedPredictRequest:
    return tfserving.parse_request(json.dumps(message).encode(), 10)


@pytest.mark.parametrize("shape", [(784,), (28, 28), (28, 28, 1)])
@pytest.mark.parametrize("kind", [int, float])
def test_nested_lists_become_an_array(shape: tuple[int, ...], kind: type) -> None:
    """The array has the shape of the nesting, the values, and a dtype that holds them."""
    values = np.random.default_rng(5).integers(0, 256, (3, *shape)).astype(kind)
    found = tensors.from_lists(values.tolist())
    assert found.dtype == (np.uint8 if kind is int else np.float64)
    np.testing.assert_array_equal(found, values)
    np.testing.assert_array_equal(
        tensors.from_lists(values.reshape(-1).tolist(), [3, 784]), values.reshape(3, 784)
    )


@pytest.mark.parametrize("other", [-1, 256, 2**40, -(2**63), 2**63 - 1])
def test_integers_that_are_no_bytes_keep_their_values(other: int) -> None:
    """One number outside 0..255 among others is not wrapped around."""
    assert tensors.from_lists([[7, other], [0, 255]]).tolist() == [[7, other], [0, 255]]


@pytest.mark.parametrize(
    "data",
    [7, "7", None, {}, [None], ["7"], [True], [True, 1], [[1], 1], [[1], [1, 2]], [{}], [2**64]],
)
def test_lists_of_other_values_are_refused(data: Any) -> None:
    """Strings, booleans, nulls, objects, ragged lists and integers over 64 bits are refused."""
    with pytest.raises(UndecodableError):
        tensors.from_lists(data)


def test_lists_nested_too_deeply_are_refused() -> None:
    """At most four levels of lists are accepted."""
    deep = json.loads("[" * 100 + "]" * 100)
    with pytest.raises(UndecodableError, match="more deeply than 4 lists"):
        tensors.from_lists(deep)


def test_a_string_among_numbers_takes_little_memory() -> None:
    """NumPy would take 400 MB for a string of 1,000 letters among 100,000 numbers."""
    data = ["a" * 1000] + [0] * 100_000
    enough = 10_000_000  # bytes

    def refuse(data: list[object]) -> None:
        with pytest.raises(UndecodableError, match="must be numbers"):
            tensors.from_lists(data)

    assert least_peak(lambda: data, refuse, enough) < enough


def test_too_many_files_are_not_decoded() -> None:
    """The number of files is checked before their content."""
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


def test_more_elements_than_the_shape_says_are_not_unpacked() -> None:
    """A tensor with the shape [3] and 1,000 elements is refused after the third."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [3]}
    with pytest.raises(UndecodableError, match="more than the 3 elements"):
        _oip(tensor, bytes(4 * 3) + struct.pack("<I", 2**31) * 997)


def test_an_output_may_be_listed_once() -> None:
    """Otherwise a request could list an output 100,000 times and get gigabytes."""
    wanted = [{"name": "probabilities"}, {"name": "digit"}]
    assert [output.name for output in _oip(PIXELS, outputs=wanted).outputs] == [
        "probabilities",
        "digit",
    ]
    with pytest.raises(UndecodableError, match="'digit' is listed twice"):
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
def test_messages_shorten_what_the_client_sent(ask: Callable[[Any], Any], long: Any) -> None:
    """A huge value in place of a name gives a message of fewer than 200 characters."""
    with pytest.raises(DigitscopeError) as caught:
        ask(long)
    assert len(caught.value.detail) < 200


@pytest.mark.parametrize("wrong", [False, True])
def test_garbage_collector_pauses_while_json_is_parsed(wrong: bool) -> None:
    """It would run every 700 lists. It runs again afterwards, and an error keeps no list alive."""
    rows = np.zeros((100, 28, 28, 1), int).tolist()
    body = json.dumps({"instances": [*rows, "x"] if wrong else rows}).encode()
    errors: list[UndecodableError] = []  # they are held while the memory is measured
    collections: list[int] = []  # of each run

    def parse(body: bytes) -> None:
        with collections_counted(collections):
            try:
                tfserving.parse_request(body, 10)
            except UndecodableError as caught:
                errors.append(caught)

    enough = Traced(1 << 30, 1_000_000)  # the lists take 6 MB
    assert least_traced(lambda: body, parse, enough).held < enough.held
    assert min(collections) < 10
    assert len(errors) == (len(collections) if wrong else 0)
    assert gc.isenabled()


def test_large_integers_that_float32_does_not_hold_are_refused() -> None:
    """With the scale `model`, integers pass as they are or not at all."""
    exact = np.full((1, 28, 28), 1 << 24, np.int64)
    assert tensors.to_pixels(exact, "model").max() == 1 << 24
    for value in ((1 << 24) + 1, -(1 << 40)):
        with pytest.raises(UndecodableError, match="float32"):
            tensors.to_pixels(np.full((1, 28, 28), value, np.int64), "model")
    with pytest.raises(UndecodableError, match="finite"):
        tensors.to_pixels(np.full((1, 28, 28), 1e300), "model")
