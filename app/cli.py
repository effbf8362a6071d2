"""The commands of the service: `serve`, `cluster`, `predict`, `read`, `settings`.

What only some commands need they import themselves: FastAPI takes 0.3 s, Rich 0.05.
"""

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from app.batch_files import find_images, read_files, write_results
from app.errors import BundleError, DigitscopeError
from app.imaging.polarity import Polarity
from app.inference.model import Model
from app.inference.registry import Registry
from app.models import load_models, open_models
from app.process_tuning import gc_frozen_imports
from app.recognise import Options, Preprocess, recognise
from app.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

cli = typer.Typer(
    help="Recognise handwritten digits and see how the network saw them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def read_settings() -> Settings:
    """Read the settings; a wrong one ends the program with a sentence that names it."""
    try:
        return Settings()
    except ValidationError as error:
        for found in error.errors():
            name = f"DIGITSCOPE_{'_'.join(str(part) for part in found['loc'])}".upper()
            shown = "" if _is_secret(str(found["loc"][0])) else f"; it is {found['input']!r}"
            fail(f"The setting {name} is wrong: {found['msg']}{shown}.")
        raise typer.Exit(2) from error


def _is_secret(name: str) -> bool:
    """Tell whether a setting's value is for nobody's screen or log."""
    return name in Settings.model_fields and not Settings.model_fields[name].repr


def fail(message: str) -> None:
    """Print a sentence on the standard error stream."""
    from rich.console import Console

    Console(stderr=True).print(message, style="red", highlight=False, markup=False, soft_wrap=True)


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
    settings = read_settings()
    processes = workers or settings.workers
    # Opened here, so that a damaged bundle ends with a sentence, not a worker's traceback. Hashing
    # and compiling leave the interpreter free, which the imports keep busy for longer.
    with ThreadPoolExecutor(1) as beside:
        opening = beside.submit(load_models if processes == 1 else open_models, settings)
        with gc_frozen_imports():
            from app import server
    models = _opened(opening.result)
    port = settings.port if port is None else port
    if not server.run(settings, models, host or settings.host, port, processes):
        raise typer.Exit(1)


def _ray() -> ModuleType:
    """Import what runs on Ray; without Ray end the program with a sentence on how to get it."""
    try:
        from app import ray_serve
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        fail("This needs Ray: install the extra 'ray', as in pip install --editable '.[ray]'.")
        raise typer.Exit(2) from error
    return ray_serve


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
    from rich.console import Console
    from rich.table import Table

    values = read_settings()
    table = Table("Variable", "Value", "What it does", show_lines=True)
    for name, field in Settings.model_fields.items():
        value = getattr(values, name)
        shown = "(set)" if value and _is_secret(name) else str(value)
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
        from rich.console import Console

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
    from app.web.responses.predictions import prediction_answer

    return {
        "file": str(path),
        **prediction_answer(prediction, model.bundle).model_dump(mode="json"),
    }


def _as_table(rows: list[dict[str, Any]]) -> "Table":
    from rich.table import Table

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
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    values = read_settings()
    name = model or values.default_model
    images = find_images(paths)
    if not images:
        fail(f"No images were found in {', '.join(str(path) for path in paths)}.")
        raise typer.Exit(1)
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
    messages = Console(stderr=True)
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=messages) as bar:
        task = bar.add_task("reading", total=len(images))
        try:
            failed, known = write_results(
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
    if known:
        Console().print(
            f"{known} of them stood in it already and were not read again, whatever has changed."
        )
    if failed:
        raise typer.Exit(1)
