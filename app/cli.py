"""The command line of the service: `serve`, `cluster`, `predict`, `read`, `settings`.

Imports that only one command needs are inside that command: FastAPI takes 0.3 s, Rich 0.05 s.
"""

import errno
import json
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from app.correction_store import make_folder
from app.errors import BundleError, DigitscopeError
from app.image_files import read_image_file
from app.imaging.polarity import Polarity
from app.import_cache import import_into_cache
from app.inference.model import Model
from app.inference.registry import Registry
from app.lean_imports import import_fastapi
from app.models import load_for_workers, load_models
from app.page_reading import find_several
from app.process_tuning import gc_frozen_imports
from app.recognise import Options, Preprocess, recognise
from app.settings import Settings, invalid_settings, is_secret
from app.terminal import cell, fail
from app.version import VERSION

if TYPE_CHECKING:
    from rich.table import Table

T = TypeVar("T")
NEEDS_TRAINING = (
    "Keras is not installed, which this command needs; install the extra 'train':"
    " pip install --editable '.[train]'"
)
cli = typer.Typer(
    help="Recognise handwritten digits, and see what the network sees in them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"digitscope {VERSION}")
        raise typer.Exit


@cli.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Recognise handwritten digits and see how the network saw them."""


def read_settings() -> Settings:
    """Read the settings from the environment.

    An invalid setting ends the program with exit code 2 and a message that names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        for sentence in invalid_settings(error):
            fail(sentence)
        raise typer.Exit(2) from error


def open_registry(settings: Settings) -> Registry:
    """Open the model bundles.

    A damaged bundle ends the program with exit code 1 and a message that names it.
    """
    return _exit_on_bundle_error(
        lambda: Registry(settings.model_dir, settings.default_model, interpreters=settings.threads)
    )


def _exit_on_bundle_error(open_bundles: Callable[[], T]) -> T:
    try:
        return open_bundles()
    except BundleError as error:
        fail(error.detail)
        raise typer.Exit(1) from error


@cli.command()
def serve(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A network's file to import and serve: .keras, .h5, .tflite or .onnx.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on (default: the setting DIGITSCOPE_HOST)."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="TCP port to listen on (default: the setting DIGITSCOPE_PORT)."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Number of processes (default: the setting DIGITSCOPE_WORKERS)."
        ),
    ] = None,
) -> None:
    """Serve predictions and the web page over HTTP."""
    settings = read_settings() if file is None else _serve_imported(file)
    processes = workers or settings.workers
    host = host or settings.host
    port = settings.port if port is None else port
    _check_address(host, port)
    if settings.grpc_port:
        _check_address(host, settings.grpc_port, "the setting DIGITSCOPE_GRPC_PORT")
    if settings.feedback_dir:
        _make_feedback_folder(settings.feedback_dir)
    from app.web.observability import logs

    logs.configure(settings.log_level, settings.log_format)
    # The bundles are opened here so that a damaged one ends with a message, not with a worker's
    # traceback. Hashing and compiling release the GIL, so they run while modules are imported.
    with ThreadPoolExecutor(1) as executor:
        opening = executor.submit(load_models if processes == 1 else load_for_workers, settings)
        with gc_frozen_imports():
            import_fastapi()
            from app import server

            if settings.grpc_port:
                _import_grpc()
    models = _exit_on_bundle_error(opening.result)
    if not server.run(settings, models, host, port, processes):
        raise typer.Exit(1)


def _serve_imported(file: Path) -> Settings:
    """Import a file, and return settings that serve it.

    If it cannot be imported, the program ends with exit code 1.
    """
    try:
        folder, name = import_into_cache(file)
    except (BundleError, OSError) as error:
        fail(error.detail if isinstance(error, BundleError) else f"{file}: {error.strerror}.")
        raise typer.Exit(1) from error
    # Worker processes read the settings from the environment.
    os.environ |= {"DIGITSCOPE_MODEL_DIR": str(folder), "DIGITSCOPE_DEFAULT_MODEL": name}
    return read_settings()


def add_missing_commands() -> None:
    """Add commands `import` and `adapt` that say which extra they need."""
    options = {"allow_extra_args": True, "ignore_unknown_options": True}
    texts = {
        "import": "Import a network that was trained elsewhere; needs the extra 'train'.",
        "adapt": "Teach a model your own hand; needs the extra 'train'.",
    }

    def missing(context: typer.Context) -> None:
        fail(NEEDS_TRAINING)
        raise typer.Exit(2)

    for name, text in texts.items():
        cli.command(name, help=text, context_settings=options)(missing)


def _import_grpc() -> None:
    """Import what serves gRPC before the service starts.

    If gRPC is not installed, the program ends with exit code 2 and a message on how to install it.
    """
    # Its core writes what clients do wrong straight to the standard error.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from app.protocols.grpc import server  # noqa: F401 - the application uses it
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("app"):
            raise
        fail(
            "The setting DIGITSCOPE_GRPC_PORT needs gRPC, which is not installed; install the extra"
            " 'grpc': pip install --editable '.[grpc]'"
        )
        raise typer.Exit(2) from error


