"""The networks, layer by layer; each step is a named layer.

All layers are Keras's own, except those of `training.layers`, which are replaced when training
ends. Activation and convolution are separate layers, as are logits and softmax, so that the values
between them can be inspected. The input is raw pixels (`[N, 28, 28, 1]`, 0..255, ink high); the
first layer normalises them.

Keras is imported when a network is built: recipes import this module, and a command checks its
recipe before it waits for Keras.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

# Mean and standard deviation of the pixels of the 60,000 training images, 0..255.
MNIST_MEAN = 33.3184
MNIST_STD = 78.5675


def classic(
    *, batch_normalization: bool, conv_dropout: float, dense_dropout: float
) -> "keras.Sequential":
    """Build the blog post's network: two pairs of 3x3 convolutions, then two dense layers.

    Args:
        batch_normalization: Whether each convolution and the hidden dense layer are followed by
            batch normalisation (Ioffe and Szegedy, 2015).
        conv_dropout: Share of values dropped after each pooling in training, 0..1; 0 leaves the
            layer out.
        dense_dropout: Share of values dropped after the hidden dense layer in training, 0..1; 0
            leaves the layer out (Srivastava et al., 2014).

    Returns:
        An untrained Sequential: input `[N, 28, 28, 1]` 0..255, output `[N, 10]` softmax.
    """
    from keras import layers

    model = _convolutions("classic", batch_normalization, conv_dropout)
    model.add(layers.Dense(512, use_bias=not batch_normalization, name="dense"))
    if batch_normalization:
        model.add(layers.BatchNormalization(name="bn_dense"))
    model.add(layers.ReLU(name="relu_dense"))
    if dense_dropout:
        model.add(layers.Dropout(dense_dropout, name="dropout_dense"))
    return _end(model)


def dropconnect(*, rate: float, masks: int, conv_dropout: float) -> "keras.Sequential":
    """Build the classic convolutions under a dense layer whose weights are dropped in training.

    That layer has no batch normalisation: its statistics would be those of the masked weights,
    whose outputs vary more than those of the mean weights, which inference uses.

    Args:
        rate: Probability that a weight of the dense layer is dropped (Wan et al., 2013), 0..1.
        masks: Number of masks for each batch.
        conv_dropout: Share of values dropped after each pooling in training, 0..1; 0 leaves the
            layer out.

    Returns:
        An untrained Sequential: input `[N, 28, 28, 1]` 0..255, output `[N, 10]` softmax.
    """
    from keras import layers

    from training.layers import DropConnect

    model = _convolutions("dropconnect", True, conv_dropout)
    model.add(DropConnect(512, rate=rate, masks=masks, name="dense"))
    model.add(layers.ReLU(name="relu_dense"))
    return _end(model)


def compact(*, width: float, dropout: float = 0.0) -> "keras.Sequential":
    """Build a small network that halves the image early, with strides instead of pooling.

    Seven convolutions (at width 1: 32, 48, four of 64, and 128 filters), global average pooling,
    logits. The first kernel is 5x5, so that it covers the pixels that its stride skips.

    Args:
        width: Factor of the number of filters. 1 gives 229 thousand parameters and 8.8 million
            multiply-adds; both grow about with its square.
        dropout: Share of values dropped after the pooling in training, 0..1; 0 leaves the layer
            out.

    Returns:
        An untrained Sequential: input `[N, 28, 28, 1]` 0..255, output `[N, 10]` softmax.
    """
    from keras import layers

    model = _begin("compact")
    steps = ((32, 5, 2), (48, 3, 2), *[(64, 3, 1)] * 4, (128, 3, 2))
    for number, (filters, side, strides) in enumerate(steps, start=1):
        model.add(
            layers.Conv2D(
                round(width * filters),
                side,
                strides=strides,
                padding="same",
                use_bias=False,
                name=f"conv_{number}",
            )
        )
        model.add(layers.BatchNormalization(name=f"bn_{number}"))
        model.add(layers.ReLU(name=f"relu_{number}"))
    model.add(layers.GlobalAveragePooling2D(name="pool"))
    if dropout:
        model.add(layers.Dropout(dropout, name="dropout"))
    return _end(model)


def unpooled(*, side: int, width: int, depth: int) -> "keras.Sequential":
    """Build a stack of unpadded convolutions; only their kernels shrink the image.

    After An, Lee, Park, Yang and So, 2020, arXiv:2008.10400, who let networks with 3x3, 5x5 and 7x7
    kernels vote. This network is narrower and ends in global average pooling.

    Args:
        side: Side of the kernels; `depth` of them must fit the image without padding.
        width: Filters of the first convolution; each further one has this many more.
        depth: Number of convolutions.

    Returns:
        An untrained Sequential: input `[N, 28, 28, 1]` 0..255, output `[N, 10]` softmax.
    """
    from keras import layers

    model = _begin("unpooled")
    for number in range(1, depth + 1):
        model.add(layers.Conv2D(width * number, side, use_bias=False, name=f"conv_{number}"))
        model.add(layers.BatchNormalization(name=f"bn_{number}"))
        model.add(layers.ReLU(name=f"relu_{number}"))
    model.add(layers.GlobalAveragePooling2D(name="pool"))
    return _end(model)


def deep(
    *, blocks: list[list[int]], dropout: float, stem: tuple[int, int] = (3, 1)
) -> "keras.Sequential":
    """Build blocks of 3x3 convolutions with pooling between them, and no hidden dense layer.

    The architecture of VGG (Simonyan and Zisserman, 2015) with batch normalisation and global
    average pooling.

    Args:
        blocks: Filters of each convolution, block by block. Each block but the last halves the
            image.
        dropout: Share of values dropped after each pooling in training, 0..1.
        stem: Side and stride of the first convolution's kernel. A stride of 2 leaves a quarter of
            the positions to the layers after it, so that they can be wide.

    Returns:
        An untrained Sequential: input `[N, 28, 28, 1]` 0..255, output `[N, 10]` softmax.
    """
    from keras import layers

    model = _begin("deep")
    side, strides = stem
    for block, widths in enumerate(blocks, start=1):
        for step, filters in enumerate(widths, start=1):
            suffix = f"{block}_{step}"
            convolution = layers.Conv2D(
                filters, side, strides, padding="same", use_bias=False, name=f"conv_{suffix}"
            )
            side, strides = 3, 1
            model.add(convolution)
            model.add(layers.BatchNormalization(name=f"bn_{suffix}"))
            model.add(layers.ReLU(name=f"relu_{suffix}"))
        if block < len(blocks):
            model.add(layers.MaxPooling2D(2, name=f"pool_{block}"))
            model.add(layers.Dropout(dropout, name=f"dropout_{block}"))
    model.add(layers.GlobalAveragePooling2D(name="pool"))
    return _end(model)


def _begin(name: str) -> "keras.Sequential":
    """Return a network that only normalises raw pixels."""
    import keras

    model = keras.Sequential(name=name)
    model.add(keras.Input((28, 28, 1), name="image"))
    model.add(keras.layers.Normalization(mean=MNIST_MEAN, variance=MNIST_STD**2, name="normalise"))
    return model


def _end(model: "keras.Sequential") -> "keras.Sequential":
    """Add the logits of the ten digits and the softmax; return the network."""
    from keras import layers

    model.add(layers.Dense(10, name="logits"))
    model.add(layers.Softmax(name="softmax"))
    return model


def _convolutions(name: str, batch_normalization: bool, dropout: float) -> "keras.Sequential":
    """Return the first part of `classic` and `dropconnect`: normalisation up to `flatten`."""
    from keras import layers

    model = _begin(name)
    for block, filters in enumerate((32, 64), start=1):
        model.add(layers.ZeroPadding2D(1, name=f"pad_{block}"))
        for step in (1, 2):
            suffix = f"{block}_{step}"
            model.add(
                layers.Conv2D(filters, 3, use_bias=not batch_normalization, name=f"conv_{suffix}")
            )
            if batch_normalization:
                model.add(layers.BatchNormalization(name=f"bn_{suffix}"))
            model.add(layers.ReLU(name=f"relu_{suffix}"))
        model.add(layers.MaxPooling2D(2, name=f"pool_{block}"))
        if dropout:
            model.add(layers.Dropout(dropout, name=f"dropout_{block}"))
    model.add(layers.Flatten(name="flatten"))
    return model
