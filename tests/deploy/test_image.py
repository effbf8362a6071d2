"""The image: built by `make image`, run and stopped."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.samples import sample_png
from app.settings import REPOSITORY
from app.version import VERSION
from tests.deploy.container import Container, Images, missing_requirement
from tests.server.process import eventually

pytestmark = pytest.mark.container
BASE, IMAGE = "localhost/stand-in", "localhost/digitscope"
SOURCE = "https://example.org/digitscope"
GUIDE = " ".join((REPOSITORY / "docs" / "deploying.md").read_text().split())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    """The image of this repository, on a stand-in for its base."""
    reason = missing_requirement()
    if reason and os.environ.get("DEMAND_IMAGE"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    images = Images(tmp_path_factory.mktemp("images"))
    try:
        images.make_base(BASE)
        images.make(BASE=BASE, IMAGE=IMAGE, SOURCE=SOURCE)
        yield images
    finally:
        images.clear()


@pytest.fixture
def container(images: Images) -> Container:
    """A new container of the image."""
    return Container(images, IMAGE)


def test_labels_of_the_image(images: Images) -> None:
    """Labels name version, commit, source, licence and base; the user is a number and not root."""
    found = images.configuration(IMAGE)
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in found["Labels"].items()
    }
    git = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    commit = subprocess.run(git, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert labels["version"] == VERSION
    assert labels["revision"] == (commit.stdout.strip() or "unknown")
    assert labels["source"] == SOURCE
    assert labels["licenses"] == "MIT"
    assert labels["base.name"] == BASE
    assert found["User"] == "10001"
    assert found["Cmd"] == ["digitscope", "serve"]


def test_container_serves_and_stops(container: Container) -> None:
    """The container becomes healthy, serves, is not root, and shuts down on SIGTERM."""
    assert not container.healthy()
    with container.serving(container.run_command(*container.configuration["Cmd"])):
        eventually(container.healthy)
        assert container.ask(body=sample_png(7)).json["digit"] == 7
        assert container.get("/").status == 200
        assert container.get("/version").json["version"] == VERSION
        status = Path(f"/proc/{container.server()}/status").read_text()
        assert re.search(r"^Uid:((?:\t10001){4})$", status, re.MULTILINE)
        assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
        container.stop()
    assert "Application shutdown complete" in container.log.read_text()
    assert not container.healthy()


def test_root_may_be_read_only(container: Container) -> None:
    """As process 1 on a read-only root, the service predicts, explains and ends with 0."""
    tried = container.read_only_command("touch", "/srv/digitscope/file")
    refused = subprocess.run(tried, capture_output=True, text=True, check=False)
    assert "Read-only file system" in refused.stderr
    with container.serving(container.read_only_command(*container.configuration["Cmd"])):
        assert container.ask(body=sample_png(7)).json["digit"] == 7
        assert container.ask("/explain", sample_png(7)).status == 200
        assert container.ask("/snapshots?layer=conv_1", sample_png(7)).status == 200
        assert container.stop() == 0


def test_image_holds_only_what_serves(container: Container) -> None:
    """The image lacks TensorFlow, training code and tools for installation and tests."""
    # The exit code counts: on a busy machine buildah loses what a short command prints.
    code = (
        "from importlib.util import find_spec;"
        "names = ('tensorflow', 'keras', 'ray', 'pip', 'pytest', 'training', 'tests', 'app');"
        "found = [name for name in names if find_spec(name)];"
        "assert found == ['app'], found"
    )
    command = container.run_command("python", "-c", code)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_change_of_code_leaves_the_dependencies(images: Images, tmp_path: Path) -> None:
    """A build after a change in app/ takes the dependencies from the cache."""
    for name in ("Makefile", "Dockerfile", ".dockerignore", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    for name in ("README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    for name in ("app", "digitscope", "model"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    (tmp_path / "app" / "version.py").write_text('"""Another."""\n\nVERSION = "9.8.7"\n')
    printed = images.make(tmp_path, BASE=BASE, IMAGE=f"{IMAGE}:next", SOURCE=SOURCE)
    steps = re.split(r"^(?=.*STEP)", printed, flags=re.MULTILINE)
    kept = [step for step in steps if "Using cache" in step]
    assert any("--constraint constraints.txt" in step for step in kept)
    assert any("COPY --from=dependencies" in step for step in kept)
    assert any("COPY model" in step for step in kept)
    labels = images.configuration(f"{IMAGE}:next")["Labels"]
    assert labels["org.opencontainers.image.version"] == "9.8.7"


def test_size_of_the_image(images: Images, container: Container) -> None:
    """The sizes that the guide states are right within a tenth."""
    root = Path(images.buildah("mount", container.name))
    said = re.search(r"adds (\d+) MB to its base .*?, (\d+) MB of them models", GUIDE)
    assert said
    for stated, folders in zip(
        said.groups(), [("venv", "srv"), ("srv/digitscope/model",)], strict=True
    ):
        files = (path for folder in folders for path in (root / folder).rglob("*"))
        size = sum(path.lstat().st_size for path in files if not path.is_symlink()) / 1e6
        assert size == pytest.approx(float(stated), rel=0.1)
