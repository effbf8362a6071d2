"""The commands of the service: `serve`, `cluster`, `predict`, `read`, `settings`."""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from app.bulk import find_images, read_files, write_results
from app.errors import BundleError, DigitscopeError
from app.imports import kept
from app.inference.registry import Model, Registry
from app.recognise import Options, Polarity, Preprocess, recognise
from app.settings import Settings
from app.web import logs
from app.web.answers import prediction_answer
from app.web.connection import Connection
from app.web.metrics import SHARED
from app.web.supervisor import Supervisor

cli = typer.Typer(
    help="Recognise handwritten digits and see how the network saw them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_problems = Console(stderr=True)


def read_settings() -> Settings:
    """Read the settings; a wrong one ends the program with a sentence that names it."""
    try:
        return Settings()
    except ValidationError as error:
        for found in error.errors():
            name = f"DIGITSCOPE_{'_'.join(str(part) for part in found['loc'])}".upper()
            fail(f"The setting {name} is wrong: {found['msg']}; it is {found['input']!r}.")
        raise typer.Exit(2) from error


def fail(message: str) -> None:
    """Print a sentence on the standard error stream."""
    _problems.print(message, style="red", highlight=False, markup=False, soft_wrap=True)


def open_registry(settings: Settings) -> Registry:
    """Open the bundles; a damaged one ends the program with a sentence that names it."""
    return _opened(
        lambda: Registry(settings.model_dir, settings.default_model, interpreters=settings.threads)
    )


def _opened(registry: Callable[[], Registry]) -> Registry:
    try:
        return registry()
    except BundleError as error:
        fail(error.detail)
        raise typer.Exit(1) from error


@cli.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on, instead of DIGITSCOPE_HOST.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="TCP port, instead of DIGITSCOPE_PORT.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes, instead of DIGITSCOPE_WORKERS.")
    ] = None,
) -> None:
    """Serve predictions over HTTP."""
    with kept():
        from app import main  # which takes other commands a tenth of a second

    settings = read_settings()
    # Opened here, so that a damaged bundle ends with a sentence, not a worker's traceback.
    registry = _opened(lambda: main.open_registry(settings))
    processes = workers or settings.workers
    options: dict[str, Any] = {
        "factory": True,
        "host": host or settings.host,
        "port": settings.port if port is None else port,
        "http": Connection,
        "log_level": settings.log_level,
        "access_log": False,  # digitscope writes its own, with the request's id
        "timeout_graceful_shutdown": settings.grace_s,
    }
    if processes == 1:
        # Not opened again, which takes a tenth of a second; several processes must do it each.
        uvicorn.run(partial(main.create_app, settings, registry), **options)
        return
    config = uvicorn.Config("app.main:create_app", workers=processes, **options)
    logs.configure(settings.log_level, settings.log_format)
    # Not for one process: it ends by the signal that stops it, and would leave its folder.
    with tempfile.TemporaryDirectory(prefix="digitscope-metrics-") as shared:
        os.environ.setdefault(SHARED, shared)
        supervisor = Supervisor(config, [config.bind_socket()])
        supervisor.run()
    if supervisor.failed:
        raise typer.Exit(1)


def _ray() -> ModuleType:
    """Import what runs on Ray; without Ray end the program with a sentence on how to get it."""
    try:
        from app import cluster
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        fail("This needs Ray: install the extra 'ray', as in pip install --editable '.[ray]'.")
        raise typer.Exit(2) from error
    return cluster


@cli.command()
def cluster(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on, instead of DIGITSCOPE_HOST.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="TCP port, instead of DIGITSCOPE_PORT.")] = None,
    min_replicas: Annotated[int, typer.Option(min=1, help="Replicas without any load.")] = 1,
    max_replicas: Annotated[int, typer.Option(min=1, help="Most replicas under load.")] = 8,
    cpus: Annotated[int, typer.Option(min=1, help="CPUs of each replica.")] = 1,
) -> None:
    """Serve on a Ray cluster: the one at RAY_ADDRESS or on this machine, or a new one here."""
    values = read_settings()
    open_registry(values)
    on_ray = _ray()
    try:
        on_ray.deploy(
            on_ray.Scale(min_replicas=min_replicas, max_replicas=max_replicas, cpus=cpus),
            host=host or values.host,
            port=values.port if port is None else port,
            deadline_s=values.deadline_s,
        )
    except ConnectionError as error:
        fail(str(error))
        raise typer.Exit(1) from error


