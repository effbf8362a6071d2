"""Networks as public tutorials build them, trained for moments on a few training digits.

Each function returns a network in the tutorial's own form.
`python -m tests.training.importing.networks FOLDER [NAME...]` writes their files.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from training.importing.digits import load_digits

Array = NDArray[np.float32]


def unit(images: NDArray[np.uint8]) -> Array:
    """Scale pixels to 0..1, `[N, 28, 28, 1]`."""
    return images[..., None].astype(np.float32) / 255


@dataclass(frozen=True)
class Tutorial:
    """A network of a tutorial.

    Attributes:
        build: Makes the network, not trained.
        prepare: Makes its input of uint8 `[N, 28, 28]`.
        scale: What the import must find.
        logits: Whether it ends in logits.
        labels: Makes the labels that it is trained with.
        suffix: Suffix of its file.
        epochs: Epochs of training.
        order: Class of each digit, if not its own number.
    """

    build: Callable[[], keras.Model]
    prepare: Callable[[NDArray[np.uint8]], Any] = unit
    scale: str = "0..1"
    logits: bool = False
    labels: Callable[[NDArray[np.uint8]], NDArray[np.int64]] = lambda labels: labels.astype(int)
    suffix: str = ".keras"
    epochs: int = 3
    order: tuple[int, ...] | None = None

    def train(self) -> keras.Model:
        """Return the network after some epochs on 2,000 training digits."""
        keras.utils.set_random_seed(1)
        model, digits = self.build(), load_digits().embedded
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=self.logits)
        model.compile(keras.optimizers.Adam(2e-3), loss)
        images, labels = self.prepare(digits.images), self.labels(digits.labels)
        model.fit(images, labels, batch_size=50, epochs=self.epochs, verbose=0)
        return model


def _convnet() -> keras.Model:
    """Keras: Simple MNIST convnet."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _quickstart() -> keras.Model:
    """TensorFlow: quickstart for beginners, which ends in logits."""
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10),
        ]
    )


def _vgg_like() -> keras.Model:
    """VGG-like, with the standardisation in a Lambda layer."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Lambda(lambda x: (x - 33.3) / 78.6, output_shape=(28, 28, 1), name="norm"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.BatchNormalization(momentum=0.8),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _lenet() -> keras.Model:
    """LeNet-5 on 32x32, with tanh and average pooling."""
    return keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            layers.Conv2D(6, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Conv2D(120, 5, activation="tanh"),
            layers.Flatten(),
            layers.Dense(84, activation="tanh"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _inception() -> keras.Model:
    """Inception-like: parallel branches, and inputs by name."""
    image = keras.Input((28, 28, 1), name="image")
    stem = layers.Conv2D(16, 3, strides=2, activation="relu")(image)
    branches = [
        layers.Conv2D(8, 1, activation="relu", padding="same")(stem),
        layers.Conv2D(8, 3, activation="relu", padding="same")(stem),
        layers.Conv2D(8, 5, activation="relu", padding="same")(stem),
        layers.MaxPooling2D(3, 1, padding="same")(stem),
    ]
    pooled = layers.GlobalAveragePooling2D()(layers.Concatenate()(branches))
    out = layers.Dense(10, activation="softmax", name="digit")(layers.Dense(32, "relu")(pooled))
    return keras.Model({"image": image}, out)


def _resnet() -> keras.Model:
    """ResNet-like, with shortcuts written as `+`."""
    image = keras.Input((28, 28, 1))
    x = layers.Conv2D(16, 3, strides=2, padding="same")(image)
    for filters in (16, 16):
        y = layers.BatchNormalization(momentum=0.8)(x)
        y = layers.Activation("relu")(y)
        y = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(y)
        x = x + y
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x)))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


def _mobilenet() -> keras.Model:
    """MobileNet-like: inverted residuals with depthwise convolutions."""
    image = keras.Input((28, 28, 1))
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.8)(x))
    for _ in range(2):
        y = layers.Conv2D(48, 1, use_bias=False)(x)
        y = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.8)(y))
        y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
        y = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.8)(y))
        y = layers.Conv2D(16, 1, use_bias=False)(y)
        x = layers.Add()([x, layers.BatchNormalization(momentum=0.8)(y)])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(64, 1, activation="relu")(x))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


def _augmented() -> keras.Model:
    """Augmentation and scaling inside: takes pixels as they are."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(1 / 255),
            keras.Sequential([layers.RandomRotation(0.05), layers.RandomZoom(0.1)], name="augment"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _flat() -> keras.Model:
    """A perceptron on 784 numbers."""
    return keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _rgb() -> keras.Model:
    """Three channels, -1..1, as networks for photos expect."""
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _mixed() -> keras.Model:
    """Mixed precision."""
    policy = keras.dtype_policies.DTypePolicy("mixed_float16")
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu", dtype=policy),
            layers.MaxPooling2D(dtype=policy),
            layers.Flatten(dtype=policy),
            layers.Dense(10, dtype=policy),
            layers.Activation("softmax", dtype="float32"),
        ]
    )


def _many(classes: int) -> Callable[[], keras.Model]:
    def build() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(16, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(classes, activation="softmax"),
            ]
        )

    return build


