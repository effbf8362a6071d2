"""Measure errors by source and corruption, with and without each preprocessing stage.

    python -m benchmarks.imaging --data mnist.npz

Makes test images from held-out training digits (never from the test split), reads them as the
service does, and writes the tables into docs/imaging.md between their markers.
"""

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import BlankImageError
from app.imaging.decode import Upload, decode, from_pixels
from app.imaging.prepare import prepare_fully
from app.imaging.stages import OPTIONAL_STAGES
from app.inference.model import Model
from app.inference.registry import Registry
from app.recognise import Options, predict, read_image, recognise, recognise_many
from app.settings import REPOSITORY
from app.verdict import energy
from benchmarks.page import fill, table
from benchmarks.sources import SOURCES, placed
from training import data
from training.evaluate import clopper_pearson
from training.mnist_c import CORRUPTIONS
from training.nondigits import NONDIGITS
from training.robustness import auroc
from training.unseen import png

PAGE = REPOSITORY / "docs" / "imaging.md"
MAX_PIXELS = 20_000_000
LARGE = ((24, True), (27, True), (28, True))  # sides of digits that nearly fill a 28x28, centred


def squeezed(upload: Upload) -> NDArray[np.uint8]:
    """Resize the whole image to 28x28, grey, inverted if the page is light; the baseline."""
    grey = Image.fromarray(upload.pixels).convert("L")
    small = np.asarray(grey.resize((28, 28), Image.Resampling.BOX))
    return 255 - small if small[[0, -1]].mean() > 127 else small


def _without(stage: str) -> Callable[[Upload], NDArray[np.uint8]]:
    def prepared(upload: Upload) -> NDArray[np.uint8]:
        return prepare_fully(upload, skip=frozenset({stage})).pixels

    return prepared


def errors_by_stage(
    uploads: list[Upload], labels: NDArray[np.uint8], model: Model
) -> dict[str, float]:
    """Return the error, percent, unprepared, in full, and without each stage."""
    options = Options()
    ways = {"unprepared": squeezed, **{f"no {stage}": _without(stage) for stage in OPTIONAL_STAGES}}
    errors = {}
    for name, way in ways.items():
        pixels = [_or_black(way, upload) for upload in uploads]
        answers = model.runtime.predict(np.stack(pixels)).probabilities.argmax(axis=1)
        errors[name] = 100 * float((answers != labels).mean())
    reads = [read_image(_content(upload), options) for upload in uploads]
    answers = [prediction.digit for prediction in predict(reads, model)]
    errors["all stages"] = 100 * float((np.array(answers) != labels).mean())
    return errors


def _content(upload: Upload) -> NDArray[np.uint8] | bytes:
    if upload.format == "pixels":
        return upload.pixels
    raise ValueError("only uploads of pixels are read again")


def _or_black(way: Callable[[Upload], NDArray[np.uint8]], upload: Upload) -> NDArray[np.uint8]:
    try:
        return way(upload)
    except BlankImageError:
        return np.zeros((28, 28), np.uint8)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--digits", type=int, default=400)
    parser.add_argument("--model", default="compact")
    parser.add_argument(
        "--table", choices=TABLES, action="append", help="default: all but small-digits"
    )
    arguments = parser.parse_args()
    registry = Registry(REPOSITORY / "model", arguments.model, interpreters=1)
    registry.load()
    model = registry.get(arguments.model)
    _, held_out = data.hold_out(data.load(arguments.data, "train"), 5000)
    rng = np.random.default_rng(2026)
    digits = held_out.take(rng.permutation(len(held_out))[: arguments.digits])
    # scikit-learn, which has the small digits, is not among the project's dependencies.
    for name in arguments.table or [name for name in TABLES if name != "small-digits"]:
        images = held_out if name == "nondigits" else digits
        content = TABLES[name](images, model, rng)
        fill(PAGE, name, content)
        print(content)


def _placement_table(digits: data.Split, model: Model, rng: np.random.Generator) -> str:
    rows = [["longer side", "place", "unprepared", "as served", "refused", "unsure"]]
    for side, centred in ((8, False), (10, False), (12, False), (14, False), (20, False), *LARGE):
        images = np.stack([placed(image, rng, side, centred=centred) for image in digits.images])
        unprepared = model.runtime.predict(images).probabilities.argmax(axis=1)
        found = recognise_many(images, model, Options()).predictions
        shares = [
            100 * float(np.mean(wrong))
            for wrong in (unprepared != digits.labels, np.array(found.digits) != digits.labels)
        ]
        verdicts = [
            100 * found.verdicts.count(verdict) / len(images)
            for verdict in ("not-a-digit", "unsure")
        ]
        figures = [f"{share:.2f}" for share in (*shares, *verdicts)]
        rows.append([f"{side} px", "centred" if centred else "anywhere", *figures])
    return table(rows)


