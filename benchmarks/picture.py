"""Draw the picture of the README: the stages from a photo to 28x28, and the prediction.

python -m benchmarks.picture --data mnist.npz
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from app.imaging.decode import decode
from app.imaging.prepare import prepare
from app.inference.registry import Registry
from app.recognise import Options, recognise
from app.settings import REPOSITORY
from benchmarks.sources import ruled_paper
from training import data


def main() -> None:
    """Draw and save docs/images/read.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None)
    train = data.load(parser.parse_args().data, "train")
    registry = Registry(REPOSITORY / "model", "classic", interpreters=1)
    registry.load()
    digit = train.images[int(np.flatnonzero(train.labels == 5)[11])]
    photo = ruled_paper(digit, np.random.default_rng(14))
    upload = decode(photo, max_pixels=20_000_000)
    prediction = recognise(photo, registry.get(None), Options())
    pictures = {stage.name: stage.image for stage in prepare(upload, record=True).stages}
    shown = {"upload": upload.pixels, **pictures}
    names = ("upload", "polarity", "background", "clean", "centre")
    figure = Figure(figsize=(11, 2.1), layout="constrained")
    axes = figure.subplots(1, 6, width_ratios=[4 / 3, 4 / 3, 4 / 3, 4 / 3, 1, 1.5])
    for place, name in zip(axes, names, strict=False):
        place.imshow(shown[name], cmap="gray")
        place.set_title(name, fontsize=10)
        place.axis("off")
    bars = axes[-1]
    bars.barh(range(10), prediction.probabilities, color="tab:blue")
    bars.set(yticks=range(10), xlim=(0, 1), xticks=[0, 1], ylim=(9.6, -0.6))
    bars.set_title(f"{prediction.digit} with {prediction.confidence:.1%}", fontsize=10)
    bars.tick_params(labelsize=8)
    bars.spines[["top", "right"]].set_visible(False)
    target = REPOSITORY / "docs" / "images" / "read.png"
    target.parent.mkdir(exist_ok=True)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main()
