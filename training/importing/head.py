"""The last layer: splits it into the layer that computes the logits, and what follows.

The service needs logits: gradients of a softmax vanish where it is sure, and the score that tells
digits from other images is computed from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import layers

from training.errors import ImportingError
from training.importing.rebuild import Rebuilder

MAX_CLASSES = 100
DIGITS = 10  # classes of the output that is preferred
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
        output: Which of the network's outputs it is, from 0.
    """

    scores: Any
    kind: Kind
    classes: int
    output: int = 0


def find_head(outputs: Any, rebuilder: Rebuilder, names: Sequence[str] = ()) -> Head:
    """Split the output of a rebuilt network.

    Args:
        outputs: What the rebuilt network returned: a symbolic tensor, or several.
        rebuilder: Gets notes on what was changed.
        names: Names of the outputs, in order.

    Raises:
        ImportingError: The output is not one row of 2 to 100 classes.
    """
    found = keras.tree.flatten(outputs)
    nth = 0
    if len(found) > 1:
        nth = next((at for at, each in enumerate(found) if _classes(each) == DIGITS), 0)
        name = names[nth] if len(names) == len(found) else f"number {nth + 1}"
        rebuilder.changes.append(
            f"The network has {len(found)} outputs; {name!r} is served, with {_classes(found[nth])}"
            " classes, the others are left out."
        )
    output = found[nth]
    classes = _classes(output)
    if not 2 <= classes <= MAX_CLASSES:
        raise ImportingError(_refusal(output))
    scores, kind = _split(output)
    if kind in _CHANGES:
        rebuilder.changes.append(_CHANGES[kind])
    if len(scores.shape) > 2:
        scores = layers.Flatten(name=rebuilder.take("output_shape"))(scores)
    return Head(scores, kind, classes, nth)


def _classes(output: Any) -> int:
    """Return the number of classes of an output; 0 if it is no row of numbers."""
    sizes = [size for size in output.shape[1:] if size != 1]
    return 0 if len(sizes) > 1 or None in sizes else int(sizes[0] if sizes else 1)


def _refusal(output: Any) -> str:
    """Return the sentence that refuses an output, with what to do about it."""
    shape = "x".join("?" if size is None else str(size) for size in output.shape[1:])
    found = f"has the shape {shape}" if shape else "is a single number without a shape"
    advice = ""
    if not shape:
        advice = " If it is the number of the class, leave out the argmax at the end."
    elif _classes(output) == 1:
        advice = (
            " One output tells two classes apart: train it with Dense(2, activation='softmax') at"
            " the end, and name them with --classes."
        )
    return (
        f"The network's output {found}; expected 2 to {MAX_CLASSES} classes, one number for each,"
        f" such as the 10 digits.{advice}"
    )


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
