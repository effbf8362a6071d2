"""Joins two operations in one: a weighted sum takes over what follows it, as compilers do."""

from app.network.layers.affine import Affine
from app.network.layers.elementwise import Activation
from app.network.layers.weighted_sum import WeightedSum
from app.network.operation import Operation


def joined(operation: Operation | None, following: Operation | None) -> Operation | None:
    """Return an operation that gives what two give one after the other, but for rounding.

    Returns:
        A convolution or dense layer with the normalisation or activation function that follows it;
        None for other operations.
    """
    if not isinstance(operation, WeightedSum) or operation.activation_name is not None:
        return None
    if isinstance(following, Affine):
        return operation.scaled(following.scale, following.shift)
    if isinstance(following, Activation) and not following.function.slope_needs_input:
        return operation.activated(following.function)
    return None
