"""digitscope on a Ray cluster: the same application in replicas, and bulk work on every node.

Ray Serve places, balances, scales and replaces the replicas; Ray Data shares out the files and
reads again what was lost with a node. Here stands what they are told. Needs the extra `ray`, and
on every node this program and its models at the same paths.

    serve run app.ray_serve:app max_replicas=16
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.data import ActorPoolStrategy, DataContext
from starlette.types import ASGIApp, Receive, Scope, Send

from app.batch_files import Row, read_file, table_schema
from app.inference.registry import Registry
from app.main import create_app
from app.recognise import Options
from app.routes.operate import livez
from app.settings import Settings

NAME = "digitscope"
# A replica at work on four requests is never idle, and holds few that would be lost with it.
TARGET_ONGOING, MAX_ONGOING = 4, 16
# Of what one actor reads at a time; a node that is lost costs its actors' work on these.
FILES_A_TASK, MAX_TASKS = 32, 10_000


class Scale(BaseModel):
    """How many replicas there are, and what each is given; the arguments of `serve run`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_replicas: int = Field(1, ge=1, description="Replicas that there are without any load.")
    max_replicas: int = Field(8, ge=1, description="Most replicas under load.")
    cpus: int = Field(1, ge=1, description="CPUs, and threads for predictions, of each replica.")


class _WithState:
    """Hands the lifespan's state to every request, as ASGI asks servers to.

    Ray Serve does not (https://github.com/ray-project/ray/issues/45395, open as of Ray 2.60).
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
    """What Serve asks of a replica besides answers."""

    app: _WithState  # set by `serve.ingress`

    async def check_health(self) -> None:
        """Raise StalledError where `/livez` says 503; Serve then replaces the replica."""
        await livez(self.app.state["service"])


def app(scale: Scale) -> serve.Application:
    """Build the application for `serve run`, `serve deploy` and `digitscope cluster`.

    The settings are those of the environment that this runs in. A replica runs each image at once,
    on as many threads as it has CPUs and never on its event loop; its queue is Serve's.
    """
    settings = Settings(threads=scale.cpus, max_batch=1, workers=1, quick_below_s=0)

    def build() -> ASGIApp:
        return _WithState(create_app(settings))

    deployment = serve.deployment(
        serve.ingress(build)(_Ingress),
        name=NAME,
        ray_actor_options={"num_cpus": scale.cpus},
        max_ongoing_requests=MAX_ONGOING,
        # Of each proxy; as many for each replica as one process lets wait. More get 503.
        max_queued_requests=settings.max_queue * scale.max_replicas,
        autoscaling_config={
            "min_replicas": scale.min_replicas,
            "max_replicas": scale.max_replicas,
            "target_ongoing_requests": TARGET_ONGOING,
            "upscale_delay_s": 10,  # Ray's own 30 s is for replicas that take long to start
        },
        graceful_shutdown_timeout_s=settings.grace_s,
        logging_config={"enable_access_log": False},  # digitscope writes its own
    )
    return deployment.bind()


def deploy(scale: Scale, *, host: str, port: int, deadline_s: float) -> None:
    """Serve on the cluster until interrupted, with a proxy on every node.

    Args:
        scale: How many replicas.
        host: Address on which every node listens.
        port: TCP port, the same on every node.
        deadline_s: Longest time to an answer, the wait for a replica included.

    Raises:
        ConnectionError: There is no cluster at RAY_ADDRESS.
    """
    connect()
    # A second more than the application's own deadline, whose answer says more.
    options = {"host": host, "port": port, "request_timeout_s": deadline_s + 1}
    serve.start(proxy_location="EveryNode", http_options=options)
    try:
        serve.run(app(scale), name=NAME, blocking=True)
    finally:
        serve.delete(NAME)


def connect() -> None:
    """Join the cluster at RAY_ADDRESS or one begun on this machine; without any begin one.

    Raises:
        ConnectionError: There is no cluster at RAY_ADDRESS.
    """
    ray.init(logging_level="warning", log_to_driver=False)


class _Reader:
    """Reads files in an actor, which loads the model once."""

    def __init__(self, folder: Path, model: str, options: Options) -> None:
        registry = Registry(folder, model, interpreters=1)
        registry.load()
        self._model, self._options = registry.wait_for(model), options

    def __call__(self, files: pa.Table) -> pa.Table:
        rows = [
            replace(read_file(Path(one["place"]), self._model, self._options), file=one["file"])
            for one in files.to_pylist()
        ]
        return pa.Table.from_pylist([asdict(row) for row in rows], schema=table_schema())


def read_files(paths: list[Path], folder: Path, model: str, options: Options) -> Iterator[Row]:
    """Read files on all nodes of the cluster; the rows come in the order of the files.

    Args:
        paths: The files, on a disk that all nodes share.
        folder: The folder of model bundles, on every node.
        model: Name of the model.
        options: How the images are read.

    Raises:
        ConnectionError: There is no cluster at RAY_ADDRESS.
    """
    if not paths:
        return
    connect()
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    tasks = min(math.ceil(len(paths) / FILES_A_TASK), MAX_TASKS)
    files = ray.data.from_items(
        [{"file": str(path), "place": str(path.absolute())} for path in paths],
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
