"""The command `import`: brings in a network that was trained elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli import read_settings
from app.import_cache import model_name_of
from training.cli.options import failures, import_keras


def import_(
    file: Annotated[
        Path,
        typer.Argument(help="A .keras, .h5, .tflite or .onnx file, or the folder of a SavedModel."),
    ],
    name: Annotated[
        str | None, typer.Option(help="Name of the model (default: that of the file).")
    ] = None,
    input_: Annotated[
        str,
        typer.Option(
            "--input",
            help=(
                "Range of the pixels: auto, 0..255, 0..1, -1..1, MEAN,STD, inverted or"
                " 'inverted MEAN,STD'."
            ),
        ),
    ] = "auto",
    classes: Annotated[
        Path | None,
        typer.Option(help="File with the names of the classes, one on each line."),
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            help="A Python module whose code may run, `lambda` for the code in Lambda layers, or"
            " `savedmodel` for the program in a SavedModel; may be repeated."
        ),
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Apply the temperature that fits.")
    ] = False,
    models: Annotated[
        Path | None, typer.Option("--out", help="Folder of models (default: DIGITSCOPE_MODEL_DIR).")
    ] = None,
) -> None:
    """Import a network that was trained elsewhere, so that it is served and shown like our own.

    No code of the file runs, unless --trust says so.
    """
    settings = read_settings()
    import_keras()
    from training.importing.options import Options
    from training.importing.report import print_result
    from training.importing.run import import_file

    options = Options(name or model_name_of(file), input_, classes, tuple(trust or ()), calibrate)
    with failures():
        result = import_file(file, options, models or settings.model_dir)
        print_result(result, f"http://{settings.host}:{settings.port}/#m={options.name}")
