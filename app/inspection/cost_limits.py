"""How many gradients, scores and steps a request may compute, so that it ends in time.

The limits follow from the size of the network, not from measured times: the same image always gets
the same map.
"""

from app.network.network import Network

# Multiply-adds of the gradients of one map. A core does 35 to 60 billion a second, so that a map
# takes at most 1.6 s; the default deadline is 10 s.
MAX_GRADIENT_PRODUCTS = 56_000_000_000
# Multiply-adds of the scores of the deletion check. The compiled model does 40 to 100 billion a
# second.
MAX_SCORE_PRODUCTS = 60_000_000_000
_VALUE_COST = 50  # multiply-adds that take as long as all other work on one value of a layer


def max_gradients(network: Network) -> int:
    """Return how many images one map may differentiate the network for; at least 1."""
    cost = 2 * _products(network) + _VALUE_COST * network.values
    return max(1, MAX_GRADIENT_PRODUCTS // cost)


def max_learning_steps(network: Network) -> int:
    """Return how many steps of learning to make; at least 1.

    A step costs as much as six gradients or more: it differentiates weights, too, in float64 and
    without a batch, and changes them.
    """
    return max(1, max_gradients(network) // 6)


def max_scores(network: Network) -> int:
    """Return how many images the deletion check may score; at least 1."""
    return max(1, MAX_SCORE_PRODUCTS // max(1, _products(network)))


def _products(network: Network) -> int:
    """Return the multiply-adds for one image, as far as they are known."""
    return sum(layer.multiply_adds for layer in network.layers)
