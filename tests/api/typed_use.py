"""A program of a user, which mypy checks (pyproject.toml) and tests/api/test_model.py runs."""

import io
from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import digitscope


def use(model: digitscope.Model, path: Path) -> None:
    """Use every method with a digit on a file."""
    images: list[digitscope.Image] = [path, str(path), path.read_bytes(), Image.open(path)]
    images += [bytearray(path.read_bytes()), np.asarray(Image.open(path))]
    for image in (*images, io.BytesIO(path.read_bytes())):
        assert_type(model.predict(image), digitscope.Prediction)
    with path.open("rb") as file:
        model.predict(file)
    assert_type(model.predict_many(images), list[digitscope.Prediction])
    assert_type(
        model.predict_many(np.zeros((2, 28, 28)), on_error="return"),
        list[digitscope.Prediction | digitscope.DigitscopeError],
    )
    assert_type(model.predict(path).digit, int)
    assert_type(model.predict(path).probabilities, NDArray[np.float32])
    digit: digitscope.PageDigit = model.read(path).digits[0]
    assert_type(digit.box, digitscope.Box[int])
    assert_type(digit.label, str)
    assert_type(model.read(path).fields, tuple[digitscope.Field, ...])
    assert_type(model.predict(path).input, digitscope.InputSummary)
    assert_type(model.preprocess(path).stages, tuple[digitscope.Stage, ...])
    assert_type(model.metadata, digitscope.Metadata)
    assert_type(model.layers["conv_1"], digitscope.Layer)
    assert_type(model.layers[1:3], digitscope.Layers)
    activations = model.activations(path, model.layers[1], polarity="light-on-dark")
    assert_type(activations.values, NDArray[np.float32])
    assert np.asarray(activations).mean() == model.inspect(path)["conv_1"].values.mean()
    assert_type(model.unit(path, 3, channel=1).equation, digitscope.Equation)
    assert_type(model.explain(path, method="gradient", contrast=0).map, NDArray[np.float32])
    explanation = model.explain(path, target=4)
    assert_type(explanation.deletion, digitscope.Deletion | None)
    assert_type(explanation.randomised, digitscope.Randomised | None)
    assert_type(explanation.completeness, digitscope.Completeness | None)
    for each in model.preprocess(path).without.values():
        assert_type(each, digitscope.Prediction | None)
    try:
        model.predict("missing.png")
    except digitscope.errors.InvalidInputError as error:
        assert_type(error.detail, str)
