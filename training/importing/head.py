"""The last layer: splits it into the layer that computes the logits, and what follows.

The service needs logits: gradients of a softmax vanish where it is sure, and the score that tells
digits from other images is computed from them.
"""

from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import layers

from training.errors import ImportingError
from training.importing.rebuild import Rebuilder

MAX_CLASSES = 100
# How an output becomes probabilities: `probabilities` are there already.
Kind = Literal["logits", "softmax", "log_softmax", "sigmoid", "probabilities"]

_KINDS: dict[str, Kind] = {
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
}
_CHANGES = {
    "log_softmax": "The log-softmax became a softmax.",
    "sigmoid": "The sigmoids of the classes were divided by their sum, as probabilities are.",
}


@dataclass(frozen=True)
class Head:
    """The end of a network.

    Attributes:
        scores: Symbolic output `[N, classes]` of the layer before the softmax, or the output.
        kind: What the file's own output is.
        classes: Number of classes.
    """

    scores: Any
    kind: Kind
    classes: int


def find_head(outputs: Any, rebuilder: Rebuilder) -> Head:
    """Split the output of a rebuilt network.

    Args:
        outputs: What the rebuilt network returned: a symbolic tensor, or several.
        rebuilder: Gets notes on what was changed.

    Raises:
        ImportingError: The output is not one row of 2 to 100 classes.
    """
    found = keras.tree.flatten(outputs)
    if len(found) > 1:
        rebuilder.changes.append(
            f"The network has {len(found)} outputs; the first is served, the others are left out."
        )
    output = found[0]
    sizes = [size for size in output.shape[1:] if size != 1]
    if len(sizes) > 1 or None in sizes or not 2 <= (sizes[0] if sizes else 1) <= MAX_CLASSES:
        shape = "x".join("?" if size is None else str(size) for size in output.shape[1:])
        raise ImportingError(
            f"The network's output has the shape {shape}; expected 2 to {MAX_CLASSES} classes, one"
            " number for each, such as the 10 digits."
        )
    scores, kind = _split(output)
    if kind in _CHANGES:
        rebuilder.changes.append(_CHANGES[kind])
    if len(scores.shape) > 2:
        scores = layers.Flatten(name=rebuilder.take("output_shape"))(scores)
    return Head(scores, kind, int(sizes[0]))


def _split(output: Any) -> tuple[Any, Kind]:
    """Return the tensor before the last activation, and the name of the activation."""
    operation, node, _ = output._keras_history
    source = operation._inbound_nodes[node].input_tensors[0]
    if isinstance(operation, layers.Dropout | layers.Identity):
        return _split(source)
    if isinstance(operation, layers.Softmax):
        return source, "softmax"
    name = getattr(getattr(operation, "activation", None), "__name__", "linear")
    if isinstance(operation, layers.Flatten | layers.Reshape) and len(source.shape) == 4:
        inner, kind = _split(source)
        return (inner, kind) if kind != "logits" else (output, "logits")
    function = _KINDS.get(name)
    if function is None:
        return output, "logits"
    if isinstance(operation, layers.Activation):
        return source, function
    operation.activation = keras.activations.linear  # of the copy; it computes the logits now
    return output, function


def add_probabilities(head: Head, scores: Any, rebuilder: Rebuilder) -> Any:
    """Add the layers that make probabilities of the scores."""
    if head.kind == "probabilities":
        return scores
    if head.kind == "sigmoid":  # softmax(log(s)) is s divided by the sum of all s
        log_sigmoid = layers.Activation("log_sigmoid", name=rebuilder.take("log_sigmoid"))
        scores = log_sigmoid(scores)
    return layers.Softmax(name=rebuilder.take("softmax"))(scores)
