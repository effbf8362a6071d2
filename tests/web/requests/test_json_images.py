"""Images in JSON: hostile bodies cost little, and each invalid item has its own error."""

import asyncio
import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from starlette.requests import Request

from app.errors import InvalidInputError, TooLargeError
from app.web.requests.images import read_many, read_one
from tests.traced_memory import Traced, collections_counted, least_peak, least_traced
from tests.web.requests.bodies import IMAGES, LARGE_BODIES, LIMITS, request_with_json


def test_items_over_the_limit_are_not_built() -> None:
    """A list of 200,000 items is refused at the first over the limit; the rest costs nothing."""
    enough = 5_000_000  # bytes; 200,000 empty dicts take 13 MB

    def refuse(request: Request) -> None:
        with pytest.raises(TooLargeError, match="more than 100 images"):
            asyncio.run(read_many(request, LIMITS))

    assert least_peak(lambda: request_with_json([{}] * 200_000), refuse, enough) < enough


@pytest.mark.parametrize("pixels", [[["x"] * 50_000], [[]] * 50_000, [[0] * 27 + ["x"]] * 28])
def test_validation_of_pixels_stops_at_the_first_error(pixels: list[list[object]]) -> None:
    """However many pixels are invalid, the problem lists one error."""
    with pytest.raises(InvalidInputError) as error:
        asyncio.run(read_one(request_with_json({"pixels": pixels}), LIMITS))
    assert len(error.value.fields["errors"]) == 1


def test_unknown_names_give_one_error() -> None:
    """An object with 20,000 unknown names gives one error, alone and as an item of a batch."""
    names = {f"name {number}": 0 for number in range(20_000)}
    with pytest.raises(InvalidInputError, match="no field 'name 0'") as error:
        asyncio.run(read_one(request_with_json({"image": "", **names}), LARGE_BODIES))
    assert len(error.value.fields["errors"]) == 1
    (item,) = asyncio.run(read_many(request_with_json([names]), LARGE_BODIES))
    assert isinstance(item, InvalidInputError)
    assert len(item.fields["errors"]) == 1


def test_invalid_items_do_not_affect_the_others() -> None:
    """Each item of a batch becomes an image or its own error, in order."""
    valid = {"pixels": IMAGES[0].tolist()}
    invalid = [{"pixels": [["x"] * 28] * 28}, {"pixels": [], "image": ""}, [valid], None, 7]
    images = asyncio.run(read_many(request_with_json([valid, *invalid, valid]), LIMITS))
    np.testing.assert_array_equal(images[0], IMAGES[0])
    np.testing.assert_array_equal(images[-1], IMAGES[0])
    assert [type(image) for image in images[1:-1]] == [InvalidInputError] * len(invalid)


@pytest.mark.parametrize("read", [read_one, read_many])
@pytest.mark.parametrize("names", [1, 300_000])
def test_large_json_that_is_no_image_is_not_parsed(names: int, read: Callable[..., Any]) -> None:
    """A large body with too many lists or names for its images is refused without parsing it.

    Parsed, each of these bodies would take about 100 MB.
    """
    value = {"x": [[[[[]]]]] * 200_000} if names == 1 else {str(n): 0 for n in range(names)}
    content = [value] if read is read_many else value
    enough = 10_000_000  # bytes: the body twice, in chunks and joined

    def refuse(request: Request) -> None:
        with pytest.raises(InvalidInputError, match=rf"lists and {names} names"):
            asyncio.run(read(request, LARGE_BODIES))

    assert least_peak(lambda: request_with_json(content), refuse, enough) < enough


@pytest.mark.parametrize("many", [False, True])
def test_garbage_collector_pauses_while_json_is_parsed(many: bool) -> None:
    """The collector runs rarely during parsing, an error keeps no list, and it runs afterwards."""
    content = {"image": "", "more": [[]] * 100_000}
    outcomes: list[object] = []  # they are held while the memory is measured
    collections: list[int] = []  # of each run

    async def read(request: Request) -> object:
        try:
            return (
                (await read_many(request, LIMITS))[0] if many else await read_one(request, LIMITS)
            )
        except InvalidInputError as error:
            return error

    def count(request: Request) -> None:
        with collections_counted(collections):
            outcomes.append(asyncio.run(read(request)))

    enough = Traced(1 << 30, 1_000_000)  # the lists take 6 MB
    make = partial(request_with_json, [content] if many else content)
    assert least_traced(make, count, enough).held < enough.held
    assert {type(outcome) for outcome in outcomes} == {InvalidInputError}
    assert min(collections) < 40  # without the pause, one for every 700 lists
    assert gc.isenabled()