def _check_address(host: str, port: int, option: str = "") -> None:
    """Check that the server can listen on an address before anything is loaded.

    `option` names what sets the port; `--port` by default.

    If it cannot, the program ends with exit code 1 and a message that says what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((host, port))
        except (OSError, OverflowError, TypeError) as error:  # TypeError: no host name
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                other = option or f"digitscope serve --port {port + 1}"
                fail(
                    f"Port {port} is already in use. Stop the program that listens on it, or choose"
                    f" another port: {other}"
                )
            else:
                fail(f"The server cannot listen on {host}, port {port}: {error}.")
            raise typer.Exit(1) from error


def _make_feedback_folder(folder: Path) -> None:
    """Make the folder of corrections if it is missing.

    If the service could not write into it, the program ends with exit code 1 and the reason.
    """
    try:
        make_folder(folder)
    except OSError as error:
        fail(f"The folder {folder} of DIGITSCOPE_FEEDBACK_DIR cannot be used: {error.strerror}.")
        raise typer.Exit(1) from error


def _import_ray_serve() -> ModuleType:
    """Import `app.ray_serve`.

    If Ray is not installed, the program ends with exit code 2 and a message on how to install it.
    """
    try:
        from app import ray_serve
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        fail("Ray is not installed; install the extra 'ray': pip install --editable '.[ray]'")
        raise typer.Exit(2) from error
    return ray_serve


@cli.command()
def cluster(
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on (default: the setting DIGITSCOPE_HOST)."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="TCP port to listen on (default: the setting DIGITSCOPE_PORT)."),
    ] = None,
    min_replicas: Annotated[
        int, typer.Option(min=1, help="Number of replicas when there is no load.")
    ] = 1,
    max_replicas: Annotated[int, typer.Option(min=1, help="Largest number of replicas.")] = 8,
    cpus: Annotated[int, typer.Option(min=1, help="CPUs of each replica.")] = 1,
) -> None:
    """Serve on a Ray cluster.

    Joins the cluster at RAY_ADDRESS, or one that runs on this machine, or starts a new one here.
    """
    values = read_settings()
    open_registry(values)
    ray_serve = _import_ray_serve()
    try:
        ray_serve.deploy(
            ray_serve.Scale(min_replicas=min_replicas, max_replicas=max_replicas, cpus=cpus),
            host=host or values.host,
            port=values.port if port is None else port,
            deadline_s=values.body_timeout_s + values.deadline_s,
        )
    except ConnectionError as error:
        fail(str(error))
        raise typer.Exit(1) from error


@cli.command()
def settings() -> None:
    """Print every setting: its environment variable, its value and what it does."""
    from rich.console import Console
    from rich.table import Table

    values = read_settings()
    table = Table("Variable", "Value", "What it does", show_lines=True)
    for name, field in Settings.model_fields.items():
        value = getattr(values, name)
        shown = "(set)" if value and is_secret(name) else value
        table.add_row(f"DIGITSCOPE_{name.upper()}", cell(shown), cell(field.description))
    Console().print(table)


@cli.command()
def predict(
    images: Annotated[
        list[Path], typer.Argument(help="Image files, each with one digit.", show_default=False)
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Model name (default: the setting DIGITSCOPE_DEFAULT_MODEL)."),
    ] = None,
    preprocess: Annotated[
        Preprocess,
        typer.Option(help="Preprocess the images, or use 28x28 images as they are (none)."),
    ] = "auto",
    polarity: Annotated[
        Polarity, typer.Option(help="Polarity of the images; auto detects it.")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object per image, one per line.")
    ] = False,
) -> None:
    """Recognise the digit in each image file, without a server.

    The exit code is 1 if any file cannot be read.
    """
    values = read_settings()
    registry = open_registry(values)
    try:
        registry.load()
        chosen = registry.wait_for(model)
    except DigitscopeError as error:
        valid = error.fields.get("valid")
        fail(error.detail + (f" Available models: {', '.join(valid)}." if valid else ""))
        raise typer.Exit(1) from error
    options = Options(
        preprocess=preprocess,
        polarity=polarity,
        max_pixels=values.max_pixels,
        find_several=find_several,
    )
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
        content = read_image_file(path, max_pixels=options.max_pixels)
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
            table.add_row(cell(row["file"]), "", "", cell(row["error"], style="red"), "")
        else:
            table.add_row(
                cell(row["file"]),
                str(row["digit"]),
                f"{row['confidence']:.1%}",
                row["verdict"],
                str(row["runner_up"]),
            )
    return table


@cli.command()
def read(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Image files, or folders that are searched for images."),
    ],
    out_file: Annotated[
        Path, typer.Option("--out", help="Table to write: .csv, .jsonl or .parquet.")
    ] = Path("results.csv"),
    model: Annotated[
        str | None,
        typer.Option(help="Model name (default: the setting DIGITSCOPE_DEFAULT_MODEL)."),
    ] = None,
    polarity: Annotated[
        Polarity, typer.Option(help="Polarity of the images; auto detects it.")
    ] = "auto",
    processes: Annotated[
        int, typer.Option(min=1, help="Number of worker processes.")
    ] = os.cpu_count() or 1,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            help="Write an HTML file on which a person corrects the digits and exports labels.",
            show_default=False,
        ),
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Use a Ray cluster instead of worker processes.")
    ] = False,
) -> None:
    """Read all digits in many images and write them to a table.

    A run with an existing table reads only what is new: files that are missing in it, that have
    changed, or that another model or version has read.
    """
    from app.read_command import Request, read_images

    request = Request(
        paths=paths,
        out=out_file,
        model=model,
        polarity=polarity,
        processes=processes,
        sheet=sheet,
        ray=_import_ray_serve() if ray else None,
    )
    read_images(read_settings(), request)
