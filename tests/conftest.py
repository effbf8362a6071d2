"""What all tests share: sample digits, the committed models and the real application."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from app.bundle import open_bundle
from app.inference.model import Model
from app.inference.registry import Registry
from app.main import create_app
from app.settings import REPOSITORY, Settings
from tests.server.process import Server, serving

# The version of the classic model, which is another whenever that is published again.
PUBLISHED = open_bundle(REPOSITORY / "model" / "classic").metadata.version

# A shell that starts a job in the background lets it ignore Ctrl-C, and children inherit that; the
# processes that tests stop so must not.
signal.signal(signal.SIGINT, signal.default_int_handler)


# What computes by itself. All else has ports, browsers or a Ray cluster, which might meet.
ARITHMETIC = {"imaging", "inference", "inspection", "training"}


class _TwoKinds(LoadScopeScheduling):
    """Shares the tests between the two processes of `make test`; each runs its own in order."""

    def _split_scope(self, nodeid: str) -> str:
        return "arithmetic" if nodeid.split("/")[1] in ARITHMETIC else "service"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _TwoKinds:
    """Tell xdist how tests are shared."""
    return _TwoKinds(config, log)


class Digits(NamedTuple):
    """Images uint8 `[N, 28, 28]` with labels uint8 `[N]`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    @property
    def grainy(self) -> NDArray[np.uint8]:
        """The images on grounds of which no two places are equal, uint8 `[N, 28, 28]`.

        On a black ground all of a map's places are equal but for rounding, which is another on each
        processor: which of them max-pooling takes, and hands its gradient to, is left to chance.
        """
        grain = np.random.default_rng(0).integers(0, 64, self.images.shape, np.uint8)
        return np.maximum(self.images, grain)


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
    """The real application with the committed models; the classic one is the default."""
    with TestClient(create_app(Settings(default_model="classic"))) as client:
        yield client


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service in a process of its own, for clients that speak HTTP themselves."""
    with serving(tmp_path_factory.mktemp("server"), admin_token="the admin token") as server:
        yield server


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
