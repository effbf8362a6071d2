"""Adapt models to hands that MNIST does not know, and measure what they gain and forget.

    python -m benchmarks.adapting mnist.npz

A folder holds 100, 300 or 1,000 pictures of one hand, drawn by `training.unseen`, and as many
held-out training digits. `digitscope adapt` runs on it; then both models read 500 fresh pictures of
the hand as the service does. Writes a table into docs/your-digits.md. The test split is not opened.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.bundle import Bundle, Metadata, open_bundle
from app.models import load_bundle
from app.recognise import Options, recognise_many
from app.settings import REPOSITORY
from benchmarks.page import fill, table
from training import data, unseen
from training.adapting.options import AdaptOptions
from training.adapting.run import adapt
from training.data import Split
from training.errors import AdaptError

PAGE = REPOSITORY / "docs" / "your-digits.md"
SIZES = (100, 300, 1000)
FRESH = 500  # pictures of the hand that no model has learned
SEED = 2033
Draw = Callable[[np.random.Generator], tuple[bytes, int]]
HEAD = (
    "model",
    "hand",
    "pictures",
    "misread, of these",
    "p",
    "MNIST held out",
    "fresh: misread",
    "fresh: unsure or refused",
)


def _hands(held_out: Split) -> dict[str, Draw]:
    """Return what draws a picture of each hand, and its label."""

    def shape(name: str) -> Draw:
        digit, strokes = unseen.SHAPES[name]
        return lambda rng: (unseen.draw(strokes(rng), rng), digit)

    def scan(rng: np.random.Generator) -> tuple[bytes, int]:
        row = rng.integers(len(held_out))
        return unseen.small_binary_scan(held_out.images[row], rng), int(held_out.labels[row])

    shapes = {name: shape(name) for name in ("1 with a long flag", "slashed 0", "crossed 7")}
    return {**shapes, "stretched binary scan": scan}


def _write(folder: Path, draw: Draw, count: int, rest: Split) -> None:
    """Write `count` pictures of a hand and as many other digits into folders by label."""
    rng = np.random.default_rng(SEED)
    for label in range(10):
        (folder / str(label)).mkdir()
    for number in range(count):
        content, label = draw(rng)
        (folder / str(label) / f"hand-{number}.png").write_bytes(content)
        other = folder / str(rest.labels[number]) / f"other-{number}.png"
        other.write_bytes(unseen.png(rest.images[number]))


def _read(bundle: Bundle, files: Sequence[bytes], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Return the shares of files that are misread, and that have another verdict than `digit`."""
    found = recognise_many(list(files), load_bundle(bundle, interpreters=1), Options()).predictions
    wrong = float((np.array(found.digits) != labels).mean())
    return wrong, sum(verdict != "digit" for verdict in found.verdicts) / len(files)


def _row(
    base: Bundle, hand: str, count: int, metadata: Metadata | str, fresh: list[tuple[float, float]]
) -> list[str]:
    """Return a row of the table; for a refusal the reason."""
    name = base.metadata.name
    if isinstance(metadata, str):
        rest = [f"{value:.1%}" for value in fresh[0]]
        return [name, hand, f"{2 * count:,}", f"refused: {metadata}", "", "", *rest]
    adapted = metadata.adapted
    if adapted is None:
        raise ValueError("the model was not adapted")
    mine, mnist = adapted.pictures, adapted.held_out
    before, after = fresh
    return [
        name,
        hand,
        f"{2 * count:,}",
        f"{mine.misread_before} -> {mine.misread_after}",
        f"{mine.p_value:.1g}",
        f"{mnist.misread_before} -> {mnist.misread_after} of {mnist.images:,}",
        f"{before[0]:.1%} -> {after[0]:.1%}",
        f"{before[1]:.1%} -> {after[1]:.1%}",
    ]


def _measure(
    base: Bundle, hand: str, draw: Draw, count: int, digits: Split, cache: Path
) -> list[str]:
    """Adapt a model to a folder of one hand, and return the row of the table."""
    _, held_out = data.hold_out(digits, 5000)
    rest = held_out.take(np.random.default_rng(SEED).permutation(len(held_out))[:count])
    rng = np.random.default_rng(SEED + 1)
    drawn = [draw(rng) for _ in range(FRESH)]
    files, labels = [file for file, _ in drawn], np.array([label for _, label in drawn])
    fresh = [_read(base, files, labels)]
    with tempfile.TemporaryDirectory() as place:
        pictures = Path(place) / "pictures"
        pictures.mkdir()
        _write(pictures, draw, count, rest)
        options = AdaptOptions(
            pictures, Path(place) / "model", "ours", False, False, cache, Options()
        )
        try:
            metadata = adapt(base, options, digits, lambda line: None, lambda *progress: None)
        except AdaptError as error:
            return _row(base, hand, count, str(error).partition(":")[0].lower(), fresh)
        fresh.append(_read(open_bundle(options.folder), files, labels))
    return _row(base, hand, count, metadata, fresh)


def main() -> None:
    """Measure all hands, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="A mnist.npz or a folder of IDX files.")
    parser.add_argument("--models", nargs="+", default=["compact", "classic"])
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    arguments = parser.parse_args()
    digits = data.load(arguments.data, "train")
    hands = _hands(data.hold_out(digits, 5000)[1])
    rows: list[Sequence[str]] = [HEAD]
    with tempfile.TemporaryDirectory() as cache:
        for model in arguments.models:
            base = open_bundle(REPOSITORY / "model" / model)
            for hand, draw in hands.items():
                for count in arguments.sizes:
                    rows.append(_measure(base, hand, draw, count, digits, Path(cache)))
                    print(rows[-1], flush=True)
    fill(PAGE, "adapting", table(rows))


if __name__ == "__main__":
    main()
