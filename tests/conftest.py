"""Fixtures that all tests share: sample digits, the committed models, the application, a server."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from app.bundle import open_bundle
from app.inference.model import Model
from app.inference.registry import Registry
from app.main import create_app
from app.settings import REPOSITORY, Settings
from tests.durations import longest_first, register_recorder
from tests.ports import free_port
from tests.server.process import PATIENCE_S, Server, serving

# The version of the committed classic model.
PUBLISHED = open_bundle(REPOSITORY / "model" / "classic").metadata.version

# A shell that starts a job in the background makes it ignore Ctrl-C, and child processes inherit
# that. Tests stop their child processes by Ctrl-C, so it is enabled again here.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No time limit ends a request because the machine is slow. A test of a limit sets it.
os.environ |= {
    "DIGITSCOPE_BODY_BYTES_PER_S": "0",
    "DIGITSCOPE_BODY_TIMEOUT_S": str(PATIENCE_S),
    "DIGITSCOPE_CLIENT_TIMEOUT_S": str(PATIENCE_S),
    "DIGITSCOPE_DEADLINE_S": str(PATIENCE_S),
    "DIGITSCOPE_DECODE_TIMEOUT_S": str(PATIENCE_S),
}

# The same examples each time, except in `make soak`, and no limit on the time that they take.
settings.register_profile(
    "any speed",
    deadline=None,
    derandomize="SOAK_MINUTES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any speed")

# Marks of all tests of a folder; other tests carry their marks themselves.
MARKS = {
    "browser": pytest.mark.browser,
    "clients": pytest.mark.clients,
    "contract": pytest.mark.slow,
    "malformed": pytest.mark.slow,
    "server": pytest.mark.slow,
    "training": pytest.mark.slow,
}


def pytest_configure(config: pytest.Config) -> None:
    """Record the durations of test files on request."""
    register_recorder(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of each folder, and put the files that take longest first."""
    for item in items:
        folder = item.nodeid.split("/")[1]
        if folder in MARKS:
            item.add_marker(MARKS[folder])
    longest_first(items)


class Digits(NamedTuple):
    """Images uint8 `[N, 28, 28]` with labels uint8 `[N]`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    @property
    def grainy(self) -> NDArray[np.uint8]:
        """The images with a noisy background, uint8 `[N, 28, 28]`.

        On a black background, the activations of a map are equal up to rounding, which differs
        between processors. Which of them max-pooling selects, and passes its gradient to, would
        depend on the processor.
        """
        noise = np.random.default_rng(0).integers(0, 64, self.images.shape, np.uint8)
        return np.maximum(self.images, noise)


@pytest.fixture(scope="session")
def sample_path() -> Path:
    """The committed sample of MNIST: 500 digits of each split, in the layout of mnist.npz."""
    return REPOSITORY / "tests" / "data" / "mnist_sample.npz"


@pytest.fixture(scope="session")
def digits(sample_path: Path) -> Digits:
    """1,000 digits: the whole sample."""
    with np.load(sample_path) as sample:
        return Digits(
            np.concatenate([sample["x_train"], sample["x_test"]]),
            np.concatenate([sample["y_train"], sample["y_test"]]),
        )


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    """A client of the application with the committed models; `classic` is the default."""
    with TestClient(create_app(Settings(default_model="classic"))) as client:
        yield client


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service in its own process, shared by all tests that change none of its state.

    Its log must have no traceback at the end.
    """
    own = {"admin_token": "the admin token", "grpc_port": free_port()}
    with serving(tmp_path_factory.mktemp("server"), **own) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """The committed models, loaded."""
    registry = Registry(REPOSITORY / "model", "classic", interpreters=2)
    registry.load()
    yield registry
    registry.close()


@pytest.fixture(scope="session")
def classic(registry: Registry) -> Model:
    """The committed classic model."""
    return registry.get("classic")