@cli.command()
def settings() -> None:
    """Print every setting: its variable, its value and what it does."""
    values = read_settings()
    table = Table("Variable", "Value", "What it does", show_lines=True)
    for name, field in Settings.model_fields.items():
        value = getattr(values, name)
        # Keys are for nobody's screen or log.
        shown = str(value) if field.repr or not value else "(set)"
        table.add_row(f"DIGITSCOPE_{name.upper()}", shown, field.description)
    Console().print(table)


@cli.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files.", show_default=False)],
    model: Annotated[
        str | None, typer.Option(help="Name of the model; the default model if left out.")
    ] = None,
    preprocess: Annotated[
        Preprocess, typer.Option(help="Prepare the image, or take 28x28 as it is.")
    ] = "auto",
    polarity: Annotated[
        Polarity, typer.Option(help="Whether the ink is darker or lighter.")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, one object per image.")
    ] = False,
) -> None:
    """Read a digit in each image, without a server; exit code 1 if any file failed."""
    values = read_settings()
    registry = open_registry(values)
    try:
        registry.load()
        chosen = registry.wait_for(model)
    except DigitscopeError as error:
        valid = error.fields.get("valid")
        fail(error.detail + (f" There are: {', '.join(valid)}." if valid else ""))
        raise typer.Exit(1) from error
    options = Options(preprocess=preprocess, polarity=polarity, max_pixels=values.max_pixels)
    rows = [_predict_file(path, chosen, options) for path in images]
    if as_json:
        sys.stdout.write("".join(json.dumps(row) + "\n" for row in rows))
    else:
        Console().print(_as_table(rows))
    if any("error" in row for row in rows):
        raise typer.Exit(1)


def _predict_file(path: Path, model: Model, options: Options) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        return {"file": str(path), "error": f"cannot be read: {error.strerror}"}
    try:
        prediction = recognise(content, model, options)
    except DigitscopeError as error:
        return {"file": str(path), "error": error.detail}
    return {
        "file": str(path),
        **prediction_answer(prediction, model.bundle).model_dump(mode="json"),
    }


def _as_table(rows: list[dict[str, Any]]) -> Table:
    table = Table("File", "Digit", "Confidence", "Verdict", "Runner-up")
    for row in rows:
        if "error" in row:
            table.add_row(row["file"], "", "", f"[red]{row['error']}[/red]", "")
        else:
            table.add_row(
                row["file"],
                str(row["digit"]),
                f"{row['confidence']:.1%}",
                row["verdict"],
                str(row["runner_up"]),
            )
    return table


@cli.command()
def read(
    paths: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    out_file: Annotated[
        Path, typer.Option("--out", help="The table: .csv, .jsonl or .parquet.")
    ] = Path("results.csv"),
    model: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    polarity: Annotated[Polarity, typer.Option(help="Whether the ink is darker.")] = "auto",
    processes: Annotated[int, typer.Option(min=1, help="Worker processes.")] = os.cpu_count() or 1,
    ray: Annotated[
        bool, typer.Option("--ray", help="Read on a Ray cluster instead of worker processes.")
    ] = False,
) -> None:
    """Read all digits of many images into a table; a second call goes on where one stopped."""
    values = read_settings()
    name = model or values.default_model
    images = find_images(paths)
    if name not in open_registry(values).bundles:
        fail(f"There is no model {name!r} in {values.model_dir}.")
        raise typer.Exit(1)
    options = Options(polarity=polarity, max_pixels=values.max_pixels)
    if ray:
        reader = partial(_ray().read_files, folder=values.model_dir, model=name, options=options)
    else:
        reader = partial(
            read_files, folder=values.model_dir, model=name, options=options, processes=processes
        )
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=_problems) as bar:
        task = bar.add_task("reading", total=len(images))
        try:
            failed = write_results(
                images,
                out_file,
                reader,
                lambda row: bar.advance(task),
            )
        except DigitscopeError as error:
            fail(error.detail)
            raise typer.Exit(2) from error
        except ConnectionError as error:
            fail(str(error))
            raise typer.Exit(1) from error
    Console().print(f"{len(images)} images, {failed} of them not readable: {out_file}")
    if failed:
        raise typer.Exit(1)
