"""Measure what each training ingredient contributes, on held-out digits.

    python -m benchmarks.ablations mnist.npz --runs runs/ablations --seeds 3

Trains a small network several times, each time with one ingredient changed, and writes the table
into docs/training-log.md. Finished runs are kept in the folder, so an interrupted script can be
resumed.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, TypeAdapter
from scipy import special

from app.inference.keras_runtime import KerasRuntime
from app.settings import REPOSITORY
from benchmarks.page import fill, table
from training import calibrate, data, robustness
from training.architectures import compact
from training.augment import Augmentation
from training.fit import fit
from training.recipe import Finish, Recipe
from training.recipes import classic
from training.recipes.finish import GENTLE

PAGE = REPOSITORY / "docs" / "training-log.md"
FULL = classic.RECIPE.augmentation
BASE = Recipe(
    name="ablation",
    description="The compact network at half its width, from labels.",
    build=compact,
    options={"width": 0.5},
    epochs=6,
    batch_size=128,
    learning_rate=3e-3,
    weight_decay=0.005,
    augmentation=FULL,
    outlier_share=0.06,
    precision="mixed_bfloat16",
)
SHORT = Finish(epochs=2, learning_rate=1e-3, augmentation=GENTLE)
VARIANTS = {
    "as it is": BASE,
    "no augmentation": replace(BASE, augmentation=Augmentation()),
    "no elastic distortion": replace(BASE, augmentation=replace(FULL, elastic_px=0.0)),
    "no change of stroke width": replace(BASE, augmentation=replace(FULL, thickness=0.0)),
    "no corruption": replace(BASE, augmentation=replace(FULL, corruption=0.0)),
    "no outliers": replace(BASE, outlier_share=0.0),
    "two last epochs as the recipes' finish": replace(BASE, finish=SHORT),
    "no warm-up": replace(BASE, warm_up=0),
    "constant learning rate": replace(BASE, cosine=False),
    "dropout 0.2": replace(BASE, options={"width": 0.5, "dropout": 0.2}),
    "label smoothing 0.1": replace(BASE, label_smoothing=0.1),
    "Muon instead of AdamW": replace(BASE, optimizer="muon"),
    "weight averaging 0.999": replace(BASE, averaging=0.999),
    "float32": replace(BASE, precision="float32"),
}


class Measured(BaseModel):
    """Figures of one run on the held-out digits."""

    errors: int
    likelihood: float  # negative, mean, nats, after temperature scaling
    corrupted: float  # mean error under the corruptions of MNIST-C, percent
    area: float  # mean AUROC against things that are no digit


def measure(
    recipe: Recipe, train: data.Split, held_out: data.Split, run: Path, seed: int
) -> Measured:
    """Train a recipe and read the held-out digits with it."""
    fitted = fit(recipe, train, held_out, run, seed=seed)
    runtime = KerasRuntime(fitted.network)
    logits = runtime.predict(held_out.images).logits
    temperature = calibrate.fit_temperature([logits], held_out.labels)
    shares = special.log_softmax(logits.astype(np.float64) / temperature, axis=1)
    stood = robustness.measure(runtime, held_out)
    return Measured(
        errors=int((logits.argmax(axis=1) != held_out.labels).sum()),
        likelihood=float(-shares[np.arange(len(held_out)), held_out.labels].mean()),
        corrupted=100 * float(np.mean(list(stood.corruptions.values()))),
        area=float(np.mean(list(stood.nondigits.values()))),
    )


def _row(name: str, runs: list[Measured]) -> list[str]:
    def spread(of: Callable[[Measured], float], digits: int) -> str:
        values = [of(run) for run in runs]
        deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
        return f"{np.mean(values):.{digits}f}{deviation}"

    return [
        name,
        spread(lambda run: run.errors, 1),
        spread(lambda run: run.likelihood, 4),
        spread(lambda run: run.corrupted, 2),
        spread(lambda run: run.area, 4),
    ]


def main() -> None:
    """Train what is not trained yet, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    train, held_out = data.hold_out(data.load(arguments.data, "train"), BASE.validation_count)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    kept = arguments.runs / "measured.json"
    stored = TypeAdapter(dict[str, Measured])
    done = stored.validate_json(kept.read_bytes()) if kept.exists() else {}
    for seed in range(1, arguments.seeds + 1):
        for name, recipe in VARIANTS.items():
            key = f"{name}, seed {seed}"
            if key not in done:
                done[key] = measure(recipe, train, held_out, arguments.runs / "run", seed)
                kept.write_bytes(stored.dump_json(done, indent=1))
                print(key, done[key], flush=True)
    rows = [["", "misread of 5,000", "log-likelihood", "error corrupted, %", "AUROC"]]
    for name in VARIANTS:
        runs = [done[f"{name}, seed {seed}"] for seed in range(1, arguments.seeds + 1)]
        rows.append(_row(name, runs))
    fill(PAGE, "ablations", table(rows))


if __name__ == "__main__":
    main()