def _corruption_table(digits: data.Split, model: Model, rng: np.random.Generator) -> str:
    names = ["unprepared", *(f"no {stage}" for stage in OPTIONAL_STAGES), "all stages"]
    rows, totals = [["corruption", *names]], []
    for kind, corrupt in {"none": lambda image, rng: image, **CORRUPTIONS}.items():
        uploads = [from_pixels(corrupt(image, rng)) for image in digits.images]
        errors = errors_by_stage(uploads, digits.labels, model)
        rows.append([kind, *(f"{errors[name]:.2f}" for name in names)])
        totals.append([errors[name] for name in names])
    rows.append(["**mean**", *(f"{mean:.2f}" for mean in np.mean(totals[1:], axis=0))])
    return table(rows)


def _source_table(digits: data.Split, model: Model, rng: np.random.Generator) -> str:
    names = ["unprepared", *(f"no {stage}" for stage in OPTIONAL_STAGES), "all stages"]
    rows = [["source", *names, "refused", "unsure", "ms"]]
    for kind, make in SOURCES.items():
        files = [make(image, rng) for image in digits.images]
        uploads = [decode(file, max_pixels=MAX_PIXELS) for file in files]
        errors, times, verdicts, wrong = {}, [], [], 0
        for name in names[:-1]:
            way = squeezed if name == "unprepared" else _without(name.removeprefix("no "))
            pixels = np.stack([_or_black(way, upload) for upload in uploads])
            answers = model.runtime.predict(pixels).probabilities.argmax(axis=1)
            errors[name] = 100 * float((answers != digits.labels).mean())
        for file, label in zip(files, digits.labels, strict=True):
            start = time.perf_counter()
            try:
                prediction = recognise(file, model, Options())
                verdicts.append(prediction.verdict)
                wrong += prediction.digit != label
            except BlankImageError:
                verdicts.append("not-a-digit")
                wrong += 1
            times.append(1000 * (time.perf_counter() - start))
        errors["all stages"] = 100 * wrong / len(files)
        shares = [f"{100 * verdicts.count(v) / len(files):.1f}" for v in ("not-a-digit", "unsure")]
        row = [kind, *(f"{errors[name]:.2f}" for name in names), *shares]
        rows.append([*row, f"{statistics.median(times):.1f}"])
    return table(rows)


def _nondigit_table(held_out: data.Split, model: Model, rng: np.random.Generator) -> str:
    outputs = model.runtime.predict(held_out.images)
    methods = {
        "energy": energy,
        "max logit": lambda logits: logits.max(axis=1),
        "max probability": lambda logits: _softmax(logits).max(axis=1),
    }
    known = {name: score(outputs.logits) for name, score in methods.items()}
    rows = [["kind", "not-a-digit", "unsure", "digit", *(f"AUROC, {name}" for name in methods)]]
    for kind, make in NONDIGITS.items():
        verdicts, pixels = [], []
        for _ in range(300):
            try:
                prediction = recognise(make(rng), model, Options())
            except BlankImageError:
                verdicts.append("not-a-digit")
                continue
            verdicts.append(prediction.verdict)
            pixels.append(prediction.prepared.pixels)
        logits = model.runtime.predict(np.stack(pixels)).logits
        shares = [100 * verdicts.count(v) / 300 for v in ("not-a-digit", "unsure", "digit")]
        areas = [auroc(known[name], score(logits)) for name, score in methods.items()]
        rows.append([kind, *(f"{s:.1f} %" for s in shares), *(f"{area:.4f}" for area in areas)])
    return table(rows)


def _small_digit_table(held_out: data.Split, model: Model, rng: np.random.Generator) -> str:
    """Read the 1,797 digits of 8x8 pixels that come with scikit-learn; writes nothing without it.

    Alpaydin and Kaynak, 1998, "Optical Recognition of Handwritten Digits", UCI repository. Never
    used to choose anything.
    """
    found = importlib.import_module("sklearn.datasets").load_digits()
    labels = found.target
    files = [png(np.rint(image * 255 / 16)) for image in found.images]
    answers = [recognise(file, model, Options()) for file in files]
    wrong = np.array([answer.digit for answer in answers]) != labels
    verdicts = [answer.verdict for answer, missed in zip(answers, wrong, strict=True) if not missed]
    interval = clopper_pearson(int(wrong.sum()), len(labels))
    shares = [verdicts.count(verdict) / len(verdicts) for verdict in ("not-a-digit", "unsure")]
    head = ["digits", "wrong", "95 % interval", "right, but not-a-digit", "right, but unsure"]
    figures = [f"{100 * share:.1f} %" for share in (wrong.mean(), *shares)]
    between = f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"
    return table([head, [f"{len(labels):,}", figures[0], between, *figures[1:]]])


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


# The tables of the page, by the name of their markers.
TABLES = {
    "placement": _placement_table,
    "corruptions": _corruption_table,
    "sources": _source_table,
    "nondigits": _nondigit_table,
    "small-digits": _small_digit_table,
}

if __name__ == "__main__":
    main()
