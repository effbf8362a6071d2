"""What normalisations share that training changes: a factor gamma and an addend beta."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from app.network.functions import Array, summed_to
from app.network.operation import Operation


class GammaBeta(Operation):
    """`y = gamma normal(x) + beta`.

    Attributes:
        gamma: Factors, which broadcast to the output without the batch, or None.
        beta: Addends, which broadcast to the output without the batch, or None.
    """

    gamma: Array | None
    beta: Array | None

    @abstractmethod
    def normal(self, x: Array) -> Array:
        """Return the input `[N, ...]`, normalised, before gamma and beta."""

    def weight_gradients(
        self, inputs: Sequence[Array], output: Array, grad: Array
    ) -> dict[str, Array]:
        """Return the gradients of gamma and beta."""
        found = {}
        if self.gamma is not None:
            found["gamma"] = summed_to(grad * self.normal(inputs[0]), self.gamma.shape)
        if self.beta is not None:
            found["beta"] = summed_to(grad, self.beta.shape)
        return found

    def weight_tangent(
        self, inputs: Sequence[Array], output: Array, name: str, change: Array
    ) -> Array:
        """Return the change, times the normalised input for gamma."""
        weight = self.gamma if name == "gamma" else self.beta
        factor = self.normal(inputs[0]) if name == "gamma" else np.ones_like(output)
        return np.asarray(factor if weight is None else factor * change.reshape(weight.shape))
