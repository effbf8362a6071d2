"""Slow work says how much of it there is before it is measured, so that it is refused in time."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from app.errors import QueueFullError
from app.samples import sample_png
from app.web.execution.expected_wait import Kind
from app.web.execution.thread_pool import BoundedThreadPool


class FullPool(BoundedThreadPool):
    """A pool that refuses every call and notes its kind."""

    asked: list[Kind]

    def admit(self, kind: Kind, *, calls: int = 1, rounds: int = 1) -> None:
        """Note the kind, then refuse it."""
        self.asked.append(kind)
        raise QueueFullError("The queue is full.", retry_after=1)


@pytest.fixture
def pool(client: TestClient) -> Iterator[FullPool]:
    """The pool of explanations, which refuses all of them."""
    pool, service = FullPool(threads=1, max_queue=0), client.app_state["service"]
    pool.asked = []
    client.app_state["service"] = replace(service, explanation_pool=pool)
    yield pool
    client.app_state["service"] = service
    pool.close()


def _estimate(client: TestClient, pool: FullPool, path: str) -> float:
    body = (
        {"json": {"instances": [[[0.5] * 28] * 28]}}
        if path.startswith("/v1")
        else {"content": b"" if "maximise" in path else sample_png(3)}
    )
    answer = client.post(path, **body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1"), answer.text
    return pool.asked[-1].estimate_s


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/explain?method=gradient&checks=false", "/explain?method=gradient"),
        ("/explain?method=gradient", "/explain?method=smoothgrad"),
        ("/explain?method=grad-cam", "/explain?method=occlusion"),
        ("/explain?steps=8", "/explain?steps=200"),
        ("/explain?checks=false", "/explain"),
        ("/ablate?layer=conv_2_1&channels=1", "/ablate?layer=conv_1_1&channels=1"),
        ("/ablate?layer=conv_1_1&channels=1", "/ablate?layer=conv_1_1"),
        ("/layers/conv_1_1/maximise?channel=0&steps=8", "/layers/conv_1_1/maximise?channel=0"),
        ("/learn/step?label=3&steps=1", "/learn/step?label=3&steps=9"),
        ("/v1/models/compact:explain", "/v1/models/classic:explain"),
    ],
)
def test_more_work_is_estimated_to_take_longer(
    client: TestClient, pool: FullPool, path: str, more: str
) -> None:
    """Every slow route gives the pool an estimate that grows with what is asked for."""
    assert 0 < _estimate(client, pool, path) < _estimate(client, pool, more) < 60


def test_a_larger_network_is_estimated_to_take_longer(client: TestClient, pool: FullPool) -> None:
    """The default explanation of `classic` takes a fraction of a second, of `ensemble` seconds."""
    compact, classic, ensemble = (
        _estimate(client, pool, f"/explain?model={name}")
        for name in ("compact", "classic", "ensemble")
    )
    assert 0 < compact < classic < 0.3 < 1 < ensemble < 5
