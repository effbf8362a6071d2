"""Bodies that are used while they are still on their way, and what wrong ones may cost."""

import asyncio
import gc
import json
import tracemalloc
from collections.abc import Callable
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from app.errors import DigitscopeError, InvalidInputError, TooLargeError, UndecodableError
from app.web.requests.body import Limits, begin_many, read_many, read_one
from tests.forms import npy

LIMITS = Limits(max_body_bytes=1_000_000, max_batch_items=100)
IMAGES = np.random.default_rng(3).integers(0, 256, (9, 28, 28), np.uint8)


def _sent(
    pieces: list[bytes],
    length: int | None = None,
    *,
    stays: bool = True,
    chunked: bool = False,
    kind: bytes = b"application/x-npy",
) -> Request:
    """A request whose body comes in these pieces, and says its length unless it is chunked."""
    length = sum(map(len, pieces)) if length is None else length
    headers = [(b"content-type", kind)]
    if not chunked:
        headers.append((b"content-length", b"%d" % length))
    messages = iter(pieces)

    async def receive() -> Message:
        body = next(messages, None)
        if body is None:
            return {"type": "http.disconnect"} if not stays else {"type": "http.request"}
        return {"type": "http.request", "body": body, "more_body": True}

    return Request({"type": "http", "headers": headers}, receive)


def _cut(body: bytes, *places: int) -> list[bytes]:
    ends = [0, *places, len(body)]
    return [body[start:end] for start, end in pairwise(ends)]


async def _all(request: Request) -> tuple[list[int], np.ndarray]:
    images, arrivals = await begin_many(request, LIMITS)
    if arrivals is None:
        return [len(images)], np.asarray(images)
    return [count async for count in arrivals], np.asarray(images)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_array_is_given_as_it_comes(chunked: bool) -> None:
    """Each piece of the body tells how many images have come whole, the header's piece too."""
    body = npy(IMAGES)
    start = len(body) - IMAGES.size
    for places, told in (
        ((start + 784,), [1, 9]),
        ((5, 60, start + 100, start + 100, start + 3 * 784 - 1), [0, 2, 9]),
        ((start,), [0, 9]),
        ((), [9]),
    ):
        arrivals, images = asyncio.run(_all(_sent(_cut(body, *places), chunked=chunked)))
        assert list(dict.fromkeys(arrivals)) == told
        np.testing.assert_array_equal(images, IMAGES)


def test_images_are_there_when_they_are_told_of() -> None:
    """What has come can be read before the rest is sent."""
    body = npy(IMAGES)
    start = len(body) - IMAGES.size

    async def look() -> None:
        images, arrivals = await begin_many(_sent(_cut(body, start + 2000, start + 4000)), LIMITS)
        assert isinstance(images, np.ndarray)
        assert await anext(arrivals) == 2
        np.testing.assert_array_equal(images[:2], IMAGES[:2])
        assert await anext(arrivals) == 5
        np.testing.assert_array_equal(images[:5], IMAGES[:5])

    asyncio.run(look())


def test_an_array_in_another_order_is_read_as_a_whole() -> None:
    """Fortran's order puts the first image's pixels all over the file."""
    body = npy(np.asfortranarray(IMAGES))
    arrivals, images = asyncio.run(_all(_sent(_cut(body, 1000, 3000))))
    assert arrivals == [9]
    np.testing.assert_array_equal(images, IMAGES)


@pytest.mark.parametrize(
    ("pieces", "length", "stays", "error"),
    [
        (_cut(npy(IMAGES), 1000), len(npy(IMAGES)) + 1, True, None),
        (_cut(npy(IMAGES)[:-1], 1000), len(npy(IMAGES)), True, UndecodableError),
        (_cut(npy(IMAGES)[:-1], 1000), len(npy(IMAGES)), False, ClientDisconnect),
        (_cut(npy(IMAGES)[:-1], 1000), None, True, UndecodableError),
        (_cut(npy(np.zeros((101, 28, 28), np.uint8)), 1000), None, True, TooLargeError),
        (_cut(npy(np.zeros((0, 28, 28), np.uint8)), 20), None, True, DigitscopeError),
        (_cut(npy(IMAGES.astype(np.float32)), 1000), None, True, DigitscopeError),
        ([b"\x93NUMPY\x01\x00\xff\xff" + b" " * 5000, b"x"], None, True, UndecodableError),
        ([b"", b"no", b"", b"npy"], None, True, UndecodableError),
    ],
)
def test_bodies_that_are_wrong(
    pieces: list[bytes], length: int | None, stays: bool, error: type[Exception] | None
) -> None:
    """Whatever the body and its Content-Length say of each other, there is an answer."""
    request = _sent(pieces, length, stays=stays)
    if error:
        with pytest.raises(error):
            asyncio.run(_all(request))
    else:
        np.testing.assert_array_equal(asyncio.run(_all(request))[1], IMAGES)


