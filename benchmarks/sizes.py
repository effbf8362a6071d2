"""Plot size against error of distilled networks, on held-out digits, for four widths.

    python -m benchmarks.sizes mnist.npz --runs runs

Distils the compact network in each width from the published ensemble, for the same number of
epochs, in float32 and int8. Writes a table into docs/training-log.md and a plot next to it.
Finished widths are kept, so an interrupted script can be resumed.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from pydantic import BaseModel, TypeAdapter

from app.bundle import open_bundle
from app.inference.keras_compiler import compile_model
from app.inference.litert_runtime import LiteRtRuntime
from app.settings import REPOSITORY
from benchmarks.page import fill, table
from training import data
from training.compiled import count_multiply_adds
from training.distill import Copies, Voting
from training.evaluate import clopper_pearson, evaluate, microseconds_per_image
from training.fit import fit
from training.quantize import compile_int8
from training.recipes.compact import RECIPE

PAGE = REPOSITORY / "docs" / "training-log.md"
PLOT = REPOSITORY / "docs" / "images" / "sizes.png"
WIDTHS = (0.25, 0.5, 1.0, 1.5)
SEED = 1
# A shorter version of the published recipe, the same for every width.
TAUGHT = replace(RECIPE, epochs=12, copies=4, finish=None, refit=None)


class Precision(BaseModel):
    """Measurements of one network in one precision."""

    kilobytes: float
    microseconds: float
    errors: int
    likelihood: float


class Size(BaseModel):
    """Figures of one width."""

    parameters: int
    multiply_adds: int
    float32: Precision
    int8: Precision


def _figures(runtime: LiteRtRuntime, kilobytes: float, held_out: data.Split) -> Precision:
    found = evaluate(runtime, held_out, "validation")
    return Precision(
        kilobytes=kilobytes,
        microseconds=min(microseconds_per_image(runtime) for _ in range(5)),
        errors=found.errors,
        likelihood=found.negative_log_likelihood,
    )


def measure(
    width: float, train: data.Split, held_out: data.Split, copies: Copies, run: Path
) -> Size:
    """Distil a width and measure it as it would be served."""
    recipe = replace(TAUGHT, options={"width": width})
    network = fit(recipe, train, held_out, run, seed=SEED, copies=copies).network
    tflite, int8 = compile_model(network), compile_int8(network, train.images)
    return Size(
        parameters=network.count_params(),
        multiply_adds=count_multiply_adds(network),
        float32=_figures(
            LiteRtRuntime(tflite, interpreters=1), 4 * network.count_params() / 1e3, held_out
        ),
        int8=_figures(LiteRtRuntime(tflite, int8=int8, interpreters=1), len(int8) / 1e3, held_out),
    )


def draw(sizes: dict[str, Size], teacher: int, digits: int) -> None:
    """Plot error with its interval against multiply-adds; the teacher's error is a line."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes = figure.subplots()
        across = np.array([size.multiply_adds / 1e6 for size in sizes.values()])
        for name, shift, colour in (("float32", 0.97, "tab:blue"), ("int8", 1.03, "tab:orange")):
            errors = np.array([getattr(size, name).errors for size in sizes.values()])
            intervals = [clopper_pearson(int(count), digits) for count in errors]
            share = 100 * errors / digits
            low = share - [100 * interval.low for interval in intervals]
            high = [100 * interval.high for interval in intervals] - share
            axes.errorbar(
                across * shift, share, (low, high), marker="o", capsize=2, label=name, color=colour
            )
        axes.axhline(100 * teacher / digits, color="0.6", linestyle="--", label="the ensemble")
        axes.set(
            xscale="log",
            xlabel="million multiply-adds an image",
            ylabel=f"error on {digits:,} held-out digits, %",
            ylim=(0, None),
        )
        axes.legend(frameon=False)
        PLOT.parent.mkdir(exist_ok=True)
        figure.savefig(PLOT, dpi=110, metadata={"Software": None})


def main() -> None:
    """Distil what is not distilled yet, then write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    train, held_out = data.hold_out(data.load(arguments.data, "train"), TAUGHT.validation_count)
    bundle = open_bundle(REPOSITORY / "model" / "ensemble")
    kept = arguments.runs / "sizes" / "measured.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    teacher = Voting([bundle], pupil_digits=train.images)
    copies = Copies(kept.parent / "copies", train, TAUGHT, teacher, SEED)
    copies.make()
    stored = TypeAdapter(dict[str, Size])
    done = stored.validate_json(kept.read_bytes()) if kept.exists() else {}
    for width in WIDTHS:
        if str(width) not in done:
            run = kept.parent / f"width-{width}"
            done[str(width)] = measure(width, train, held_out, copies, run)
            kept.write_bytes(stored.dump_json(done, indent=1))
            print(width, done[str(width)], flush=True)
    rows = [
        ["width", "parameters", "multiply-adds", "precision", "kB", "us an image", "misread", "NLL"]
    ]
    for label, size in done.items():
        for name in ("float32", "int8"):
            figures: Precision = getattr(size, name)
            rows.append(
                [
                    label,
                    f"{size.parameters:,}",
                    f"{size.multiply_adds / 1e6:.2f} M",
                    name,
                    f"{figures.kilobytes:.0f}",
                    f"{figures.microseconds:.0f}",
                    f"{figures.errors} ({100 * figures.errors / len(held_out):.2f} %)",
                    f"{figures.likelihood:.5f}",
                ]
            )
    fill(PAGE, "sizes", table(rows))
    draw(done, bundle.metadata.validation.errors, len(held_out))


if __name__ == "__main__":
    main()
