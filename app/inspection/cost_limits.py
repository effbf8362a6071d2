"""How many gradients, scores and steps a request may compute, and about how long these take.

The limits follow from the size of the network, not from measured times: the same image always gets
the same map. So do the estimates, for one core of the machine on which these rates were measured.
"""

from collections.abc import Iterable

from app.network.network import Layer, Network

# Multiply-adds of the gradients of one map. A core does 35 to 60 billion a second, so that a map
# takes at most 1.6 s; the default deadline is 10 s.
MAX_GRADIENT_PRODUCTS = 56_000_000_000
# Multiply-adds of the scores of the deletion check. The compiled model does 40 to 100 billion a
# second.
MAX_SCORE_PRODUCTS = 60_000_000_000
# Multiply-adds a second: of the compiled model, and of layers and gradients in NumPy.
_COMPILED_RATE, _NUMPY_RATE = 80e9, 35e9
_LEARNING_GRADIENTS = 6  # gradients of one image that take as long as a step of learning
_VALUE_COST = 50  # multiply-adds that take as long as all other work on one value of a layer


def max_gradients(network: Network) -> int:
    """Return how many images one map may differentiate the network for; at least 1."""
    return max(1, MAX_GRADIENT_PRODUCTS // _gradient_products(network))


def max_learning_steps(network: Network) -> int:
    """Return how many steps of learning to make; at least 1.

    A step costs as much as six gradients or more: it differentiates weights, too, in float64 and
    without a batch, and changes them.
    """
    return max(1, max_gradients(network) // _LEARNING_GRADIENTS)


def max_scores(network: Network) -> int:
    """Return how many images the deletion check may score; at least 1."""
    return max(1, MAX_SCORE_PRODUCTS // max(1, _products(network.layers)))


def gradients_s(network: Network, images: int) -> float:
    """Return about how many seconds the gradients of a score take."""
    return images * _gradient_products(network) / _NUMPY_RATE


def learning_s(network: Network, steps: int) -> float:
    """Return about how many seconds steps of learning take."""
    return gradients_s(network, _LEARNING_GRADIENTS * steps)


def scores_s(network: Network, images: int) -> float:
    """Return about how many seconds the compiled model takes for images."""
    return images * _products(network.layers) / _COMPILED_RATE


def layers_s(layers: Iterable[Layer], images: int) -> float:
    """Return about how many seconds the outputs of layers take in NumPy."""
    return images * _products(layers) / _NUMPY_RATE


def _gradient_products(network: Network) -> int:
    """Return the multiply-adds for the gradient of one image, and what else takes as long."""
    return 2 * _products(network.layers) + _VALUE_COST * network.values


def _products(layers: Iterable[Layer]) -> int:
    """Return the multiply-adds of layers for one image, as far as they are known."""
    return sum(layer.multiply_adds for layer in layers)
