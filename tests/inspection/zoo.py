"""A zoo of layers: small networks that hold every layer kind, each kind with its options."""

from collections.abc import Iterable

import keras

from tests.inspection.networks import SHAPE, randomise

layers = keras.layers


def _head(parts: Iterable[keras.KerasTensor], classes: int) -> keras.KerasTensor:
    """Return the probabilities from several parts of a network, each reduced to one vector."""
    flat = [layers.Flatten()(part) if len(part.shape) > 2 else part for part in parts]
    x = layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    return layers.Softmax(name="probabilities")(layers.Dense(classes, name="logits")(x))


def convolutions() -> keras.Model:
    """Return convolutions over rows and columns: padding, strides, dilation, groups."""
    image = keras.Input(SHAPE, name="image")
    small = layers.Resizing(12, 10, name="small")(layers.Rescaling(1 / 255)(image))
    x = layers.Conv2D(4, 3, activation="tanh", name="valid")(small)  # 10x8
    parts = [
        layers.Conv2D(2, (3, 2), strides=2, padding="same", activation="silu")(x),
        layers.Conv2D(3, 2, activation="softmax", name="shares")(x),
        layers.Conv2D(4, 2, dilation_rate=(2, 3), padding="same", use_bias=False)(x),
        layers.Conv2D(4, 3, dilation_rate=2, groups=2, activation="mish")(x),
        layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, padding="same")(x),
        layers.DepthwiseConv2D((2, 3), dilation_rate=2, activation="elu", use_bias=False)(x),
        layers.SeparableConv2D(3, 3, padding="same", activation="softplus")(x),
        layers.SeparableConv2D(2, (3, 2), strides=2, depth_multiplier=2, use_bias=False)(x),
        layers.SeparableConv2D(2, 2, dilation_rate=2, padding="same")(x),
    ]
    tiny = layers.AveragePooling2D((2, 3), strides=(3, 2), padding="same")(x)  # 4x4
    parts += [
        layers.Conv2DTranspose(2, 3, padding="same", activation="gelu")(tiny),
        layers.Conv2DTranspose(3, 3, strides=2, padding="same")(tiny),
        layers.Conv2DTranspose(2, (2, 4), strides=(3, 2), use_bias=False)(tiny),
        layers.Conv2DTranspose(2, 3, strides=2, padding="same", output_padding=1)(tiny),
        layers.Conv2DTranspose(2, 2, dilation_rate=2)(tiny),
        layers.MaxPooling2D(3, strides=2, padding="same")(tiny),
        layers.MaxPooling2D((1, 2))(tiny),
        layers.AveragePooling2D(2)(tiny),
        layers.GlobalAveragePooling2D(keepdims=True)(x),
        layers.GlobalMaxPooling2D(keepdims=True)(x),
        layers.GlobalAveragePooling2D()(x),
        layers.GlobalMaxPooling2D()(x),
    ]
    return randomise(keras.Model(image, _head(parts, 10)))


def maps() -> keras.Model:
    """Return layers that move, resize, normalise and combine maps; three input channels, 32x32."""
    image = keras.Input(SHAPE, name="image")
    colour = layers.Concatenate(name="colour")([layers.ZeroPadding2D(2)(image)] * 3)
    x = layers.Resizing(9, 8, name="reduced")(layers.RandomFlip(name="flip")(colour))
    x = layers.Rescaling([1 / 255, 2 / 255, 1 / 85], offset=[-0.5, 0.0, 0.2])(x)
    x = layers.Conv2D(4, 2, activation="leaky_relu", name="mix")(x)  # 8x7x4
    parts = [
        layers.UpSampling2D((2, 1))(layers.Cropping2D(((1, 2), (0, 3)))(x)),
        layers.UpSampling2D(2, interpolation="bilinear")(layers.ZeroPadding2D(((1, 0), (0, 2)))(x)),
        layers.Resizing(5, 9, interpolation="nearest")(x),
        layers.CenterCrop(5, 4)(x),
        layers.Permute((2, 1, 3), name="turned")(x),
        layers.Permute((3, 1, 2), name="channels_first")(x),
        layers.Reshape((14, 16))(x),
        layers.LayerNormalization()(x),
        layers.LayerNormalization(axis=[1, 2, 3], scale=False)(x),
        layers.LayerNormalization(axis=(1, 3), center=False)(x),
        layers.GroupNormalization(2)(x),
        layers.GroupNormalization(-1, scale=False, center=False)(x),
        layers.RMSNormalization()(x),
        layers.UnitNormalization()(x),
        layers.UnitNormalization(axis=[1, 2])(x),
        layers.BatchNormalization()(x),
        layers.Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=[1.0, 2.0, 0.5, 3.0])(x),
        layers.Softmax(axis=1)(x),
        layers.PReLU(shared_axes=[1, 2])(x),
        layers.ELU(0.7)(x),
        layers.LeakyReLU(0.3)(x),
        layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.1)(x),
        *(layers.Activation(name)(x) for name in ("hard_sigmoid", "selu", "softsign")),
    ]
    scale = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    wide = layers.Conv2D(1, 1, activation="sigmoid", name="attention")(x)
    other = layers.Conv2D(4, 1, name="other")(x)
    parts += [
        layers.Multiply(name="excited")([x, layers.Reshape((1, 1, 4))(scale)]),
        layers.Multiply()([x, scale, other]),
        layers.Multiply()([wide, x]),
        layers.Add()([x, other, scale]),
        layers.Average()([x, other]),
        layers.Maximum()([x, other, wide]),
        layers.Minimum()([x, other]),
        layers.Subtract()([x, scale]),
        layers.Concatenate(axis=1)([x, other]),
        layers.Concatenate(axis=2)([x, other]),
        2.0 * x + 1.0,
        (1.0 - x) / 4.0,
        x * other - wide,
        keras.ops.relu(other),
        layers.TimeDistributed(layers.LayerNormalization())(layers.Reshape((8, 28))(x)),
        layers.TimeDistributed(layers.Conv2D(2, 2))(layers.Reshape((4, 2, 7, 4))(x)),
    ]
    return randomise(keras.Model(image, _head(parts, 11)))