@pytest.mark.parametrize(
    ("body", "places", "error"),
    [
        (npy(IMAGES) + b"x", [1000], "promises 7056 values and holds 7057"),
        (npy(IMAGES) + b"x" * 2000, [1000, 7184, 8000], "holds 9056"),
        (npy(IMAGES) + b"x", [], "holds 7057"),
        (npy(IMAGES)[:-1], [1000], "holds 7055"),
        (npy(np.zeros((101, 28, 28), np.uint8)), [1000], "at most 100"),
        (npy(IMAGES)[:60], [], "no .npy file"),
        (npy(IMAGES).replace(b"(9, 28, 28), } ", b"(-9, 28, 28), }"), [1000], "got uint8 .-9, 28"),
    ],
)
def test_chunked_arrays_that_are_wrong(body: bytes, places: list[int], error: str) -> None:
    """Without a Content-Length the header's promise is held to what comes."""
    pieces = [*_cut(body, *places), b""]
    with pytest.raises(DigitscopeError, match=error):
        asyncio.run(_all(_sent(pieces, chunked=True)))


FORM, END = b"multipart/form-data; boundary=b", b"\r\n--b--\r\n"


def _part(content: bytes, name: bytes = b"files", file: bytes = b'; filename="x"') -> bytes:
    said = b'Content-Disposition: form-data; name="' + name + b'"' + file
    return b"--b\r\n" + said + b"\r\n\r\n" + content + b"\r\n"


def test_files_of_a_form_are_given_as_they_come() -> None:
    """Each is there when the piece that ends it has come; fields of other names do not count."""
    first, second = _part(b"one") + _part(b"two")[:-9], _part(b"two")[-9:] + _part(b"three")
    text, other = _part(b"text", file=b""), _part(b"four", b"file")
    sent = asyncio.Event()

    async def look() -> None:
        pieces = [first, second + b"--b", b"\r\n" + (text + other)[5:], _part(b"")[:-2] + END]
        request = _sent(pieces, kind=FORM)
        receive = request._receive

        async def receive_slowly() -> Message:
            if request_pieces.pop(0):
                await sent.wait()
            return await receive()

        request_pieces = [False, True, True, True, True]
        request._receive = receive_slowly
        images, arrivals = await begin_many(request, LIMITS)
        assert await anext(arrivals) == 1
        assert images == [b"one"]
        sent.set()
        assert [come async for come in arrivals][-1] == 4
        assert images == [b"one", b"two", b"three", b""]

    asyncio.run(look())


@pytest.mark.parametrize(
    ("pieces", "stays", "error"),
    [
        ([_part(b"one"), _part(b"two")[:-2] + END, b""], True, None),
        ([_part(b"one"), _part(b"two")], False, ClientDisconnect),
        ([_part(b"one"), _part(b"two")[:-2], b""], True, UndecodableError),
        ([_part(b"one"), b"nonsense", b""], True, UndecodableError),
        ([_part(b"one"), _part(b"") * 100 + END, b""], True, TooLargeError),
        ([_part(b"one"), b" " * 1_000_000], True, TooLargeError),
        ([_part(b"one", b"file"), b"--b--\r\n", b""], True, InvalidInputError),
        ([b"--b--\r\n", b""], True, InvalidInputError),
    ],
)
def test_forms_that_are_wrong(
    pieces: list[bytes], stays: bool, error: type[Exception] | None
) -> None:
    """What is wrong behind files that have come is raised all the same, and nothing reads on."""

    async def read() -> None:
        images, arrivals = await begin_many(_sent(pieces, stays=stays, kind=FORM), LIMITS)
        if error:
            with pytest.raises(error):
                async for _ in arrivals:
                    pass
        else:
            assert [come async for come in arrivals][-1] == 2
            assert images == [b"one", b"two"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(read())


def test_a_form_that_is_wrong_is_not_kept() -> None:
    """Its files are let go of at once, not when Python looks for cycles."""

    async def read() -> None:
        for _ in range(20):
            pieces = [_part(b"x" * 400_000), _part(b"y" * 400_000)[:-2], b""]
            with pytest.raises(UndecodableError):
                await _all(_sent(pieces, kind=FORM))

    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        asyncio.run(read())
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()
        gc.enable()


def test_a_form_that_nobody_waits_for_is_not_read_on() -> None:
    """Who leaves after the first file leaves no task behind."""

    async def leave() -> None:
        forever = asyncio.Event()
        request = _sent([_part(b"one") + b"--b\r\n"], kind=FORM)
        receive, first = request._receive, [True]

        async def then_wait() -> Message:
            if not first.pop():
                await forever.wait()
            first.append(False)
            return await receive()

        request._receive = then_wait
        _, arrivals = await begin_many(request, LIMITS)
        async with aclosing(arrivals):
            async for come in arrivals:
                assert come == 1
                break
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(leave())


def _json(content: object) -> Request:
    """A request with a JSON body, to its last byte."""
    body = json.dumps(content).encode()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "headers": [(b"content-type", b"application/json")]}, receive)


