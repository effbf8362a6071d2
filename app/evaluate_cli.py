"""The options of `digitscope evaluate --images`, which training's `evaluate` has, too.

Importing it imports nothing that only this command needs.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from app.cli import read_settings
from app.imaging.polarity import Polarity
from app.label_rules import LabelSource
from app.recognise import Preprocess
from app.terminal import fail


def _place(text: str) -> Path:
    if not text.strip():
        raise typer.BadParameter("is empty, such as a variable that is not set.")
    return Path(text)


ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images",
        parser=_place,
        metavar="PATH",
        help="Labelled pictures: a folder (3/abc.png or abc_3.png, or with labels.csv), or a table"
        " .csv or .jsonl of path and label, or of path and text for pages.",
        show_default=False,
    ),
]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="Model name; repeat it to compare models"
        " (default: the setting DIGITSCOPE_DEFAULT_MODEL).",
        show_default=False,
    ),
]
LabelsOption = Annotated[
    LabelSource,
    typer.Option(
        "--labels",
        help="What gives the labels of a folder: its table, else the folders before the ends of the"
        " names (auto); or only one of these.",
    ),
]
PreprocessOption = Annotated[
    Preprocess,
    typer.Option(help="Preprocess the pictures, or use 28x28 pictures as they are (none)."),
]
PolarityOption = Annotated[
    Polarity, typer.Option(help="Polarity of the pictures; auto detects it.")
]
ProcessesOption = Annotated[int, typer.Option(min=1, max=256, help="Number of worker processes.")]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="File .jsonl that keeps the answers: the next run with it reads only new pictures.",
        show_default=False,
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", help="Write a report as one HTML file.", show_default=False),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the figures as JSON instead of tables.")
]
PROCESSES = os.cpu_count() or 1


def evaluate(
    images: ImagesOption = None,
    models: ModelsOption = None,
    labels: LabelsOption = "auto",
    preprocess: PreprocessOption = "auto",
    polarity: PolarityOption = "auto",
    processes: ProcessesOption = PROCESSES,
    out_file: OutOption = None,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure models on your own labelled pictures: errors, confusions, calibration, refusals."""
    if images is None:
        fail(
            "Give your labelled pictures: --images FOLDER. To measure on MNIST needs the extra"
            " 'train': pip install --editable '.[train]'"
        )
        raise typer.Exit(2)
    from app.evaluate_command import Request, evaluate_images

    request = Request(
        images=images,
        models=models or [],
        labels=labels,
        preprocess=preprocess,
        polarity=polarity,
        processes=processes,
        out=out_file,
        report=report,
        as_json=as_json,
    )
    evaluate_images(read_settings(), request)
