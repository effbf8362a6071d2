"""Layers that are used in training only, and how they are folded into stock Keras layers.

What is published, saved and served is made of stock layers; nothing here is needed to load it.
"""

from typing import Any

import keras


class DropConnect(keras.layers.Dense):
    """A Dense layer that drops weights, not activations, in training.

    Wan et al., 2013, "Regularization of Neural Networks using DropConnect". The paper draws a mask
    for every example, which takes as many copies of the weights; here a batch is cut into groups of
    examples that share a mask. The kept weights are scaled up by what is dropped, so that the
    layer's weights are the mean of the masked ones, and inference (`training=False`) uses them as
    they are.
    """

    def __init__(self, units: int, *, rate: float, masks: int, **dense: Any) -> None:
        """Configure the layer.

        Args:
            units: Length of the output.
            rate: Probability that a weight or bias is dropped, 0 up to but not including 1.
            masks: Masks drawn for a batch; neighbouring examples share one.
            **dense: Further arguments of `keras.layers.Dense`.
        """
        super().__init__(units, **dense)
        self.rate, self.masks = rate, masks
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Map `[B, I]` to `[B, units]`, with masked weights in training."""
        if not training:
            return super().call(inputs)
        ops = keras.ops
        examples, width = ops.shape(inputs)[0], inputs.shape[1]
        each = (examples + self.masks - 1) // self.masks  # examples that share a mask
        padded = ops.pad(inputs, [(0, each * self.masks - examples), (0, 0)])
        groups = ops.reshape(padded, (self.masks, each, width))
        outputs = ops.matmul(groups, self._masked(self.kernel))  # (masks, each, units)
        if self.use_bias:
            outputs = outputs + self._masked(self.bias)[:, None]
        outputs = ops.reshape(outputs, (self.masks * each, self.units))[:examples]
        return self.activation(outputs)

    def _masked(self, weights: Any) -> Any:
        """Return `[masks, ...]` copies of a tensor, each with its own values dropped."""
        ones = keras.ops.ones((self.masks, *weights.shape))
        # Dropout scales what it keeps by 1 / (1 - rate).
        return weights * keras.random.dropout(ones, self.rate, seed=self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this layer again."""
        return {**super().get_config(), "rate": self.rate, "masks": self.masks}


def fold(network: keras.Sequential) -> keras.Sequential:
    """Return a network of stock layers that gives the same outputs at inference.

    Args:
        network: Its DropConnect layers become Dense layers with the mean of their masked weights.

    Returns:
        A copy with weights of its own; `network` itself where there is nothing to fold.
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
