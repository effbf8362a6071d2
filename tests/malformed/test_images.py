"""Damaged and odd images on every route: each gets its status, and nothing is left behind."""

import base64
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle

import pytest

from app.samples import sample_png
from tests.malformed.corpus import READ, Picture, pictures
from tests.server.footprint import assert_is_back_at, footprint
from tests.server.process import Answer, Server

Ask = Callable[[Server, bytes], Answer]


def _raw(path: str) -> Ask:
    def ask(server: Server, content: bytes) -> Answer:
        return server.ask(path, content)

    return ask


def _in_a_form(path: str) -> Ask:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'

    def ask(server: Server, content: bytes) -> Answer:
        body = head + content + b"\r\n--x--\r\n"
        return server.ask(path, body, Content_Type="multipart/form-data; boundary=x")

    return ask


def _in_json(path: str, around: Callable[[str], object]) -> Ask:
    def ask(server: Server, content: bytes) -> Answer:
        body = json.dumps(around(base64.b64encode(content).decode())).encode()
        return server.ask(path, body, Content_Type="application/json")

    return ask


def _tensor(text: str) -> object:
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]}


# Every route that takes an image, and every form of an upload.
NATIVE: tuple[Ask, ...] = (
    _raw("/read"),
    _in_a_form("/predict"),
    _raw("/preprocess"),
    _in_json("/predict", lambda text: {"image": text}),
    _raw("/inspect"),
    _raw("/layers/0/activations"),
    _raw("/layers/0/unit"),
    _in_json("/inspect", lambda text: {"image": f"data:image/png;base64,{text}"}),
    _raw("/explain?method=gradient&checks=false"),
    _raw("/ablate?layer=0&channels=0"),
    _raw("/neighbours?count=1"),
    _in_a_form("/neighbours?count=1"),
    _raw("/snapshots?layer=0"),
    _raw("/compare?other=classic"),
)
PROTOCOLS: tuple[Ask, ...] = (
    _in_json("/v2/models/compact/infer", _tensor),
    _in_json("/v1/models/compact:predict", lambda text: {"instances": [{"b64": text}]}),
    _in_json("/v1/models/compact:predict", lambda text: {"inputs": {"image": [{"b64": text}]}}),
)


def _wrong(server: Server, picture: Picture, native: Ask, protocol: Ask) -> Iterator[str]:
    """Yield what is wrong with the responses to an image on three routes."""
    first = server.ask(body=picture.content)
    for answer in (first, native(server, picture.content)):
        kind = answer.headers.get("content-type")
        if answer.status not in picture.statuses:
            yield f"{picture.name}: {answer.status} {answer.content[:300]!r}"
        elif answer.status != READ and (
            kind != "application/problem+json" or answer.json["status"] != answer.status
        ):
            yield f"{picture.name}: {answer.status} came as {kind}"
    answer = protocol(server, picture.content)
    if answer.status != first.status:
        yield f"{picture.name}: {first.status}, but by a protocol {answer.status} {answer.content}"
    elif answer.status != READ and list(answer.json) != ["error"]:
        yield f"{picture.name}: by a protocol {answer.content[:300]!r}"


def _throw(server: Server, *, flips: int, seed: int) -> None:
    ways = zip(cycle(NATIVE), cycle(PROTOCOLS), strict=False)
    wrong: list[str] = []
    for count, picture in enumerate(pictures(flips=flips, seed=seed)):
        wrong += _wrong(server, picture, *next(ways))
        if count % 50 == 0:
            wrong += (
                [] if server.ask(body=sample_png(7)).json["digit"] == 7 else ["a 7 was misread"]
            )
    assert not wrong, "\n".join(wrong)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_every_image_gets_its_status_and_leaves_nothing_behind(server: Server) -> None:
    """About 3,000 damaged and odd images get the right status, and memory does not grow."""
    _throw(server, flips=1, seed=0)
    before = footprint(server)
    _throw(server, flips=8, seed=1)
    assert_is_back_at(before, server)


@pytest.mark.skipif("SOAK_MINUTES" not in os.environ, reason="only in make soak")
def test_images_for_long_leave_nothing_behind(server: Server) -> None:
    """Other bits are flipped each time, for SOAK_MINUTES."""
    _throw(server, flips=1, seed=0)
    before, seed = footprint(server), 2
    until = time.monotonic() + 60 * float(os.environ["SOAK_MINUTES"])
    while time.monotonic() < until:
        _throw(server, flips=12, seed=seed)
        seed += 1
    assert_is_back_at(before, server)


def test_bad_image_affects_no_other_of_its_batch(server: Server) -> None:
    """Each bad image of a batch has its own error, and the digits around it are read."""
    good, wrong = base64.b64encode(sample_png(7)).decode(), []
    some = [picture for picture in pictures(flips=2) if len(picture.content) < 100_000]
    for start in range(0, len(some), 100):
        part = some[start : start + 100]
        texts = [base64.b64encode(picture.content).decode() for picture in part]
        body = json.dumps([{"image": text} for text in (good, *texts, good)]).encode()
        answer = server.ask("/predict/batch", body, Content_Type="application/json")
        assert answer.status == 200, answer.content
        first, *found, last = answer.json
        assert (first["digit"], last["digit"]) == (7, 7)
        for picture, item in zip(part, found, strict=True):
            status = item["error"]["status"] if "error" in item else READ
            if status not in picture.statuses:
                wrong.append(f"{picture.name}: {item}")
    assert not wrong, "\n".join(wrong)