def test_items_that_are_too_many_are_not_built() -> None:
    """A list of 200,000 items is refused at the first that is too many; the others cost nothing."""
    request = _json([{}] * 200_000)
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match="more than the 100 images"):
            asyncio.run(read_many(request, LIMITS))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000  # 200,000 empty dicts take 13 MB


@pytest.mark.parametrize("pixels", [[["x"] * 50_000], [[]] * 50_000, [[0] * 27 + ["x"]] * 28])
def test_pixels_are_looked_at_up_to_the_first_that_is_wrong(pixels: list[list[object]]) -> None:
    """However much is wrong with an image in JSON, one error is made of it."""
    with pytest.raises(InvalidInputError) as found:
        asyncio.run(read_one(_json({"pixels": pixels}), LIMITS))
    assert len(found.value.fields["errors"]) == 1


def test_names_that_no_image_has_are_not_listed_by_the_thousand() -> None:
    """An object of 20,000 unknown names is refused as one mistake, alone and as an item."""
    names = {f"name {number}": 0 for number in range(20_000)}
    with pytest.raises(InvalidInputError, match="no 'name 0' in an image") as found:
        asyncio.run(read_one(_json({"image": "", **names}), Limits(10_000_000, 1)))
    assert len(found.value.fields["errors"]) == 1
    (item,) = asyncio.run(read_many(_json([names]), Limits(10_000_000, 1)))
    assert isinstance(item, InvalidInputError)
    assert len(item.fields["errors"]) == 1


def test_items_with_much_wrong_spoil_no_other() -> None:
    """Each item of a batch in JSON is an image or its own error, in order, whatever it holds."""
    good = {"pixels": IMAGES[0].tolist()}
    wrong = [{"pixels": [["x"] * 28] * 28}, {"pixels": [], "image": ""}, [good], None, 7]
    found = asyncio.run(read_many(_json([good, *wrong, good]), LIMITS))
    np.testing.assert_array_equal(found[0], IMAGES[0])
    np.testing.assert_array_equal(found[-1], IMAGES[0])
    assert [type(one) for one in found[1:-1]] == [InvalidInputError] * len(wrong)


@pytest.mark.parametrize("read", [read_one, read_many])
@pytest.mark.parametrize("names", [1, 300_000])
def test_what_cannot_be_images_is_not_built(names: int, read: Callable[..., Any]) -> None:
    """Neither lists in lists nor names by the hundred thousand: they would take some 100 MB."""
    value = {"x": [[[[[]]]]] * 200_000} if names == 1 else {str(n): 0 for n in range(names)}
    request = _json([value] if read is read_many else value)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInputError, match=rf"lists and {names} names"):
            asyncio.run(read(request, Limits(10_000_000, 1)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000  # the body, once in pieces and once whole


@pytest.mark.parametrize("many", [False, True])
def test_python_looks_for_no_cycles_in_json(many: bool) -> None:
    """It would do so every 700 lists; an error keeps none of them, and all is as before."""
    content = {"image": "", "more": [[]] * 100_000}
    request = _json([content] if many else content)
    looks: list[str] = []

    def look(phase: str, info: dict[str, int]) -> None:
        looks.append(phase)

    async def read() -> tuple[object, int]:
        try:
            if many:
                return (await read_many(request, LIMITS))[0], tracemalloc.get_traced_memory()[0]
            return await read_one(request, LIMITS), 0
        except InvalidInputError as error:
            return error, tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    gc.callbacks.append(look)
    try:
        found, held = asyncio.run(read())
    finally:
        gc.callbacks.remove(look)
        tracemalloc.stop()
    assert isinstance(found, InvalidInputError)
    assert len(looks) < 40
    assert held < 1_000_000  # the lists take 6 MB
    assert gc.isenabled()
