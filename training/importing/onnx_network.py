"""Builds a Keras model of the operators of an `.onnx` file, one after the other.

ONNX has channels first. Values of rows and columns are kept with channels last here, and permuted
only where an operator mixes their axes, such as Reshape.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers
from numpy.typing import NDArray

from training.errors import ImportingError
from training.importing.onnx_file import OnnxFile, Operator
from training.importing.rebuild import Rebuilder

Constant = NDArray[Any]
FIRST_TO_LAST, LAST_TO_FIRST = (2, 3, 1), (3, 1, 2)


@dataclass(frozen=True)
class Value:
    """A symbolic value.

    Attributes:
        tensor: The Keras tensor.
        is_last: Whether its channels are last, though ONNX has them first.
    """

    tensor: Any
    is_last: bool = False


@dataclass
class OnnxBuilder:
    """Calls Keras layers in the order of the operators.

    Attributes:
        file: The file.
        operators: What maps each kind of operator.
        values: What has been computed, by name: a `Value`, or a constant.
        namer: Gives names to layers.
        aliases: Outputs that an earlier layer has computed already.
    """

    file: OnnxFile
    operators: Mapping[str, "Handler"]
    values: dict[str, Value | Constant] = field(default_factory=dict)
    namer: Rebuilder = field(default_factory=Rebuilder)
    aliases: dict[str, str] = field(default_factory=dict)

    def build(self, shape: Sequence[int]) -> keras.Model:
        """Return the network as a Keras model that takes the file's own input form.

        Raises:
            ImportingError: An operator is not known, or has options that are not.
        """
        image = keras.Input(tuple(shape), name="image")
        self.values = {**self.file.constants, self.file.input: Value(image)}
        for operator in self.file.operators:
            self._run(operator)
        return keras.Model(image, self.first(self.file.output))

    def _run(self, operator: Operator) -> None:
        if operator.outputs[0] in self.aliases:
            self.values[operator.outputs[0]] = self.values[self.aliases[operator.outputs[0]]]
            return
        handler = self.operators.get(operator.kind)
        if handler is None:
            known = ", ".join(sorted(self.operators))
            raise ImportingError(
                f"The operator {operator.name!r} ({operator.kind}) has no Keras layer here; known"
                f" are {known}."
            )
        try:
            self.values[operator.outputs[0]] = handler(self, operator)
        except ImportingError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise self.unknown(operator, reason) from error

    def unknown(self, operator: Operator, what: str) -> ImportingError:
        """Return the error for an operator that is used in a way that is not known."""
        return ImportingError(
            f"The operator {operator.name!r} ({operator.kind}) cannot be mapped to Keras: {what}."
        )

    def constant(self, operator: Operator, at: int) -> Constant | None:
        """Return an input that is a constant; None if it is left out or computed."""
        if at >= len(operator.inputs) or not operator.inputs[at]:
            return None
        value = self.values[operator.inputs[at]]
        return None if isinstance(value, Value) else value

    def value(self, operator: Operator, at: int = 0) -> Value:
        """Return an input that is computed."""
        value = self.values[operator.inputs[at]]
        if not isinstance(value, Value):
            raise self.unknown(operator, f"its input {at} is a constant")
        return value

    def first(self, name: str) -> Any:
        """Return a value in ONNX's own order of axes."""
        value = self.values[name]
        if not isinstance(value, Value):
            raise ImportingError(f"The output {name!r} is a constant.")
        return self.permuted(value.tensor, LAST_TO_FIRST) if value.is_last else value.tensor

    def last(self, operator: Operator, at: int = 0) -> Any:
        """Return a value of rows and columns with channels last."""
        value = self.value(operator, at)
        if len(value.tensor.shape) != 4:
            rank = len(value.tensor.shape) - 2
            raise self.unknown(operator, f"it works on {rank} axes; only images are known")
        return value.tensor if value.is_last else self.permuted(value.tensor, FIRST_TO_LAST)

    def permuted(self, tensor: Any, order: tuple[int, int, int]) -> Any:
        """Permute the axes of a tensor."""
        if order == FIRST_TO_LAST and tensor.shape[1] == 1:
            shape = (*tensor.shape[2:], 1)
            return layers.Reshape(shape, name=self.namer.take("channels_last"))(tensor)
        name = "channels_last" if order == FIRST_TO_LAST else "channels_first"
        return layers.Permute(order, name=self.namer.take(name))(tensor)

    def make(self, operator: Operator, kind: type, *args: Any, **options: Any) -> Any:
        """Return a layer with the operator's name."""
        return kind(*args, name=self.namer.take(operator.name), **options)

    def apply(self, operator: Operator, kind: type, *args: Any, **options: Any) -> Value:
        """Apply a layer to each number of the first input."""
        value = self.value(operator)
        layer = self.make(operator, kind, *args, **options)
        return Value(layer(value.tensor), value.is_last)


Handler = Callable[[OnnxBuilder, Operator], Value | Constant]
