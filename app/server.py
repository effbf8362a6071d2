"""The service under uvicorn: one process, or several and what looks after them."""

import os
import tempfile
from functools import partial
from typing import Any

import uvicorn

from app.inference.registry import Registry
from app.main import create_app
from app.settings import Settings
from app.web.http.http_protocol import Connection
from app.web.http.supervisor import Supervisor
from app.web.observability import logs
from app.web.observability.metrics import SHARED


def run(settings: Settings, registry: Registry, host: str, port: int, processes: int) -> bool:
    """Serve until a signal ends it.

    Args:
        settings: What uvicorn is told; several processes read theirs from the environment.
        registry: The models of one process, loaded. Several load them each, after a fork.
        host: Address to listen on.
        port: TCP port.
        processes: Processes that serve.

    Returns:
        Whether it ended because it was told to, and not because its processes did not start.
    """
    options: dict[str, Any] = {
        "factory": True,
        "host": host,
        "port": port,
        "http": Connection,
        "ws": "none",
        "log_level": settings.log_level,
        "access_log": False,  # digitscope writes its own, with the request's id
        "timeout_graceful_shutdown": settings.grace_s,
    }
    if processes == 1:
        uvicorn.run(partial(create_app, settings, registry), **options)
        return True
    config = uvicorn.Config("app.main:create_app", workers=processes, **options)
    logs.configure(settings.log_level, settings.log_format)
    # Not for one process: it ends by the signal that stops it, and would leave its folder.
    with tempfile.TemporaryDirectory(prefix="digitscope-metrics-") as shared:
        os.environ.setdefault(SHARED, shared)
        supervisor = Supervisor(config, [config.bind_socket()])
        supervisor.run()
    return not supervisor.failed
