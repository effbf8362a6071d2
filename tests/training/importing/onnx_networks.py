"""`.onnx` files as PyTorch and TensorFlow export them, written with the package `onnx`."""

from pathlib import Path

import keras
import numpy as np
import onnx
from keras import layers
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.training.importing.networks import Tutorial, unit

MEAN, STD = 0.1307, 0.3081


def standardised(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Prepare images as PyTorch's MNIST example does, `[N, 28, 28, 1]`."""
    return ((unit(images) - MEAN) / STD).astype(np.float32)


def pytorch_example(path: Path) -> keras.Model:
    """Write PyTorch's MNIST example: channels first, log-softmax; return its Keras twin."""
    twin = Tutorial(_pytorch, standardised, epochs=3).train()
    first, second, dense, last = (layer.get_weights() for layer in twin.layers if layer.weights)
    side = twin.get_layer("pool").output.shape[1:]
    moved = dense[0].reshape(*side, -1).transpose(2, 0, 1, 3).reshape(dense[0].shape)
    weights = {
        "conv1.weight": first[0].transpose(3, 2, 0, 1),
        "conv1.bias": first[1],
        "conv2.weight": second[0].transpose(3, 2, 0, 1),
        "conv2.bias": second[1],
        "fc1.weight": moved.T,
        "fc1.bias": dense[1],
        "fc2.weight": last[0].T,
        "fc2.bias": last[1],
    }
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["image", "conv1.weight", "conv1.bias"], ["a"], "/conv1/Conv"),
        helper.make_node("Relu", ["a"], ["b"], "/Relu"),
        helper.make_node(
            "Conv", ["b", "conv2.weight", "conv2.bias"], ["c"], "/conv2/Conv", pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", ["c"], ["d"], "/Relu_1"),
        helper.make_node("MaxPool", ["d"], ["e"], "/MaxPool", **window),
        helper.make_node("Flatten", ["e"], ["f"], "/Flatten", axis=1),
        helper.make_node("Gemm", ["f", "fc1.weight", "fc1.bias"], ["g"], "/fc1/Gemm", transB=1),
        helper.make_node("Relu", ["g"], ["h"], "/Relu_2"),
        helper.make_node("Gemm", ["h", "fc2.weight", "fc2.bias"], ["i"], "/fc2/Gemm", transB=1),
        helper.make_node("LogSoftmax", ["i"], ["output"], "/LogSoftmax", axis=1),
    ]
    _write(path, nodes, weights, ["batch", 1, 28, 28])
    return twin


def _pytorch() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.ZeroPadding2D(1),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def tensorflow_perceptron(path: Path) -> keras.Model:
    """Write a perceptron as tf2onnx does: MatMul and Add, a computed shape; return its twin."""
    twin = Tutorial(_perceptron, lambda images: unit(images)[..., 0], logits=True).train()
    first, last = (layer.get_weights() for layer in twin.layers if layer.weights)
    weights = {"w1": first[0], "b1": first[1], "w2": last[0], "b2": last[1]}
    weights |= {"zero": np.array([0]), "rest": np.array([784])}
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"], "shape_of"),
        helper.make_node("Gather", ["shape", "zero"], ["count"], "count_of", axis=0),
        helper.make_node("Concat", ["count", "rest"], ["target"], "target_of", axis=0),
        helper.make_node("Reshape", ["image", "target"], ["a"], "flatten"),
        helper.make_node("MatMul", ["a", "w1"], ["b"], "dense/MatMul"),
        helper.make_node("Add", ["b", "b1"], ["c"], "dense/BiasAdd"),
        helper.make_node("Relu", ["c"], ["d"], "dense/Relu"),
        helper.make_node("MatMul", ["d", "w2"], ["e"], "dense_1/MatMul"),
        helper.make_node("Add", ["e", "b2"], ["output"], "dense_1/BiasAdd"),
    ]
    _write(path, nodes, weights, ["batch", 28, 28])
    return twin


def _perceptron() -> keras.Model:
    dense = [layers.Dense(64, activation="relu"), layers.Dense(10)]
    return keras.Sequential([keras.Input((28, 28)), layers.Flatten(), *dense])


def many_operators(path: Path) -> None:
    """Write an untrained network with most of the other operators, to compare with its runtime."""
    rng = np.random.default_rng(1)
    draw = lambda *shape: (0.3 * rng.normal(size=shape)).astype(np.float32)  # noqa: E731
    weights = {
        "k1": draw(8, 1, 5, 5),
        "scale": 1 + draw(8),
        "shift": draw(8),
        "mean": draw(8),
        "variance": 1 + np.abs(draw(8)),
        "k2": draw(8, 1, 3, 3),
        "k3": draw(4, 8, 1, 1),
        "per_channel": draw(4, 1, 1),
        "half": np.array(0.5, np.float32),
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "w": draw(10, 8),
        "bias": draw(10),
    }
    pads, pair = [2, 2, 2, 2], {"kernel_shape": [2, 2], "strides": [2, 2]}
    bn = ["a", "scale", "shift", "mean", "variance"]
    nodes = [
        helper.make_node("Conv", ["image", "k1"], ["a"], pads=pads, strides=[2, 2]),
        helper.make_node("BatchNormalization", bn, ["b"]),
        helper.make_node("Clip", ["b", "low", "high"], ["c"]),
        helper.make_node("Conv", ["c", "k2"], ["d"], group=8, pads=[1, 1, 1, 1]),
        helper.make_node("LeakyRelu", ["d"], ["e"], alpha=0.1),
        helper.make_node("Conv", ["e", "k3"], ["f"]),
        helper.make_node("Mul", ["f", "per_channel"], ["g"]),
        helper.make_node("Tanh", ["g"], ["h"]),
        helper.make_node("Sigmoid", ["f"], ["i"]),
        helper.make_node("Mul", ["h", "i"], ["j"]),
        helper.make_node("Add", ["j", "f"], ["k"]),
        helper.make_node("Sub", ["k", "half"], ["l"]),
        helper.make_node("AveragePool", ["l"], ["m"], **pair),
        helper.make_node("MaxPool", ["k"], ["n"], **pair),
        helper.make_node("Concat", ["m", "n"], ["o"], axis=1),
        helper.make_node("Elu", ["o"], ["p"]),
        helper.make_node("Dropout", ["p"], ["q"]),
        helper.make_node("GlobalAveragePool", ["q"], ["r"]),
        helper.make_node("Flatten", ["r"], ["s"]),
        helper.make_node("Gemm", ["s", "w", "bias"], ["t"], transB=1, alpha=0.5, beta=2.0),
        helper.make_node("Softmax", ["t"], ["output"], axis=1),
    ]
    _write(path, nodes, weights, [1, 1, 28, 28])


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, NDArray[np.generic]],
    shape: list[int | str],
) -> None:
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [shape[0], 10])],
        [
            numpy_helper.from_array(np.ascontiguousarray(value), name)
            for name, value in weights.items()
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="pytorch", ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
