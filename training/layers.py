"""Layers that only training uses, and their replacement by stock Keras layers.

Published networks have stock layers only; loading them needs nothing from this module.
"""

from typing import Any

import keras


class DropConnect(keras.layers.Dense):
    """A Dense layer that drops weights, not activations, in training.

    Wan et al., 2013, "Regularization of Neural Networks using DropConnect". The paper draws a mask
    for every example, which needs a copy of the weights for each; here the examples of a batch
    share a few masks. The remaining weights are scaled up, so that the mean of the masked weights
    is the layer's weights, which inference (`training=False`) uses unchanged.
    """

    def __init__(self, units: int, *, rate: float, masks: int, **dense: Any) -> None:
        """Configure the layer.

        Args:
            units: Length of the output.
            rate: Probability that a weight or bias is dropped, 0 up to but not including 1.
            masks: Number of masks for a batch; neighbouring examples share one.
            **dense: Further arguments of `keras.layers.Dense`.
        """
        super().__init__(units, **dense)
        self.rate, self.masks = rate, masks
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Map `[B, I]` to `[B, units]`; in training, with masked weights."""
        if not training:
            return super().call(inputs)
        ops = keras.ops
        examples, width = ops.shape(inputs)[0], inputs.shape[1]
        group_size = (examples + self.masks - 1) // self.masks
        padded = ops.pad(inputs, [(0, group_size * self.masks - examples), (0, 0)])
        groups = ops.reshape(padded, (self.masks, group_size, width))
        outputs = ops.matmul(groups, self._masked(self.kernel))  # (masks, group_size, units)
        if self.use_bias:
            outputs = outputs + self._masked(self.bias)[:, None]
        outputs = ops.reshape(outputs, (self.masks * group_size, self.units))[:examples]
        return self.activation(outputs)

    def _masked(self, weights: Any) -> Any:
        """Return copies of a tensor, `[masks, ...]`, each with different values dropped."""
        ones = keras.ops.ones((self.masks, *weights.shape))
        # Dropout scales the remaining values by 1 / (1 - rate).
        return weights * keras.random.dropout(ones, self.rate, seed=self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate this layer."""
        return {**super().get_config(), "rate": self.rate, "masks": self.masks}


def fold(network: keras.Sequential) -> keras.Sequential:
    """Return a network of stock layers that gives the same outputs at inference.

    Args:
        network: Its DropConnect layers are replaced by Dense layers with the same weights.

    Returns:
        A copy with its own weights, or `network` itself if it has no DropConnect layer.
    """
    if not any(isinstance(layer, DropConnect) for layer in network.layers):
        return network
    folded: keras.Sequential = keras.models.clone_model(network, clone_function=_stock)
    folded.set_weights(network.get_weights())
    return folded


def _stock(layer: keras.layers.Layer) -> keras.layers.Layer:
    config = layer.get_config()
    if isinstance(layer, DropConnect):
        del config["rate"], config["masks"]
        return keras.layers.Dense.from_config(config)
    return type(layer).from_config(config)
