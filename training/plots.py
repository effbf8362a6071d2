"""The plots of a model card: training curves, confusion matrix, reliability, misread digits."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.bundle import Evaluation, Metadata
from training.data import Split

MAX_DRAWN = 100  # misread digits; matplotlib takes minutes for a thousand


def write_plots(metadata: Metadata, folder: Path, test: Split | None) -> None:
    """Write the plots of a model card as PNG files.

    Args:
        metadata: The figures to plot.
        folder: Folder for the files; it is created.
        test: The test split, for the images of the misread digits; None leaves these out.
    """
    folder.mkdir(exist_ok=True)
    evaluation = metadata.test or metadata.held_out
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        if metadata.epochs:
            _save(_curves(metadata), folder / "curves.png")
        _save(_confusion(evaluation), folder / "confusion.png")
        _save(_reliability(evaluation), folder / "reliability.png")
        if metadata.test and test:
            _save(_misread(metadata.test, test), folder / "misread.png")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})


def _curves(metadata: Metadata) -> Figure:
    """Plot error and loss by epoch; on augmented training digits both are higher."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [figures.epoch for figures in metadata.epochs]
    pairs = (
        (
            left,
            "error, %",
            [100 * (1 - e.accuracy) for e in metadata.epochs],
            [100 * (1 - e.val_accuracy) for e in metadata.epochs],
        ),
        (
            right,
            "negative log-likelihood, nats",
            [e.loss for e in metadata.epochs],
            [e.val_loss for e in metadata.epochs],
        ),
    )
    for axes, label, train, held_out in pairs:
        axes.plot(epochs, train, label="training (augmented, with dropout)", color="0.6")
        axes.plot(epochs, held_out, label="validation", color="tab:blue")
        axes.axvline(metadata.published_epoch, color="tab:blue", linewidth=0.6, linestyle=":")
        axes.set(xlabel="epoch", ylabel=label, yscale="log")
    left.legend(frameon=False)
    return figure


def _confusion(evaluation: Evaluation) -> Figure:
    """Draw the confusion matrix; the diagonal has no colour, so that the errors stand out."""
    counts = np.array(evaluation.confusion)
    wrong = counts * (1 - np.eye(10, dtype=np.int64))
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(wrong, cmap="Reds", vmin=0, vmax=max(1, wrong.max()) * 1.5)
    for label in range(10):
        for digit in range(10):
            if counts[label, digit]:
                axes.text(
                    digit, label, str(counts[label, digit]), ha="center", va="center", fontsize=8
                )
    axes.set(
        xticks=range(10),
        yticks=range(10),
        xlabel="read as",
        ylabel="label",
        title=f"{evaluation.split} split",
    )
    return figure


def _reliability(evaluation: Evaluation) -> Figure:
    """Plot accuracy against confidence; larger dots stand for more digits."""
    figure = Figure(figsize=(4.2, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle="--")
    groups = evaluation.reliability
    axes.plot([g.confidence for g in groups], [g.accuracy for g in groups], color="tab:blue")
    for group in groups:
        size = 20 + 12 * np.log10(group.digits)
        axes.scatter(group.confidence, group.accuracy, s=size, color="tab:blue")
        axes.annotate(
            f"{group.digits:,}",
            (group.confidence, group.accuracy),
            textcoords="offset points",
            xytext=(6, -9),
            fontsize=7,
        )
    axes.set(
        xlabel="confidence",
        ylabel="share that is right",
        title=f"{evaluation.split} split, digits per bin",
    )
    return figure


def _misread(evaluation: Evaluation, digits: Split) -> Figure:
    """Draw the `MAX_DRAWN` digits misread with the highest confidence, in rising order."""
    shown = sorted(evaluation.misread, key=lambda miss: miss.confidence)[-MAX_DRAWN:]
    columns = 10
    rows = max(1, -(-len(shown) // columns))
    figure = Figure(figsize=(columns * 0.95, rows * 1.25), layout="constrained")
    grid: list[Axes] = list(np.atleast_1d(figure.subplots(rows, columns, squeeze=False).ravel()))
    for axes in grid:
        axes.axis("off")
    for axes, miss in zip(grid, shown, strict=False):
        axes.imshow(digits.images[miss.index], cmap="gray_r")
        axes.set_title(f"{miss.label} as {miss.digit}\n{100 * miss.confidence:.0f} %", fontsize=7)
    return figure
