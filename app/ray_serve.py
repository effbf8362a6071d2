"""Run digitscope on a Ray cluster: serve the application in replicas, or read many files.

Ray Serve places, balances, scales and replaces the replicas. Ray Data distributes the files and
retries those of a lost node. This module only configures them. Needs the extra `ray`, and this
program and its models at the same paths on every node.

    serve run app.ray_serve:app max_replicas=16
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.data import ActorPoolStrategy, DataContext
from starlette.types import ASGIApp, Receive, Scope, Send

from app.batch_files import Row, read_file, row_schema
from app.inference.registry import Registry
from app.main import create_app
from app.recognise import Options
from app.routes.operate import livez
from app.settings import Settings

NAME = "digitscope"
# Requests in progress per replica. Four keep a replica busy, and few are lost with it.
TARGET_ONGOING, MAX_ONGOING = 4, 16
# Files that an actor reads at a time; the loss of a node repeats at most these for each actor.
FILES_PER_TASK = 32
MAX_TASKS = 10_000  # more files than MAX_TASKS * FILES_PER_TASK make each task larger


class Scale(BaseModel):
    """Number and size of the replicas: the arguments of `serve run`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_replicas: int = Field(1, ge=1, description="Number of replicas when there is no load.")
    max_replicas: int = Field(8, ge=1, description="Largest number of replicas.")
    cpus: int = Field(1, ge=1, description="CPUs, and prediction threads, of each replica.")


class _WithState:
    """Pass the lifespan's state to every request, as ASGI requires of servers.

    Ray Serve does not pass it (https://github.com/ray-project/ray/issues/45395, open as of Ray
    2.60).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.state = app, dict[str, Any]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            scope["state"] = self.state
        else:
            scope["state"] = {**self.state, **scope.get("state", {})}
        await self.app(scope, receive, send)


class _Ingress:
    """The deployment class that Ray Serve wraps around the application."""

    app: _WithState  # set by `serve.ingress`

    async def check_health(self) -> None:
        """Raise StalledError if `/livez` would return 503; Ray Serve then replaces the replica."""
        await livez(self.app.state["service"])


def app(scale: Scale) -> serve.Application:
    """Build the application for `serve run`, `serve deploy` and `digitscope cluster`.

    Settings are read from the environment of the calling process. A replica runs each image without
    batching, on as many threads as it has CPUs, and never on its event loop. Ray Serve queues the
    requests.
    """
    # Without gRPC: replicas of a node would share its port, and Ray would not know of the calls.
    settings = Settings(threads=scale.cpus, max_batch=1, workers=1, quick_below_s=0, grpc_port=0)

    def build() -> ASGIApp:
        return _WithState(create_app(settings))

    deployment = serve.deployment(
        serve.ingress(build)(_Ingress),
        name=NAME,
        ray_actor_options={"num_cpus": scale.cpus},
        max_ongoing_requests=MAX_ONGOING,
        # Per proxy: each replica adds the queue of one process. Further requests get 503.
        max_queued_requests=settings.max_queue * scale.max_replicas,
        autoscaling_config={
            "min_replicas": scale.min_replicas,
            "max_replicas": scale.max_replicas,
            "target_ongoing_requests": TARGET_ONGOING,
            "upscale_delay_s": 10,  # Ray's default of 30 s suits replicas that start slowly
        },
        graceful_shutdown_timeout_s=settings.grace_s,
        logging_config={"enable_access_log": False},  # digitscope writes its own access log
    )
    return deployment.bind()


def deploy(scale: Scale, *, host: str, port: int, deadline_s: float) -> None:
    """Serve on the cluster until interrupted, with an HTTP proxy on every node.

    Args:
        scale: Number and size of the replicas.
        host: Address that every proxy listens on.
        port: TCP port, the same on every node.
        deadline_s: Longest time to a response, in seconds, including the body and the wait for a
            replica.

    Raises:
        ConnectionError: No cluster can be reached at RAY_ADDRESS.
    """
    connect()
    # One second more than the application's own limits, whose responses explain more.
    options = {"host": host, "port": port, "request_timeout_s": deadline_s + 1}
    serve.start(proxy_location="EveryNode", http_options=options)
    try:
        serve.run(app(scale), name=NAME, blocking=True)
    finally:
        serve.delete(NAME)


def connect() -> None:
    """Join the cluster at RAY_ADDRESS, or one on this machine; if there is none, start one.

    Raises:
        ConnectionError: No cluster can be reached at RAY_ADDRESS.
    """
    ray.init(logging_level="warning", log_to_driver=False)


class _Reader:
    """An actor that loads the model once and reads files."""

    def __init__(self, folder: Path, model: str, options: Options) -> None:
        registry = Registry(folder, model, interpreters=1)
        registry.load()
        self._model, self._options = registry.wait_for(model), options

    def __call__(self, files: pa.Table) -> pa.Table:
        rows = [
            read_file(Path(file["path"]), self._model, self._options)._replace(file=file["file"])
            for file in files.to_pylist()
        ]
        return pa.Table.from_pylist([row._asdict() for row in rows], schema=row_schema())


def read_files(paths: list[Path], folder: Path, model: str, options: Options) -> Iterator[Row]:
    """Read files on all nodes of the cluster and yield their rows in the order of the files.

    Args:
        paths: The files, on a disk that all nodes share.
        folder: Folder with the model bundles, at the same path on every node.
        model: Name of the model.
        options: Options for reading each image.

    Raises:
        ConnectionError: No cluster can be reached at RAY_ADDRESS.
    """
    if not paths:
        return
    connect()
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    tasks = min(math.ceil(len(paths) / FILES_PER_TASK), MAX_TASKS)
    files = ray.data.from_items(
        [{"file": str(path), "path": str(path.absolute())} for path in paths],
        override_num_blocks=tasks,
    )
    read = files.map_batches(
        _Reader,
        fn_constructor_args=(folder.absolute(), model, options),
        batch_format="pyarrow",
        batch_size=None,
        compute=ActorPoolStrategy(min_size=1),
        num_cpus=1,
    )
    for row in read.iter_rows():
        yield Row(**row)
