"""Runs the service under uvicorn: in one process, or in several workers with a supervisor."""

import logging
import os
import resource
import tempfile
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI

from app.inference.registry import Registry
from app.main import create_app
from app.settings import Settings
from app.web.http.connection_table import MAX_EXTRA_CONNECTIONS
from app.web.http.http_protocol import Connection
from app.web.http.supervisor import Supervisor
from app.web.observability.log_limits import log_uncaught_errors
from app.web.observability.shared_metrics import SHARED_FOLDER

log = logging.getLogger(__name__)
OWN_FILES = 32  # file descriptors of a process besides those of connections and decoders: about 17
FILES_PER_DECODER = 4  # its pipes and the shared file; there is a decoder for each thread


def run(settings: Settings, registry: Registry, host: str, port: int, processes: int) -> bool:
    """Serve until a signal ends the service.

    Args:
        settings: The settings; several workers read theirs from the environment again.
        registry: The loaded models, for one process; several workers each load their own.
        host: Address to listen on.
        port: TCP port.
        processes: Number of processes that serve.

    Returns:
        False if the service ended because no worker could start; True if a signal ended it.
    """
    options: dict[str, Any] = {
        "factory": True,
        "host": host,
        "port": port,
        "http": Connection,
        "ws": "none",
        "proxy_headers": False,  # uvicorn's would believe 127.0.0.1; the middleware reads them
        "log_level": settings.log_level,
        "log_config": None,  # `logs.configure` does it, for all loggers
        "access_log": False,  # the middleware writes its own, with the request's id
        "timeout_graceful_shutdown": settings.grace_s,
    }
    log_uncaught_errors()
    _check_open_files(settings.max_connections, settings.threads)
    if processes == 1:
        settings = settings.model_copy(update={"host": host})  # where gRPC listens, too
        uvicorn.run(partial(create_app, settings, registry), **options)
        return True
    config = uvicorn.Config("app.server:create_worker_app", workers=processes, **options)
    # Not for one process: the signal that stops it would leave its folder behind.
    with tempfile.TemporaryDirectory(prefix="digitscope-metrics-") as folder:
        os.environ.setdefault(SHARED_FOLDER, folder)
        os.environ["DIGITSCOPE_HOST"] = host  # where gRPC of each worker listens
        supervisor = Supervisor(config, [config.bind_socket()])
        supervisor.run()
    return not supervisor.failed


def _check_open_files(max_connections: int, threads: int) -> None:
    """Log a warning if a process may open fewer files than it needs for all its connections."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = MAX_EXTRA_CONNECTIONS + OWN_FILES + FILES_PER_DECODER * threads
    needed = max_connections + others
    if resource.RLIM_INFINITY != allowed < needed:
        log.warning(
            "a process may open %d files (ulimit -n) but needs %d for the %d connections of"
            " DIGITSCOPE_MAX_CONNECTIONS; raise the limit, or set at most %d connections",
            allowed,
            needed,
            max_connections,
            max(1, allowed - others),
        )


def create_worker_app() -> FastAPI:
    """Build the application of one worker, with the settings of the environment."""
    log_uncaught_errors()
    return create_app(Settings())
