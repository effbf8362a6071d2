"""Batch normalisation, at inference: a fixed factor and addend for each channel.

Ioffe and Szegedy, 2015, arXiv:1502.03167.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from app.network.equation import Equation, UnitInputs, number, operand
from app.network.functions import Array
from app.network.layers.affine import Affine, is_last
from app.network.layers.gamma_beta import GammaBeta
from app.network.operation import (
    Config,
    LayerKind,
    Operation,
    SavedLayer,
    Shapes,
    Unsupported,
    unsupported,
)


@dataclass(frozen=True)
class BatchNormalization(GammaBeta, Affine):
    """Normalises each channel by the mean and variance that training recorded.

    Attributes:
        moving_mean: `[C]`.
        moving_variance: `[C]`.
        gamma: Learned factor `[C]`, or None.
        beta: Learned addend `[C]`, or None.
        epsilon: Added to the variance.
    """

    moving_mean: Array
    moving_variance: Array
    gamma: Array | None
    beta: Array | None
    epsilon: float

    @cached_property
    def _root(self) -> Array:
        return np.asarray(np.sqrt(self.moving_variance.astype(np.float64) + self.epsilon))

    @cached_property
    def _scale(self) -> Array:
        return np.asarray((1.0 if self.gamma is None else self.gamma) / self._root)

    @cached_property
    def scale(self) -> Array:
        """Return the learned factor over the standard deviation."""
        return self._scale.astype(self.moving_mean.dtype)

    @cached_property
    def shift(self) -> Array:
        """Return the learned addend less the scaled mean."""
        moved = self.moving_mean.astype(np.float64) * self._scale
        beta = 0.0 if self.beta is None else self.beta
        return np.asarray(beta - moved, self.moving_mean.dtype)

    def normal(self, x: Array) -> Array:
        """Return the input, normalised, before gamma and beta."""
        return np.asarray((x - self.moving_mean) / self._root, x.dtype)

    @property
    def fixed_weights(self) -> frozenset[str]:
        """Return the moving mean and variance, which are measured and not learned."""
        return frozenset({"moving_mean", "moving_variance"})

    @property
    def formula(self) -> str:
        """Return the normalisation of channel c."""
        return "y = gamma[c] (x - moving_mean[c]) / sqrt(moving_variance[c] + epsilon) + beta[c]"

    def sentence(self, shapes: Shapes) -> str:
        """Return what batch normalisation does at inference."""
        return (
            "Once trained, a fixed multiplication and addition for each channel. Mean and variance"
            " come from training, not from the present image."
        )

    def equation(self, at: UnitInputs) -> Equation:
        """Return the normalisation with the unit's numbers."""
        mean, variance, gamma, beta = (
            default if values is None else float(values[at.channel])
            for values, default in (
                (self.moving_mean, 0.0),
                (self.moving_variance, 1.0),
                (self.gamma, 1.0),
                (self.beta, 0.0),
            )
        )
        x = at.same_unit
        value = gamma * (x - mean) / float(np.sqrt(variance + self.epsilon)) + beta
        text = (
            f"{number(value)} = {number(gamma)} ({number(x)} - {operand(mean)}) /"
            f" sqrt({number(variance)} + {self.epsilon:g}) + {operand(beta)}"
        )
        operands = {
            **self._operands(at),
            "gamma": gamma,
            "beta": beta,
            "moving_mean": mean,
            "moving_variance": variance,
            "epsilon": self.epsilon,
        }
        return Equation(text, operands, value)


def _batch_normalization(saved: SavedLayer) -> Operation | Unsupported:
    if not is_last(saved.config["axis"], saved):
        return unsupported("its axis is not the last", saved)
    weights = saved.weights
    return BatchNormalization(
        weights["moving_mean"],
        weights["moving_variance"],
        weights.get("gamma"),
        weights.get("beta"),
        float(saved.config["epsilon"]),
    )


def _batch_normalization_weights(config: Config) -> tuple[str, ...]:
    gamma = ("gamma",) if config.get("scale") else ()
    beta = ("beta",) if config.get("center") else ()
    return (*gamma, *beta, "moving_mean", "moving_variance")


KINDS = {
    "BatchNormalization": LayerKind(
        _batch_normalization, _batch_normalization_weights, "the last axis"
    ),
}
