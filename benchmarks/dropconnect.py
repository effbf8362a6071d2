"""Compare the mean weights of the DropConnect network with sampling, on held-out digits.

Wan et al., 2013, section 3.2: at inference, the input of a unit's activation is a sum over masks
that is close to normally distributed. Its mean and variance follow from the weights. The activation
is applied to samples of it, and the mean of the results is passed on. This script compares that
mean with the outputs `relu(W x + b)` of the mean weights, which the service uses.

Run: `python -m benchmarks.dropconnect mnist.npz`
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import special

from app.bundle import KERAS_FILE, open_bundle
from app.inference.keras_runtime import load_keras
from app.settings import REPOSITORY
from training import data

Array = NDArray[np.float32]


def sampled(
    inputs: Array, kernel: Array, bias: Array, rate: float, samples: int, rng: np.random.Generator
) -> Array:
    """Return the mean activations `[N, units]` over samples of the normal distribution.

    Args:
        inputs: `[N, I]`, inputs of the layer.
        kernel: `[I, units]`, the mean of the masked weights.
        bias: `[units]`, the mean of the masked biases.
        rate: Probability that a weight was dropped in training.
        samples: Number of samples for each unit and digit.
        rng: Random generator of the samples.
    """
    mean = inputs @ kernel + bias
    # A kept weight is scaled by 1 / (1 - rate), which gives each product this variance.
    deviation = np.sqrt(rate / (1 - rate) * (inputs**2 @ kernel**2 + bias**2))
    total = np.zeros_like(mean)
    for _ in range(samples):
        noise = rng.standard_normal(mean.shape, dtype=np.float32)
        total += np.maximum(mean + deviation * noise, 0)
    return total / samples


def figures(logits: Array, labels: NDArray[np.uint8]) -> str:
    """Return errors and mean negative log-likelihood of logits `[N, 10]`."""
    likelihood = special.log_softmax(logits.astype(np.float64), axis=1)
    nll = -likelihood[np.arange(len(labels)), labels].mean()
    return f"{(logits.argmax(axis=1) != labels).sum()} errors, log-likelihood {nll:.5f}"


def main() -> None:
    """Print both on the held-out digits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    bundle = open_bundle(REPOSITORY / "model" / "dropconnect")
    rate = bundle.metadata.recipe["options"]["rate"]
    network = load_keras(bundle.read(KERAS_FILE))
    _, digits = data.hold_out(data.load(options.data, "train"), bundle.metadata.validation.digits)
    below = keras.Model(network.inputs[0], network.get_layer("dense").input)
    inputs = below.predict(digits.images[..., None].astype(np.float32), batch_size=500, verbose=0)
    dense, head = (network.get_layer(name).get_weights() for name in ("dense", "logits"))
    means = np.maximum(inputs @ dense[0] + dense[1], 0) @ head[0] + head[1]
    draws = [
        sampled(inputs, *dense, rate, options.samples, np.random.default_rng(seed))
        for seed in (1, 2)
    ]
    first, second = (drawn @ head[0] + head[1] for drawn in draws)
    for name, logits in (("mean weights", means), ("sampled", first), ("sampled again", second)):
        print(f"{name:14}: {figures(logits, digits.labels)}")
    for name, one, other in (("mean weights", means, first), ("a second run", second, first)):
        apart = np.abs(special.softmax(one, axis=1) - special.softmax(other, axis=1)).max(axis=1)
        flips = (one.argmax(axis=1) != other.argmax(axis=1)).sum()
        print(
            f"{name} against sampling: {flips} other answers, probabilities apart by"
            f" {apart.mean():.5f} on average, {apart.max():.3f} at most"
        )


if __name__ == "__main__":
    main()
