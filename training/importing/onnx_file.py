"""Reads an `.onnx` file as data: its operators, constants and the one image that it takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.errors import ImportingError

MAX_OPERATORS = 2000
_OWN = ("", "ai.onnx")  # domains of ONNX's own operators


@dataclass(frozen=True)
class Operator:
    """One operator of a file.

    Attributes:
        kind: Its type, such as `Conv`.
        name: Its name, or that of its output.
        inputs: Names of its inputs; an empty name is an input that is left out.
        outputs: Names of its outputs.
        options: Its attributes.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OnnxFile:
    """The graph of a file.

    Attributes:
        operators: In an order in which they can be computed.
        constants: Arrays by name.
        input: Name of the image.
        shape: Its shape without the batch; None for an unknown size.
        integers: Whether it takes whole numbers.
        output: Name of the first output.
    """

    operators: Sequence[Operator]
    constants: dict[str, NDArray[Any]]
    input: str
    shape: tuple[int | None, ...]
    integers: bool
    output: str

    def consumers(self, name: str) -> list[Operator]:
        """Return the operators that take an output."""
        return [each for each in self.operators if name in each.inputs]


def read_onnx(content: bytes) -> OnnxFile:
    """Read an `.onnx` file.

    Raises:
        ImportingError: The extra is missing, or the file is damaged, leads elsewhere, has operators
            of another domain, or takes several images.
    """
    onnx = _import_onnx()
    try:
        model = onnx.load_model_from_string(content)
        graph = model.graph
        if len(graph.node) > MAX_OPERATORS:
            raise ImportingError(f"The file has more than {MAX_OPERATORS} operators.")
        if model.functions:
            raise ImportingError("The file defines functions of its own, which are not read.")
        constants = {each.name: _to_array(each, len(content)) for each in graph.initializer}
        operators = [_operator(node, len(content)) for node in graph.node]
    except ImportingError:
        raise
    except Exception as error:  # protobuf and NumPy have their own for each damage
        reason = " ".join(str(error).split())[:200]
        raise ImportingError(f"The .onnx file cannot be read: {reason}.") from error
    if not operators or not graph.output:
        raise ImportingError("The .onnx file holds no network.")
    images = [each for each in graph.input if each.name not in constants]
    if len(images) != 1:
        names = ", ".join(each.name for each in images)
        raise ImportingError(
            f"The network takes {len(images)} inputs ({names}); a digit is one image."
        )
    kind = images[0].type.tensor_type
    sizes = [each.dim_value if each.HasField("dim_value") else None for each in kind.shape.dim]
    whole = kind.elem_type in (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)
    return OnnxFile(
        operators, constants, images[0].name, tuple(sizes[1:]), whole, graph.output[0].name
    )


def _import_onnx() -> Any:
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportingError(
            "An .onnx file needs the extra 'onnx': pip install --editable '.[onnx]'."
        ) from error
    return onnx


def _to_array(tensor: Any, size: int) -> NDArray[Any]:
    """Return a tensor of a file of `size` bytes."""
    onnx = _import_onnx()
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise ImportingError(
            f"The weights {tensor.name!r} lie in another file, which is not read. Save the network"
            " in one file: onnx.save(model, path, save_as_external_data=False)."
        )
    if math.prod(tensor.dims) > size:  # each number takes a byte at least
        raise ImportingError(
            f"The weights {tensor.name!r} declare {list(tensor.dims)}, more than the file holds."
        )
    return np.asarray(onnx.numpy_helper.to_array(tensor))


def _operator(node: Any, size: int) -> Operator:
    onnx = _import_onnx()
    name = node.name or (node.output[0] if node.output else node.op_type)
    if node.domain not in _OWN:
        raise ImportingError(
            f"The operator {name!r} is {node.domain}.{node.op_type}, which is no part of ONNX."
            " Export the network without operators of its own."
        )
    options: dict[str, Any] = {}
    for each in node.attribute:
        if each.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            raise ImportingError(
                f"The operator {name!r} ({node.op_type}) holds a network inside; loops and"
                " conditions are not known."
            )
        if each.type == onnx.AttributeProto.TENSOR:
            options[each.name] = _to_array(each.t, size)
        else:
            value = onnx.helper.get_attribute_value(each)
            options[each.name] = value.decode() if isinstance(value, bytes) else value
    return Operator(node.op_type, name, tuple(node.input), tuple(node.output), options)