def rows() -> keras.Model:
    """Return layers over rows alone, of 28 numbers each; 62 classes."""
    image = keras.Input(SHAPE, name="image")
    x = layers.Reshape((28, 28), name="rows")(layers.Rescaling(1 / 255)(image))
    x = layers.ZeroPadding1D((1, 1), name="wider")(layers.Cropping1D((2, 1), name="cut")(x))
    x = layers.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu", name="causal")(x)
    x = layers.MaxPooling1D(2, name="half")(layers.SpatialDropout1D(0.2)(x))  # 13 rows
    parts = [
        layers.Conv1D(4, 3, strides=2, padding="same", groups=2)(x),
        layers.Conv1D(4, 4, dilation_rate=2, use_bias=False)(x),
        layers.DepthwiseConv1D(3, depth_multiplier=2, padding="same")(x),
        layers.SeparableConv1D(3, 3, strides=2, activation="relu")(x),
        layers.Conv1DTranspose(3, 3, strides=2, padding="same")(x),
        layers.Conv1DTranspose(2, 2, strides=3)(x),
        layers.MaxPooling1D(3, strides=2, padding="same")(x),
        layers.AveragePooling1D(3, padding="same")(x),
        layers.Cropping1D((1, 2))(x),
        layers.ZeroPadding1D((2, 1))(x),
        layers.UpSampling1D(2)(x),
        layers.GlobalMaxPooling1D()(x),
        layers.GlobalAveragePooling1D(keepdims=True)(x),
        layers.Permute((2, 1))(x),
        layers.LayerNormalization()(x),
        layers.GroupNormalization(3)(x),
        layers.UnitNormalization(axis=1)(x),
        layers.BatchNormalization()(x),
        layers.Dense(5, activation="swish")(x),
        layers.Softmax()(x),
        layers.TimeDistributed(layers.Dense(3, activation="tanh"), name="each_row")(x),
        layers.TimeDistributed(layers.ReLU())(x),
        layers.Dense(4, activation="softmax", name="choice")(x),
        layers.PReLU()(x),
        layers.RepeatVector(3)(layers.GlobalMaxPooling1D()(x)),
        layers.Concatenate(axis=1)([x, layers.Activation("tanh")(x)]),
        layers.Add()([x, layers.GlobalAveragePooling1D()(x)]),
        layers.ActivityRegularization(0.1)(layers.GaussianNoise(0.1)(x)),
        layers.LayerNormalization()(layers.GlobalAveragePooling1D()(x)),
        layers.UnitNormalization()(layers.GlobalAveragePooling1D()(x)),
        layers.GroupNormalization(2)(layers.GlobalAveragePooling1D()(x)),
    ]
    return randomise(keras.Model(image, _head(parts, 62)))


def sequences() -> keras.Model:
    """Return recurrent layers and attention over the rows of the image."""
    image = keras.Input(SHAPE, name="image")
    x = layers.Reshape((28, 28), name="rows")(layers.Rescaling(1 / 255, name="scale")(image))
    x = layers.AveragePooling1D(4, name="fewer")(x)  # 7 rows
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True, unroll=True), name="both")(x)
    x = layers.MultiHeadAttention(2, 4, name="heads")(x, x)
    x = layers.Attention(name="attention")([x, x])
    lstm = layers.LSTM(4, return_sequences=True, return_state=True, unroll=True, name="lstm")
    x, state, cell = lstm(x)
    x = layers.GRU(4, return_sequences=True, unroll=True, name="gru")(x)
    x = layers.SimpleRNN(4, use_bias=False, unroll=True, name="simple")(x)
    x = layers.Concatenate(name="join")([x, state, cell])
    return randomise(keras.Model(image, _head([layers.ReLU(name="relu")(x)], 10)))


def flat_input() -> keras.Model:
    """Return a network for 784 numbers, reshaped in front and again inside, with inner models."""
    image = keras.Input(SHAPE, name="image")
    inner = keras.Sequential(
        [
            keras.Input((784,)),
            layers.Rescaling(1 / 255, name="scale"),
            layers.Reshape(SHAPE, name="square"),
            layers.Conv2D(3, 3, name="conv"),
            layers.Dropout(0.3, name="dropout"),
            keras.Sequential([layers.Conv2D(2, 3, strides=2, name="conv")], name="block"),
            layers.Flatten(name="flatten"),
            layers.Dense(10, name="logits"),
            layers.Softmax(name="softmax"),
        ],
        name="inner",
    )
    return randomise(keras.Model(image, inner(layers.Flatten(name="flat")(image))))


COMPUTABLE = {"convolutions": convolutions, "maps": maps, "rows": rows}
