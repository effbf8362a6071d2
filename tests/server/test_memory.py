"""The memory that photos take is returned to the system."""

import io
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from app.samples import sample_png
from tests.forms import encode
from tests.server.footprint import memory_mb, peak_mb
from tests.server.process import eventually, serving

BODY_BYTES = 5_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_burst_of_photos_leaves_no_memory_behind(tmp_path: Path) -> None:
    """A worker holds at most 155 MB, except while it reads photos."""
    photo = encode(_photo(7))
    with serving(tmp_path, threads=2) as server:
        with ThreadPoolExecutor(4) as clients:
            answers = list(clients.map(server.ask, ["/predict"] * 24, [photo] * 24))
        assert [answer.json["digit"] for answer in answers] == [7] * 24
        assert peak_mb(server) > 170
        eventually(lambda: memory_mb(server) < 155)
        assert server.ask("/predict", photo).json["digit"] == 7


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_crowd_of_large_bodies_stays_within_the_budget(tmp_path: Path) -> None:
    """However many large bodies arrive at once, they take no more than their share."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES
    with serving(tmp_path, memory_budget_mb=64) as server, ExitStack() as crowd:
        before = memory_mb(server)
        for _ in range(40):
            connection = crowd.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            connection.sendall(head + bytes(BODY_BYTES - 1))  # all but one byte
        assert server.ask("/predict", sample_png(7)).json["digit"] == 7
        assert memory_mb(server) - before < 64  # 190 without the budget
        assert server.metric("digitscope_rejections_total", reason="memory") == 37


def _photo(digit: int) -> np.ndarray:
    """Return a digit as a camera sees it: a million pixels, a shadow, noise and colour."""
    sample = Image.open(io.BytesIO(sample_png(digit)))
    ink = ImageOps.invert(sample).resize((800, 800), Image.Resampling.BICUBIC)
    page = np.asarray(ImageOps.expand(ink, (250, 100), 255), np.float32)
    shadow = np.linspace(0.6, 0.9, page.shape[1], dtype=np.float32)
    grain = np.random.default_rng(0).normal(0, 4, (*page.shape, 3))
    tint = np.array([1.0, 0.97, 0.85])
    return np.clip((page * shadow)[..., None] * tint + grain, 0, 255).astype(np.uint8)
