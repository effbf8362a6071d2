"""Embeds a subset of the training digits in the layer before the logits, for `/neighbours`.

`python -m training.embeddings classic --data mnist.npz` adds the embeddings to a bundle that has
none, or replaces them.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.bundle import open_bundle, seal
from app.embeddings import EMBEDDINGS_FILE, Embeddings, distances, to_directions
from app.inference.litert_runtime import open_runtime
from app.inference.runtime import Runtime
from app.settings import Settings
from training import data
from training.data import Split

COUNT = 2000  # digits; with the classic network's 512 features they take 1.2 MB
SEED = 20_261_123
QUANTILES = 1001  # of the distances of held-out digits; every tenth of a percent


def make(runtime: Runtime, train: Split, held_out: Split, count: int = COUNT) -> Embeddings:
    """Choose digits, the same share of each class, and return their embeddings.

    Args:
        runtime: The network.
        train: The digits that the network was trained on.
        held_out: Other digits, whose distances show what is usual.
        count: Number of digits to choose.
    """
    chosen = train.take(_choose(train.labels, min(count, len(train))))
    # Rounded to float16, as the file stores them.
    directions = to_directions(runtime.predict(chosen.images).features)
    directions = directions.astype(np.float16).astype(np.float32)
    others = to_directions(runtime.predict(held_out.images).features)
    nearest = np.concatenate(
        [
            distances(others[start : start + 500], directions).min(axis=1)
            for start in range(0, len(others), 500)
        ]
    )
    return Embeddings(
        directions,
        chosen.labels,
        chosen.indices.astype(np.int32),
        chosen.images,
        np.quantile(nearest, np.linspace(0, 1, QUANTILES)).astype(np.float32),
    )


def _choose(labels: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Return `count` rows, the same share of each class; the same rows for the same labels."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    return np.sort(by_class[np.arange(count) * len(labels) // count])


def main() -> None:
    """Write the embeddings of a bundle and seal the bundle again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="Name of the model.")
    parser.add_argument("--data", type=Path, help="A mnist.npz or a folder of IDX files.")
    arguments = parser.parse_args()
    bundle = open_bundle(Settings().model_dir / arguments.model)
    runtime = open_runtime(bundle, threads=2)
    held = bundle.metadata.held_out.digits
    train, held_out = data.hold_out(data.load(arguments.data, "train"), held)
    made = make(runtime, train, held_out)
    (bundle.folder / EMBEDDINGS_FILE).write_bytes(made.to_bytes())
    seal(bundle.folder, bundle.metadata)


if __name__ == "__main__":
    main()
