"""Measure what each training ingredient contributes, on held-out digits.

    python -m benchmarks.ablations mnist.npz --runs runs/ablations --seeds 3
    python -m benchmarks.ablations mnist.npz --runs runs/hands --seeds 2 --table hands

Trains a small network several times, each time with one ingredient changed, and writes the table
into docs/training-log.md. The table `hands` continues the weights that `compact` starts from, on
20,000 digits, without one ingredient of its recipe each. Finished runs are kept in the folder, so
an interrupted script can be resumed.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, TypeAdapter
from scipy import special

from app.inference.keras_runtime import KerasRuntime
from app.settings import REPOSITORY
from benchmarks.page import fill, table
from training import calibrate, data, readings, robustness, snapshots
from training.architectures import compact
from training.augment import Augmentation
from training.fit import fit
from training.recipe import Finish, Recipe
from training.recipes import classic
from training.recipes import compact as COMPACT
from training.recipes.finish import GENTLE
from training.teachers import TEACHERS

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

SHORTENED = replace(
    COMPACT.RECIPE,
    name="hands",
    epochs=2,
    learning_rate=1e-3,
    teachers=(),
    start=None,
    finish=None,
    refit=None,
)
STRONG = SHORTENED.augmentation
HANDS = {
    "as it is": SHORTENED,
    "as version 6": replace(
        SHORTENED, augmentation=FULL, drawn_share=0, outlier_share=0.06, margin=None
    ),
    "not prepared anew": replace(SHORTENED, augmentation=replace(STRONG, prepared=0.0)),
    "not redrawn": replace(SHORTENED, augmentation=replace(STRONG, redrawn=0.0)),
    "no damage": replace(SHORTENED, augmentation=replace(STRONG, damage=0.0)),
    "no drawn hands": replace(SHORTENED, drawn_share=0.0),
    "no margin of the score": replace(SHORTENED, margin=None),
}
DIGITS = 20_000  # of an epoch for the table `hands`

M = TypeVar("M", bound=BaseModel)


class MeasuredHands(BaseModel):
    """Figures of one run for the table `hands`; shares in percent."""

    errors: int  # of 5,000 held-out digits
    hands: float  # drawn shapes that are misread
    geometry: float  # slanted, turned and scanned digits that are misread
    damage: float  # digits with damage of the open kinds that are misread
    refused: float  # of those that are read right, called not-a-digit
    accepted: float  # images without a digit that are called one


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
    limits = calibrate.choose_thresholds(runtime.predict(held_out.images), held_out.labels)
    stood = robustness.measure(runtime, held_out, limits)
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


def measure_hands(
    recipe: Recipe, train: data.Split, held_out: data.Split, run: Path, seed: int
) -> MeasuredHands:
    """Continue the weights that `compact` starts from, and read other hands."""
    start = recipe.build(**recipe.options)
    snapshots.restore(start, REPOSITORY / "model" / TEACHERS / str(COMPACT.RECIPE.start))
    few = train.take(np.random.default_rng(seed).permutation(len(train))[:DIGITS])
    network = fit(recipe, few, held_out, run, seed=seed, start=start).network
    logits = KerasRuntime(network).predict(held_out.images).logits
    calibrate.fold_temperature(network, calibrate.fit_temperature([logits], held_out.labels))
    runtime = KerasRuntime(network)
    outputs = runtime.predict(held_out.images)
    limits = calibrate.choose_thresholds(outputs, held_out.labels)
    found = readings.measure(runtime, held_out, limits, sealed=False)
    groups = {
        group: [each for each in found if each.group == group]
        for group in (readings.HANDS, readings.GEOMETRY, readings.DAMAGE, readings.OTHER)
    }
    wrong = {
        group: 100 * sum(each.wrong for each in rows) / sum(each.images for each in rows)
        for group, rows in groups.items()
    }
    digits = [each for group, rows in groups.items() if group != readings.OTHER for each in rows]
    right = sum(each.images - each.wrong for each in digits)
    return MeasuredHands(
        errors=int((outputs.probabilities.argmax(axis=1) != held_out.labels).sum()),
        hands=wrong[readings.HANDS],
        geometry=wrong[readings.GEOMETRY],
        damage=wrong[readings.DAMAGE],
        refused=100 * sum(each.refused for each in digits) / right,
        accepted=wrong[readings.OTHER],
    )


def _hands_row(name: str, runs: list[MeasuredHands]) -> list[str]:
    columns = zip(*(run.model_dump().values() for run in runs), strict=True)
    return [name, *(f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}" for values in columns)]


def main() -> None:
    """Train what is not trained yet, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", choices=("ablations", "hands"), default="ablations")
    arguments = parser.parse_args()
    train, held_out = data.hold_out(data.load(arguments.data, "train"), BASE.validation_count)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    if arguments.table == "hands":
        of_hands = _train(
            HANDS, measure_hands, MeasuredHands, (train, held_out), arguments.runs, arguments.seeds
        )
        head = ["", "misread of 5,000", "hands", "geometry", "damage", "refused", "accepted"]
        fill(PAGE, "hands", table([head, *(_hands_row(*each) for each in of_hands.items())]))
        return
    done = _train(VARIANTS, measure, Measured, (train, held_out), arguments.runs, arguments.seeds)
    head = ["", "misread of 5,000", "log-likelihood", "error corrupted, %", "AUROC"]
    fill(PAGE, "ablations", table([head, *(_row(*each) for each in done.items())]))


def _train(
    variants: dict[str, Recipe],
    measured: Callable[[Recipe, data.Split, data.Split, Path, int], M],
    kind: type[M],
    digits: tuple[data.Split, data.Split],
    folder: Path,
    seeds: int,
) -> dict[str, list[M]]:
    """Train every variant with every seed, and keep the figures in a file; return them."""
    kept, stored = folder / "measured.json", TypeAdapter[Any](dict[str, kind])  # type: ignore[valid-type]
    done = stored.validate_json(kept.read_bytes()) if kept.exists() else {}
    for seed in range(1, seeds + 1):
        for name, recipe in variants.items():
            key = f"{name}, seed {seed}"
            if key not in done:
                done[key] = measured(recipe, *digits, folder / "run", seed)
                kept.write_bytes(stored.dump_json(done, indent=1))
                print(key, done[key], flush=True)
    return {
        name: [done[f"{name}, seed {seed}"] for seed in range(1, seeds + 1)] for name in variants
    }


if __name__ == "__main__":
    main()
