"""Builds the network of a bundle: input adapter, the file's own layers, logits and softmax."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from training.compiled import count_multiply_adds
from training.importing.adapter import SIDE, Fit, InputForm, arrange, find_form
from training.importing.head import Head, Kind, add_probabilities, find_head
from training.importing.rebuild import Rebuilder
from training.importing.scale import CANDIDATES, RAW, Scale, log_probabilities

CHUNK_BYTES = 1 << 27  # of the inputs of one call; 128 MB
CHUNK = 200  # images of one call, at most


@dataclass(frozen=True)
class Core:
    """A network as it was in its file, rebuilt up to its scores.

    Attributes:
        original: The model of the file.
        form: Its input form.
        model: From that input to the scores.
        kind: What the file's own output is.
        classes: Number of classes.
        changes: What was changed, in sentences.
        products: Multiplications for one image.
        output: Which of the file's outputs is served, from 0.
        other_precision: Whether a layer of the file does not compute in float32.
    """

    original: keras.Model
    form: InputForm
    model: keras.Model
    kind: Kind
    classes: int
    changes: tuple[str, ...]
    products: int
    output: int = 0
    other_precision: bool = False

    @property
    def scales(self) -> tuple[Scale, ...]:
        """Return the scales to try."""
        return (RAW,) if self.form.integers else CANDIDATES

    def answer(
        self, images: NDArray[np.float32], fit: Fit, factor: float, offset: float
    ) -> NDArray[np.float32]:
        """Return logarithms of probabilities, `[N, classes]`, for images `[N, 28, 28, 1]`."""
        return np.concatenate(
            [
                log_probabilities(np.asarray(self.model(part, training=False)), self.kind)
                for part in self.inputs(images, fit, factor, offset)
            ]
        )

    def inputs(self, images: NDArray[np.float32], fit: Fit, factor: float, offset: float) -> Any:
        """Yield the network's own inputs for images `[N, 28, 28, 1]`, part by part."""
        image = keras.Input((SIDE, SIDE, 1))
        arranged = keras.Model(image, layers.Identity()(arrange(self.form, fit)(image)))
        size = int(np.clip(CHUNK_BYTES / (4 * np.prod(self.form.shape)), 1, CHUNK))
        for start in range(0, len(images), size):
            yield np.asarray(arranged(images[start : start + size])) * factor + np.float32(offset)


def rebuild(model: keras.Model, sample: NDArray[np.float32]) -> Core:
    """Rebuild a network of a file up to its scores.

    Args:
        model: The network.
        sample: Some images, `[N, 28, 28, 1]`, 0..255, to look at its output.

    Raises:
        ImportingError: Its input is no image, or its output no row of classes.
    """
    form, rebuilder = find_form(model), Rebuilder()
    raw = keras.Input(form.shape, name="image_in_its_form")
    names = getattr(model, "output_names", ())
    head = find_head(rebuilder.run(model, raw), rebuilder, names)
    core = keras.Model(raw, head.scores)
    kind = head.kind
    found = Core(model, form, core, kind, head.classes, (), count_multiply_adds(core))
    if kind == "logits":
        parts = found.inputs(sample, form.fits[0], 1 / 255, 0.0)
        values = np.concatenate([np.asarray(core(part, training=False)) for part in parts])
        if (values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=1e-3):
            kind = "probabilities"
        else:
            rebuilder.changes.append("A softmax was added after the logits.")
    return replace(
        found,
        kind=kind,
        changes=tuple(rebuilder.changes),
        output=head.output,
        other_precision=rebuilder.other_precision,
    )


@dataclass(frozen=True)
class Choice:
    """What the import decided about a network.

    Attributes:
        scale: Range of the pixels.
        fit: How the image is brought to size.
        sources: Old number of each class, in the new order.
        temperature: The number by which the logits are divided.
    """

    scale: Scale
    fit: Fit
    sources: Sequence[int]
    temperature: float = 1.0


def build(core: Core, choice: Choice) -> keras.Model:
    """Return the network of the bundle: 28x28 pixels 0..255 to probabilities."""
    rebuilder = Rebuilder(names={"input_scale"})
    image = keras.Input((SIDE, SIDE, 1), name="image")
    values = arrange(core.form, choice.fit)(image)
    scale = choice.scale
    if (scale.factor, scale.offset) != (1.0, 0.0):
        values = layers.Rescaling(scale.factor, scale.offset, name="input_scale")(values)
    scores = rebuilder.run(core.model, values)
    if isinstance(scores, list):
        (scores,) = scores
    if list(choice.sources) != list(range(core.classes)):
        scores = _reorder(scores, choice.sources, rebuilder)
    if choice.temperature != 1.0:
        scores = _divide(scores, choice.temperature, rebuilder)
    head = Head(scores, core.kind, core.classes)
    return keras.Model(image, add_probabilities(head, scores, rebuilder), name="imported")


def _last_dense(scores: Any) -> Any | None:
    """Return the layer that computes scores, if it is a dense one without activation."""
    layer = scores._keras_history.operation
    linear = keras.activations.linear
    return layer if isinstance(layer, layers.Dense) and layer.activation is linear else None


def _reorder(scores: Any, sources: Sequence[int], rebuilder: Rebuilder) -> Any:
    """Bring classes into another order, in the weights if the last layer allows."""
    if dense := _last_dense(scores):
        dense.set_weights([weights[..., list(sources)] for weights in dense.get_weights()])
        return scores
    order = layers.Dense(len(sources), use_bias=False, name=rebuilder.take("class_order"))
    reordered = order(scores)
    order.set_weights([np.eye(len(sources), dtype=np.float32)[:, list(sources)]])
    return reordered


def _divide(scores: Any, temperature: float, rebuilder: Rebuilder) -> Any:
    if dense := _last_dense(scores):
        dense.set_weights([weights / temperature for weights in dense.get_weights()])
        return scores
    return layers.Rescaling(1 / temperature, name=rebuilder.take("temperature"))(scores)
