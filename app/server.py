"""Runs the service under uvicorn: in one process, or in several workers with a supervisor."""

import gc
import logging
import os
import resource
import socket
import sys
import tempfile
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from app.inference.registry import Registry
from app.main import create_app
from app.settings import Settings
from app.web.http.connection_table import MAX_EXTRA_CONNECTIONS
from app.web.http.http_protocol import Connection
from app.web.http.supervisor import Supervisor
from app.web.observability import logs
from app.web.observability.log_limits import log_uncaught_errors
from app.web.observability.shared_metrics import SHARED_FOLDER

log = logging.getLogger(__name__)
ALL_IPV6_ADDRESSES = ("::", "::0", "0::0")
OWN_FILES = 32  # file descriptors of a process besides those of connections and decoders: about 17
FILES_PER_DECODER = 4  # its pipes and the shared file; there is a decoder for each thread


def run(settings: Settings, registry: Registry, host: str, port: int, processes: int) -> bool:
    """Serve until a signal ends the service.

    Args:
        settings: The settings.
        registry: The models: loaded, or for several processes what `load_for_workers` returns.
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
    settings = settings.model_copy(update={"host": host})  # where gRPC listens, too
    if processes == 1:
        config = uvicorn.Config(partial(create_app, settings, registry), **options)
        _serve_alone(config)
        return True
    config = uvicorn.Config(
        partial(create_app, settings, registry, is_worker=True), workers=processes, **options
    )
    config.get_loop_factory()  # imports what all workers use
    gc.collect()
    gc.freeze()  # a collection would write to every object, and so copy the memory that is shared
    # Not for one process: the signal that stops it would leave its folder behind.
    with tempfile.TemporaryDirectory(prefix="digitscope-metrics-") as folder:
        os.environ.setdefault(SHARED_FOLDER, folder)
        listening = _bind_both_families(config) or config.bind_socket()
        supervisor = Supervisor(config, [listening], on_fork=logs.restart_after_fork)
        supervisor.run()
    return not supervisor.failed


def _serve_alone(config: uvicorn.Config) -> None:
    server = uvicorn.Server(config)
    listening = _bind_both_families(config)
    with suppress(KeyboardInterrupt):  # uvicorn raises SIGINT again after its shutdown
        server.run([listening] if listening else None)
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _bind_both_families(config: uvicorn.Config) -> socket.socket | None:
    """Return a socket for IPv6 and IPv4 if the server listens on all IPv6 addresses, else None.

    uvicorn alone would listen on IPv6 only in one process, and as the system has it in several.
    """
    if config.host not in ALL_IPV6_ADDRESSES or not socket.has_dualstack_ipv6():
        return None
    listening = socket.socket(socket.AF_INET6)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listening.bind((config.host, config.port))
    port = listening.getsockname()[1]
    log.info("listening on [%s]:%d, for IPv6 and IPv4 (Press CTRL+C to quit)", config.host, port)
    return listening


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
