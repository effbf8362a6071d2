"""`.onnx` files: mapped to Keras layers, and compared with ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.training.importing.conftest import load
from tests.training.importing.networks import unit
from tests.training.importing.onnx_networks import (
    many_operators,
    pytorch_example,
    standardised,
    tensorflow_perceptron,
)
from training.errors import ImportingError
from training.importing.digits import load_digits
from training.importing.onnx_source import load_onnx
from training.importing.options import Options
from training.importing.run import import_file

IMAGES = load_digits().measured.images[:100]


def _rows(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return unit(images)[..., 0]


def _first(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return standardised(images).transpose(0, 3, 1, 2)


def _softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("write", "prepare", "scale"),
    [
        (pytorch_example, _first, "0.1307,0.3081"),
        pytest.param(tensorflow_perceptron, _rows, "0..1", marks=pytest.mark.tutorials),
    ],
    ids=["PyTorch", "TensorFlow"],
)
def test_onnx_network_answers_as_its_runtime(
    tmp_path: Path,
    write: Callable[[Path], keras.Model],
    prepare: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    scale: str,
) -> None:
    """The imported network answers as ONNX Runtime does with the right preparation."""
    path = tmp_path / "net.onnx"
    write(path)
    result = import_file(path, Options("net"), tmp_path / "models")
    assert result.metadata.imported is not None
    assert result.metadata.imported.scale == scale
    model = load(tmp_path / "models", "net")
    assert all(layer.operation for layer in model.network.layers)
    session = onnxruntime.InferenceSession(str(path))
    expected = _softmax(session.run(None, {"image": prepare(IMAGES)})[0])
    answers = model.runtime.predict(IMAGES).probabilities
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_operators_are_mapped(tmp_path: Path) -> None:
    """Every operator of the file becomes a stock layer with the same values."""
    path = tmp_path / "net.onnx"
    many_operators(path)
    model = load_onnx(path.read_bytes())  # compares with ONNX Runtime
    kinds = {type(layer).__name__ for layer in model.layers}
    assert {"DepthwiseConv2D", "BatchNormalization", "ReLU", "Concatenate", "Multiply"} <= kinds
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)


def _model(*nodes: onnx.NodeProto, weights: list[TensorProto] | None = None) -> bytes:
    shape = [1, 1, 28, 28]
    graph = helper.make_graph(
        list(nodes),
        "main",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        weights or [],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    content: bytes = helper.make_model(
        graph, opset_imports=opsets, ir_version=8
    ).SerializeToString()
    return content


def _external() -> bytes:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="/etc/hostname")
    return _model(helper.make_node("Add", ["image", "w"], ["output"]), weights=[weights])


def _declares_much() -> bytes:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 20, 1 << 20])
    return _model(helper.make_node("Add", ["image", "w"], ["output"]), weights=[weights])


BROKEN = {
    "unknown operator": (
        _model(helper.make_node("Einsum", ["image"], ["output"], "mix", equation="abcd->ab")),
        r"'mix' \(Einsum\) has no Keras layer here; known are Add",
    ),
    "operator of its own": (
        _model(helper.make_node("Magic", ["image"], ["output"], "trick", domain="mine")),
        "'trick' is mine.Magic, which is no part of ONNX",
    ),
    "external weights": (_external(), "'w' lie in another file, which is not read"),
    "declares more": (_declares_much(), "declare .*, more than the file holds"),
    "truncated": (_external()[:60], "cannot be read|no network"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_onnx_gets_a_sentence(fault: str) -> None:
    """The message names the operator or the weights, and the fault."""
    content, sentence = BROKEN[fault]
    with pytest.raises(ImportingError, match=sentence) as caught:
        load_onnx(content)
    assert "\n" not in str(caught.value)
