"""The loss that training lowers: softmax cross-entropy, and its gradient.

The loss is `-log(p[label])` in nats, where `p` are the network's probabilities. Behind a softmax
its gradient is the simplest in all of learning: probability minus label, for each logit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.network.functions import Array
from app.network.network import Network

_MIN_PROBABILITY = 1e-300  # of float64; the gradient of a smaller one is that of this


@dataclass(frozen=True)
class Loss:
    """The loss of one image.

    Attributes:
        value: Cross-entropy in nats; infinite or not a number if the network's numbers are.
        label: The right class.
        probabilities: `[classes]`.
        seed: Gradient of the loss `[1, classes]` for the output that it is computed from: the
            logits, or the probabilities of a network without a final softmax.
        at_output: Gradient `[1, classes]` for the network's output, the probabilities.
    """

    value: float
    label: int
    probabilities: Array
    seed: dict[int, Array]
    at_output: Array


def cross_entropy(network: Network, outputs: Sequence[Array], label: int) -> Loss:
    """Return the loss of one image.

    Args:
        network: The network.
        outputs: The outputs of all its layers, `[1, ...]`, float64.
        label: The right class.
    """
    probabilities = outputs[network.output][0]
    at_output = np.zeros_like(outputs[network.output])
    at_output[0, label] = -1 / max(float(probabilities[label]), _MIN_PROBABILITY)
    if network.logits is None:
        value = 0.0 - float(np.log(probabilities[label]))  # 0, not -0
        return Loss(value, label, probabilities, {network.output: at_output}, at_output)
    logits = outputs[network.logits][0]
    lower = logits - logits.max()
    others = float(np.exp(np.delete(lower, label)).sum())
    # The second form keeps all digits of a loss near 0.
    value = float(np.log(np.exp(lower).sum()) - lower[label])
    if lower[label] == 0:
        value = float(np.log1p(others))
    seed = outputs[network.output].copy()  # the probabilities, less 1 at the label
    seed[0, label] -= 1
    return Loss(value, label, probabilities, {network.logits: seed}, at_output)
