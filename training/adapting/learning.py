"""Trains the tail of a network on features: L-BFGS on all examples at once, with early stopping.

The loss is smooth and the weights are few, so that L-BFGS (Liu and Nocedal, 1989) needs some tens
of steps, has no learning rate, and gives the same result each time. After that, the weights go back
towards the old ones as far as other digits need it (WiSE-FT: Wortsman et al., 2022,
arXiv:2109.01903).
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy import optimize, special

from training.adapting.anchors import Anchors
from training.adapting.tail import Features, SplitNetwork
from training.data import Labels

PICTURES_SHARE = 0.1  # weight of all pictures together; that of all anchors is 1
MAX_ITERATIONS, MAX_DEEP_ITERATIONS = 60, 25  # of the dense end, and of more layers
PATIENCE = 20  # iterations without a lower loss on the pictures that stop the training
SHARES = (
    1.0,
    0.9,
    0.8,
    0.7,
    0.6,
    0.5,
    0.4,
    0.3,
    0.2,
)  # of the way from the old weights to the new ones
MAX_GUARD_RISE = 0.00025  # share of the guard's digits that may be misread in addition
MAX_CHUNK_BYTES = 1 << 25  # of the features whose loss is computed at once

Weights = NDArray[np.float64]  # (P,), all weights of the tail, one after the other


@dataclass(frozen=True)
class Examples:
    """Features with their targets.

    Attributes:
        features: float32 `[N, ...]`.
        targets: float32 `[N, classes]`, probabilities.
        weights: float32 `[N]`, of each example in the loss.
    """

    features: Features
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Learned:
    """The result of a training.

    Attributes:
        weights: The weights of the tail.
        iterations: Number of iterations after which the loss was lowest.
        share: How far the weights went from the old ones to the trained ones, 0..1.
    """

    weights: Weights
    iterations: int
    share: float


class TailTrainer:
    """Trains the tail of a network; each training starts from the published weights."""

    def __init__(self, split: SplitNetwork, anchors: Anchors) -> None:
        """Take a network and what it must not forget."""
        self._tail, self._guard = split.tail, anchors.guard
        self._chunk = max(1, MAX_CHUNK_BYTES // (4 * prod(split.shape)))
        self._guard_labels = anchors.guard_labels
        self._max_iterations = MAX_ITERATIONS if len(split.layers) == 1 else MAX_DEEP_ITERATIONS
        self.start: Weights = np.concatenate(
            [np.asarray(each, np.float64).ravel() for each in self._variables]
        )
        self._gradients = self._compile(split.shape)
        before = special.softmax(self.logits(self.start, anchors.outliers), axis=1)
        targets = np.concatenate([self._one_hot(anchors.labels), before])
        weights = np.full(len(targets), 1 / len(targets), np.float32)
        features = np.concatenate([anchors.digits, anchors.outliers])
        self._anchors = Examples(features, targets, weights)

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return int(self._tail.output_shape[-1])

    def logits(self, weights: Weights, features: Features) -> NDArray[np.float32]:
        """Return the logits, `[N, classes]`, that the tail has with some weights."""
        self.assign(weights)
        parts = [
            np.asarray(self._run(features[start : start + self._chunk]))
            for start in range(0, len(features), self._chunk)
        ]
        return np.concatenate(parts or [np.empty((0, self.classes), np.float32)])

    def assign(self, weights: Weights) -> None:
        """Give weights to the tail, and so to the network that it is part of."""
        start = 0
        for variable in self._variables:
            size = int(np.prod(variable.shape))
            part = weights[start : start + size].reshape(variable.shape)
            variable.assign(part.astype(np.float32))
            start += size

    def train(
        self,
        features: Features,
        labels: Labels,
        check: tuple[Features, Labels] | None = None,
        *,
        iterations: int | None = None,
    ) -> Learned:
        """Train on pictures and anchors.

        Args:
            features: Of the pictures to learn.
            labels: Of the same pictures.
            check: Features and labels of other pictures, which stop the training early.
            iterations: Number of iterations; by default so many that early stopping decides.
        """
        examples = [self._anchors, self._pictures(features, labels)]
        best, best_loss, best_at, done = self.start, np.inf, 0, 0

        def after_iteration(intermediate_result: Any) -> None:
            nonlocal best, best_loss, best_at, done
            done += 1
            now = np.array(intermediate_result.x)
            loss = self._loss_of(now, *check) if check else -done
            if loss < best_loss:
                best, best_loss, best_at = now, loss, done
            elif done - best_at >= PATIENCE:
                raise StopIteration

        optimize.minimize(
            self._loss_and_gradient,
            self.start,
            (examples,),
            "L-BFGS-B",
            jac=True,
            callback=after_iteration,
            options={"maxiter": iterations or self._max_iterations},
        )
        share = self._step_back(best)
        return Learned(self._between(best, share), best_at, share)

    @property
    def _variables(self) -> list[Any]:
        return list(self._tail.trainable_variables)

    def _compile(self, shape: tuple[int, ...]) -> Any:
        """Return a function that gives the loss of examples and its gradient."""
        signature = [
            tf.TensorSpec([None, *shape], tf.float32),
            tf.TensorSpec([None, self.classes], tf.float32),
            tf.TensorSpec([None], tf.float32),
        ]
        self._run = tf.function(
            lambda features: self._tail(features, training=False), input_signature=signature[:1]
        )

        def gradients(features: Any, targets: Any, weights: Any) -> Any:
            with tf.GradientTape() as tape:
                logits = self._tail(features, training=False)
                losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
                loss = tf.reduce_sum(weights * losses)
            return loss, tape.gradient(loss, [each.value for each in self._variables])

        return tf.function(gradients, input_signature=signature)

    def _pictures(self, features: Features, labels: Labels) -> Examples:
        weights = np.full(len(labels), PICTURES_SHARE / max(1, len(labels)), np.float32)
        return Examples(features, self._one_hot(labels), weights)

    def _one_hot(self, labels: Labels) -> NDArray[np.float32]:
        return np.eye(self.classes, dtype=np.float32)[labels]

    def _loss_and_gradient(
        self, weights: Weights, examples: list[Examples]
    ) -> tuple[float, Weights]:
        self.assign(weights)
        total, gradient = 0.0, np.zeros_like(weights)
        for part in examples:
            for start in range(0, len(part.features), self._chunk):
                rows = slice(start, start + self._chunk)
                loss, parts = self._gradients(
                    part.features[rows], part.targets[rows], part.weights[rows]
                )
                total += float(loss)
                gradient += np.concatenate([np.asarray(each).ravel() for each in parts])
        return total, gradient

    def _loss_of(self, weights: Weights, features: Features, labels: Labels) -> float:
        """Return the mean negative log-likelihood of pictures."""
        likely = special.log_softmax(self.logits(weights, features), axis=1)
        return float(-likely[np.arange(len(labels)), labels].mean())

    def _step_back(self, weights: Weights) -> float:
        """Return how far the weights may go from the old ones without misreading the guard."""
        allowed = self._guard_errors(self.start) + MAX_GUARD_RISE * len(self._guard_labels)
        for share in SHARES:
            if self._guard_errors(self._between(weights, share)) <= allowed:
                return share
        return SHARES[-1]

    def _between(self, weights: Weights, share: float) -> Weights:
        return self.start + share * (weights - self.start)

    def _guard_errors(self, weights: Weights) -> int:
        answers = self.logits(weights, self._guard).argmax(axis=1)
        return int((answers != self._guard_labels).sum())
