"""Recurrent layers and attention: activations work; what needs arithmetic says what else works."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from app.errors import BundleError, UnsupportedLayerError
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import KerasRuntime
from app.inference.litert_runtime import LiteRtRuntime
from app.inference.loading import check_model
from app.inference.model import Model
from app.inspection.ablation import ablate
from app.inspection.activations import InspectedImage, inspect_image
from app.inspection.comparison import compare
from app.inspection.describe import describe_layers
from app.inspection.explanation import ExplainRequest, explain
from app.inspection.provenance import explain_unit
from app.recognise import Options
from app.samples import sample_png
from tests.conftest import Digits
from tests.inspection import zoo
from tests.inspection.networks import as_model

UNCOMPUTED = ["both", "heads", "attention", "lstm", "lstm:1", "lstm:2", "gru", "simple"]


@pytest.fixture(scope="module")
def keras_model() -> keras.Model:
    """Return a network of recurrent layers and attention."""
    return zoo.sequences()


@pytest.fixture(scope="module")
def model(keras_model: keras.Model, classic: Model, tmp_path_factory) -> Model:
    """Return the network as the service holds it."""
    return as_model(keras_model, tmp_path_factory.mktemp("sequences"), classic)


@pytest.fixture(scope="module")
def inspected(model: Model) -> InspectedImage:
    """Return one digit and every layer's output for it."""
    return inspect_image(sample_png(4), model, Options())


def test_every_layer_has_activations(
    keras_model: keras.Model, model: Model, inspected: InspectedImage
) -> None:
    """Each output of each layer is Keras's; a second output has a name of its own."""
    view = keras.Model(keras_model.inputs[0], [layer.output for layer in keras_model.layers])
    expected = view(inspected.image[None], training=False)
    for layer, outputs in zip(keras_model.layers[1:], expected[1:], strict=True):
        outputs = outputs if isinstance(outputs, list) else [outputs]
        for nth, values in enumerate(outputs):
            name = f"{layer.name}:{nth}" if nth else layer.name
            np.testing.assert_allclose(inspected.outputs[name], values[0], atol=1e-5)
    assert [layer.name for layer in model.network.layers if not layer.operation] == UNCOMPUTED


def test_weights_of_inner_layers_have_names(keras_model: keras.Model, model: Model) -> None:
    """Cells and projections list their weights, and all add up to Keras's number."""
    network = model.network
    assert list(network.find("lstm").weights) == [
        "cell/kernel",
        "cell/recurrent_kernel",
        "cell/bias",
    ]
    assert "forward_layer/cell/kernel" in network.find("both").weights
    assert network.find("heads").weights["query_dense/kernel"].shape == (6, 2, 4)
    counted = sum(values.size for layer in network.layers for values in layer.weights.values())
    assert counted == keras_model.count_params()


def test_descriptions_say_what_the_layers_do_and_why_they_are_not_computed(model: Model) -> None:
    """The sentence is the layer's own; the formula says why there is none."""
    entries = {entry.layer.name: entry for entry in describe_layers(model.network)}
    assert entries["gru"].sentence == (
        "Reads its 7 rows one after the other, keeps 4 numbers as a state and returns the state"
        " after each."
    )
    assert "a recurrent layer keeps a state" in entries["gru"].formula
    assert "with 2 sets of weights" in entries["heads"].sentence
    assert entries["gru"].multiply_adds == 7 * (4 * 12 + 4 * 12)  # rows, both matrices
    assert not entries["gru"].ablatable
    assert entries["simple"].ablatable
    assert entries["fewer"].receptive_field.size == (4, 28)
    assert entries["gru"].receptive_field.size == (28, 28)


def test_equations_and_gradients_name_the_layer_and_what_works(
    model: Model, inspected: InspectedImage
) -> None:
    """The error says why, and lists the routes that work."""
    with pytest.raises(UnsupportedLayerError, match=r"'gru' \(GRU\): a recurrent layer") as caught:
        explain_unit(inspected, model.network.find("gru"), (3, 2))
    assert "'occlusion'" in caught.value.detail
    with pytest.raises(UnsupportedLayerError, match=r"'both' \(Bidirectional\)"):
        explain(sample_png(4), model, Options(), ExplainRequest("gradient"))
    relu = explain_unit(inspected, model.network.find("relu"), (5,))
    assert relu.equation.value == pytest.approx(relu.observed)


def test_later_layers_can_be_switched_off(
    keras_model: keras.Model, model: Model, inspected: InspectedImage
) -> None:
    """Channels of a layer after the last uncomputed one are switched off as in Keras."""
    layer = model.network.find("relu")
    (ablation,) = ablate(inspected, layer, [[0, 3]])
    values = inspected.of(layer)[None].copy()
    values[..., [0, 3]] = 0
    expected = np.asarray(keras_model.layers[-1](keras_model.get_layer("logits")(values)))
    np.testing.assert_allclose(ablation.probabilities, expected[0], atol=1e-5)


def test_occlusion_explains_the_answer(model: Model) -> None:
    """The map needs the compiled model alone; the check with other weights is left out."""
    explanation = explain(sample_png(4), model, Options(), ExplainRequest("occlusion"))
    assert not explanation.empty
    assert explanation.deletion is not None
    assert explanation.randomised is None


def test_outputs_of_rows_are_compared_position_by_position(model: Model) -> None:
    """Rows and channels have an alignment, as rows and columns do."""
    first, second = (inspect_image(sample_png(digit), model, Options()) for digit in (4, 9))
    layers = {entry.layer.name: entry for entry in compare(first, second).layers}
    assert layers["gru"].alignment is not None
    assert layers["lstm:1"].alignment is None
    assert layers["lstm:1"].cosine is not None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised in TensorFlow's LiteRT converter
def test_the_compiled_model_gives_the_same_activations(
    keras_model: keras.Model, digits: Digits
) -> None:
    """LiteRT runs unrolled recurrent layers and attention, and names every output."""
    compiled = LiteRtRuntime(compile_model(keras_model), interpreters=1)
    got = compiled.inspect(digits.images[:3])
    expected = KerasRuntime(keras_model).inspect(digits.images[:3])
    assert set(got) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, atol=1e-5)


def test_a_compiled_model_of_other_weights_is_found(keras_model: keras.Model, model: Model) -> None:
    """Each layer that can be computed is compared when a bundle is loaded; the message names it."""
    check_model(model)
    other = keras.models.clone_model(keras_model)
    other.set_weights(keras_model.get_weights())
    other.get_layer("logits").kernel.assign(other.get_layer("logits").kernel * 2)
    wrong = replace(model, runtime=KerasRuntime(other))
    with pytest.raises(BundleError, match="different values in the layer 'logits'"):
        check_model(wrong)