def _lstm() -> keras.Model:
    """A recurrent network that reads the rows one by one."""
    return keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.LSTM(32),
            layers.BatchNormalization(momentum=0.8),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _zoo() -> keras.Model:
    """A layer zoo."""
    image = keras.Input((28, 28, 1))
    # A network that normalises its layers reads digits equally well in any range without this.
    x = layers.Rescaling(1 / 255)(image)
    x = layers.SeparableConv2D(12, 3, activation="gelu", padding="same")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.LayerNormalization()(x)
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(12, 3, padding="same")(x))
    x = layers.GroupNormalization(4)(x)
    y = layers.Conv2DTranspose(6, 2, strides=2, activation="silu")(x)
    y = layers.Cropping2D(2)(y)
    y = layers.AveragePooling2D(2)(layers.LeakyReLU(negative_slope=0.1)(y))
    z = layers.UpSampling2D()(layers.ELU()(layers.Conv2D(6, 3, strides=2)(x)))
    z = layers.Permute((2, 1, 3))(z)
    merged = layers.Concatenate()([y, z])
    merged = layers.Multiply()([merged, layers.Activation("sigmoid")(merged)])
    sequence = layers.Reshape((144, 12))(merged)
    sequence = layers.MaxPooling1D(4)(layers.Conv1D(16, 5, activation="softplus")(sequence))
    out = layers.Concatenate()([layers.Flatten()(sequence), layers.GlobalMaxPooling2D()(merged)])
    out = layers.UnitNormalization()(layers.Dense(32, activation="tanh")(out))
    return keras.Model(image, layers.Dense(10, activation="softmax")(layers.Rescaling(8.0)(out)))


def _channels_first() -> keras.Model:
    """Channels first, as old tutorials for Theano and PyTorch have it."""
    first = {"data_format": "channels_first"}
    return keras.Sequential(
        [
            keras.Input((1, 28, 28)),
            layers.Conv2D(12, 3, activation="relu", **first),
            layers.MaxPooling2D(2, **first),
            layers.BatchNormalization(axis=1, momentum=0.8),
            layers.Conv2D(16, 3, activation="relu", **first),
            layers.MaxPooling2D(2, **first),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def train_channels_first(tutorial: Tutorial) -> keras.Model:
    """Train with channels last, which every processor can, and move the weights."""
    model = tutorial.build()
    twin_layers = [keras.Input((28, 28, 1))]
    for layer in model.layers:
        if isinstance(layer, layers.Flatten):
            twin_layers.append(layers.Permute((3, 1, 2)))
        config = layer.get_config()
        config |= {"data_format": "channels_last"} if "data_format" in config else {}
        config |= {"axis": -1} if config.get("axis") == 1 else {}
        twin_layers.append(type(layer).from_config(config))
    twin = keras.Sequential(twin_layers)
    trained = Tutorial(lambda: twin, epochs=tutorial.epochs).train()
    weighted = [layer for layer in trained.layers if layer.weights]
    for layer, source in zip(
        (each for each in model.layers if each.weights), weighted, strict=True
    ):
        layer.set_weights(source.get_weights())
    return model


def pad(images: NDArray[np.uint8]) -> Array:
    """Pad images to 32x32, 0..1."""
    return np.pad(unit(images), ((0, 0), (2, 2), (2, 2), (0, 0)))


def _moved(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number the digits as data sets of house numbers do: 1 first, 0 last."""
    return (labels.astype(int) + 9) % 10


TUTORIALS: dict[str, Tutorial] = {
    "convnet": Tutorial(_convnet),
    "quickstart": Tutorial(_quickstart, lambda x: x.astype(np.float32) / 255, logits=True),
    "vgg": Tutorial(_vgg_like, lambda x: x[..., None].astype(np.float32), "0..255"),
    "lenet": Tutorial(_lenet, pad),
    "inception": Tutorial(_inception, lambda x: {"image": unit(x)}, epochs=6),
    "resnet": Tutorial(_resnet, epochs=8),
    "mobilenet": Tutorial(_mobilenet, epochs=8),
    "augmented": Tutorial(_augmented, lambda x: x[..., None].astype(np.float32), "0..255"),
    "flat": Tutorial(_flat, lambda x: x.reshape(-1, 784).astype(np.float32) / 255),
    "channels-first": Tutorial(_channels_first, lambda x: unit(x).transpose(0, 3, 1, 2)),
    "rgb": Tutorial(_rgb, lambda x: np.repeat(2 * pad(x) - 1, 3, axis=3), "-1..1", epochs=6),
    "standardised": Tutorial(_convnet, lambda x: (unit(x) - 0.1307) / 0.3081, "0.1307,0.3081"),
    "inverted": Tutorial(_convnet, lambda x: 1 - unit(x), "inverted"),
    "legacy": Tutorial(_many(10), suffix=".h5"),
    "mixed": Tutorial(_mixed),
    "eleven": Tutorial(_many(11)),
    "sixty-two": Tutorial(_many(62)),
    "permuted": Tutorial(_many(10), labels=_moved, order=tuple(_moved(np.arange(10)))),
    "lstm": Tutorial(_lstm, lambda x: x.astype(np.float32) / 255, epochs=8),
    "zoo": Tutorial(_zoo, lambda x: x[..., None].astype(np.float32), "0..255", epochs=4),
}


def write_tflite(model: keras.Model, path: Path, *, quantised: bool) -> None:
    """Convert a network for LiteRT, with whole numbers in and out if it is quantised."""
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        path.write_bytes(_convert(folder, quantised=quantised))


def _convert(folder: str, *, quantised: bool) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if quantised:
        images = unit(load_digits().embedded.images[:100])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    content: bytes = converter.convert()
    return content


def write(name: str, folder: Path) -> tuple[Path, keras.Model]:
    """Train a network and write its file; return the file and the network."""
    tutorial = TUTORIALS[name]
    model = train_channels_first(tutorial) if name == "channels-first" else tutorial.train()
    path = folder / f"{name}{tutorial.suffix}"
    model.save(path)
    return path, model


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for each in sys.argv[2:] or TUTORIALS:
        print(write(each, place)[0], flush=True)  # noqa: T201
