"""Fixtures: real servers and a real browser."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from starlette.types import ASGIApp, Receive, Scope, Send

from app.main import create_app
from app.settings import REPOSITORY, Settings
from tests.ports import free_port

PREFIX = "/behind/a/proxy"
PATIENCE_S = 120  # seconds until a test or the service gives up: enough for a busy machine
expect.set_options(timeout=1000 * PATIENCE_S)
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
    """An application on a free port of this machine, which a test can stop and start again."""

    def __init__(self, settings: Settings) -> None:
        """Choose a free port; do not start yet."""
        self.settings = settings.model_copy(update={"deadline_s": PATIENCE_S})
        self.port = free_port()

    @property
    def address(self) -> str:
        """Return the address of the application, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it is ready."""
        app = _also_behind_prefix(create_app(self.settings))
        config = uvicorn.Config(app, port=self.port, log_level="warning", lifespan="on")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started and self.thread.is_alive():
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop the server and wait until it has ended."""
        self.server.should_exit = True
        self.thread.join()


def _also_behind_prefix(app: ASGIApp) -> ASGIApp:
    """Serve the application below `PREFIX` too, like a proxy that strips the prefix."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            path = scope["path"].removeprefix(PREFIX)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await app(scope, receive, send)

    return serve


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of the application with the committed models."""
    running = Running(Settings())
    running.start()
    yield running.address
    running.stop()


@pytest.fixture(scope="session")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the classic model, and a copy of it named `other`, without snapshots."""
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


@pytest.fixture(scope="module")  # the event loop of a session would disturb other tests
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
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


def open_window(browser: Browser, **options: Any) -> BrowserContext:
    """Open a browser window without a history, whose actions wait for a busy machine."""
    context = browser.new_context(**options)
    context.set_default_timeout(1000 * PATIENCE_S)
    return context


@pytest.fixture(params=SIZES)
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A new browser window, at phone and at desktop size."""
    permissions = ["clipboard-read", "clipboard-write"]
    context = open_window(browser, **SIZES[request.param], permissions=permissions)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, site: Running) -> Iterator[Page]:
    """The page at `/`, loaded; it may request nothing from elsewhere, and no script may fail."""
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
        lambda request: (
            failures.append(request.url)
            if not request.url.startswith((site.address, "data:", "blob:"))
            else None
        ),
    )
    page.goto(f"{site.address}/")
    page.wait_for_selector("html[data-ready]")
    yield page
    page.close()
    assert failures == []
