"""Real servers and a real browser."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from starlette.types import ASGIApp, Receive, Scope, Send

from app.main import create_app
from app.settings import REPOSITORY, Settings
from tests.ports import free_port

PREFIX = "/behind/a/proxy"
expect.set_options(timeout=20_000)  # ms; machines may be busy
SIZES = {
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
    "desk": {"viewport": {"width": 1280, "height": 900}},
}


class Running:
    """An application on a port of this machine, which can be stopped and started again."""

    def __init__(self, settings: Settings) -> None:
        """Choose a free port; nothing runs yet."""
        self.settings = settings
        self.port = free_port()

    @property
    def address(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        app = _also_behind_prefix(create_app(self.settings))
        config = uvicorn.Config(app, port=self.port, log_level="warning", lifespan="on")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started and self.thread.is_alive():
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop, and wait until it has."""
        self.server.should_exit = True
        self.thread.join()


def _also_behind_prefix(app: ASGIApp) -> ASGIApp:
    """Answer below `PREFIX` too, like a proxy that takes the prefix away."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            path = scope["path"].removeprefix(PREFIX)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await app(scope, receive, send)

    return serve


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The application with the committed models; gives its address."""
    running = Running(Settings())
    running.start()
    yield running.address
    running.stop()


@pytest.fixture(scope="session")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two models: the classic one, and its like under another name, without epochs."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(REPOSITORY / "model" / "classic", folder / "classic")
    shutil.copytree(
        REPOSITORY / "model" / "classic",
        folder / "other",
        ignore=shutil.ignore_patterns("snapshots"),
    )
    path = folder / "other" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["name"] = "other"
    metadata["files"] = {
        name: digest
        for name, digest in metadata["files"].items()
        if not name.startswith("snapshots/")
    }
    path.write_text(json.dumps(metadata))
    return folder


@pytest.fixture(scope="module")
def site(two_models: Path) -> Iterator[Running]:
    """The application with two models, which a test may stop and start again."""
    running = Running(Settings(model_dir=two_models, default_model="classic"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")  # its event loop must not outlive the browser's own tests
def browser() -> Iterator[Browser]:
    """Headless Chromium, Debian's or whatever `chromium` is on the path."""
    path = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if path is None:
        reason = "no Chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get("DEMAND_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=SIZES)
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A fresh browser window at phone and at desk size."""
    context = browser.new_context(
        **SIZES[request.param], permissions=["clipboard-read", "clipboard-write"]
    )
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, site: Running) -> Iterator[Page]:
    """The page at `/`, read once; nothing may come from elsewhere and no script may fail."""
    page = context.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on(
        "console",
        lambda message: (
            failures.append(message.text)
            if message.type == "error" and "Failed to load resource" not in message.text
            else None
        ),
    )
    page.on(
        "request",
        lambda asked: (
            failures.append(asked.url)
            if not asked.url.startswith((site.address, "data:", "blob:"))
            else None
        ),
    )
    page.goto(f"{site.address}/")
    page.wait_for_selector("html[data-ready]")
    yield page
    page.close()
    assert failures == []
