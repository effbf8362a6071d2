"""Gradient descent on one image: steps that change a copy of a network.

Robbins and Monro, 1951, for the descent; Polyak, 1964, for momentum.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from app.cancellation import check_cancelled
from app.inspection.backpropagation import Backpropagation
from app.network.functions import Array
from app.network.network import Network
from app.network.weight_gradients import (
    Store,
    calls_by_store,
    learned_weights,
    weight_gradients,
    with_weights,
)

Optimizer = Literal["sgd", "momentum"]
DEFAULT_RATE, MAX_RATE, MAX_STEPS = 0.01, 1e6, 50
MOMENTUM = 0.9  # share of the last change that is added to the next one
Norms = dict[Store, dict[str, float]]  # Euclidean lengths, by layer and weight
END = float(np.finfo(np.float32).max)  # where the numbers of the float32 network end


@dataclass(frozen=True)
class LearnRequest:
    """What to learn, and how.

    Attributes:
        label: The right class.
        learning_rate: What gradients are multiplied by, above 0.
        optimizer: `sgd`, or `momentum`, which keeps `MOMENTUM` of the last change.
        steps: Number of steps, 1 to `MAX_STEPS`; a large network gets fewer.
    """

    label: int
    learning_rate: float = DEFAULT_RATE
    optimizer: Optimizer = "sgd"
    steps: int = 1


@dataclass
class Descent:
    """A copy of a network that learns.

    Attributes:
        network: The copy. Its weights are changed in place, and its layers are rebuilt from them:
            one copy of the weights is in memory, not two.
        request: How it learns.
        velocities: The last changes, by layer and weight, for momentum.
    """

    network: Network
    request: LearnRequest
    velocities: dict[Store, dict[str, Array]] = field(default_factory=dict)

    def step(self, found: Backpropagation) -> Norms:
        """Change every weight against its gradient; return the lengths of the gradients."""
        changed: dict[Store, Mapping[str, Array]] = {}
        norms: Norms = {}
        for store, calls in calls_by_store(self.network).items():
            check_cancelled()
            with np.errstate(all="ignore"):
                grads = weight_gradients(calls, found.images, found.outputs, found.gradients)
                norms[store] = {name: length(grad) for name, grad in grads.items()}
                for name, change in self._changes(store, grads).items():
                    calls[0].weights[name][...] += change
            changed[store] = calls[0].weights
        self.network = with_weights(self.network, changed)
        return norms

    def _changes(self, store: Store, grads: dict[str, Array]) -> dict[str, Array]:
        rate = self.request.learning_rate
        changes = {name: np.asarray(-rate * grad) for name, grad in grads.items()}
        if self.request.optimizer == "momentum":
            last = self.velocities.get(store, {})
            for name, before in last.items():
                changes[name] += MOMENTUM * before
            self.velocities[store] = changes
        return changes

    def change_norms(self, served: Network) -> Norms:
        """Return the lengths of the changes from the weights that are served."""
        return {
            store: {
                name: length(values - served.layers[calls[0].index].weights[name])
                for name, values in learned_weights(calls[0]).items()
            }
            for store, calls in calls_by_store(self.network).items()
        }

    def has_ended(self) -> bool:
        """Tell whether a weight is beyond the range of float32."""
        return not all(
            np.abs(values).max(initial=0.0) <= END  # False for what is not a number, too
            for calls in calls_by_store(self.network).values()
            for values in learned_weights(calls[0]).values()
        )


def length(values: Array) -> float:
    """Return the Euclidean length; its squares may be beyond the range of numbers."""
    largest = float(np.abs(values).max(initial=0.0))
    if not 0 < largest < math.inf:
        return largest
    return largest * float(np.linalg.norm(values / largest))
