"""Every layer kind against Keras: values, equations, gradients, ablations and traced boxes."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.errors import NotFoundError, UnsupportedLayerError
from app.inference.keras_compiler import compile_model
from app.inference.keras_runtime import KerasRuntime
from app.inference.litert_runtime import LiteRtRuntime
from app.inference.model import Model
from app.inspection.ablation import ablate
from app.inspection.activations import inspect_image
from app.inspection.attribution import attribute
from app.inspection.provenance import explain_unit, find_unit
from app.inspection.receptive_field import receptive_fields, trace
from app.inspection.score import Question, logits_of, network_score, score_gradient
from app.network.geometry import positions
from app.network.graph import IMAGE, Step
from app.network.kinds import KINDS, build_operation
from app.network.network import Layer, Network
from app.network.operation import ACTIVATIONS_ONLY, Operation, Shapes
from app.network.weight_gradients import in_float64, weight_gradients
from app.recognise import Options
from app.samples import sample_png
from tests.conftest import Digits
from tests.inspection import zoo
from tests.inspection.networks import as_model

layers = keras.layers
NAMES = tuple(zoo.COMPUTABLE)


@pytest.fixture(scope="module")
def keras_models() -> dict[str, keras.Model]:
    """Return the networks of the zoo."""
    return {name: build() for name, build in zoo.COMPUTABLE.items()}


@pytest.fixture(scope="module")
def models(
    keras_models: dict[str, keras.Model], classic: Model, tmp_path_factory
) -> dict[str, Model]:
    """Return the networks as the service holds them."""
    return {
        name: as_model(model, tmp_path_factory.mktemp(name), classic)
        for name, model in keras_models.items()
    }


@pytest.fixture(scope="module")
def images(digits: Digits) -> np.ndarray:
    """Return three digits on a noisy background, float32 `[3, 28, 28, 1]`."""
    return digits.grainy[:3, ..., None].astype(np.float32)


@pytest.fixture(scope="module")
def expected(
    keras_models: dict[str, keras.Model], images: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Return every layer's output by Keras, by network and layer."""
    return {
        name: KerasRuntime(model).inspect(images[..., 0]) for name, model in keras_models.items()
    }


def _close(got: np.ndarray, right: np.ndarray, share: float) -> None:
    assert got.dtype == np.float32
    scale = max(float(np.abs(right).max()), 1e-3)
    np.testing.assert_allclose(got, right, rtol=0, atol=share * scale)


def _inputs(network: Network, layer: Layer, values, images) -> list[np.ndarray]:
    return [images if at == IMAGE else values[network.layers[at].name] for at in layer.inputs]


def _all_layers(models: dict[str, Model]) -> list[Layer]:
    return [layer for model in models.values() for layer in model.network.layers]


def test_the_zoo_holds_every_kind_that_can_be_computed(models: dict[str, Model]) -> None:
    """A new layer kind has to be added to a network of the zoo, too."""
    held = {layer.kind for layer in _all_layers(models)}
    alike = {"Identity", "Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout"}
    alike |= {type(layer).__name__ for layer in AUGMENTATIONS}
    unsupported = {name for name, kind in KINDS.items() if kind.limits == ACTIVATIONS_ONLY}
    assert set(KINDS) - held - alike == unsupported
    assert [layer.name for layer in _all_layers(models) if layer.operation is None] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_agrees_with_keras(
    models: dict[str, Model], expected, images: np.ndarray, name: str
) -> None:
    """Each layer gives Keras's output for Keras's inputs, and so does the whole network."""
    network, values = models[name].network, expected[name]
    for layer in network.layers:
        assert layer.operation is not None
        got = layer.operation.forward(_inputs(network, layer, values, images))
        _close(np.asarray(got), values[layer.name], 1e-5)
    _close(network.forward(images)[network.output], values["probabilities"], 1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_gradient_agrees_with_gradient_tape(
    keras_models, models: dict[str, Model], expected, images: np.ndarray, name: str
) -> None:
    """Each layer gives the tape's gradient of its inputs, and so does the whole network."""
    network, values, rng = models[name].network, expected[name], np.random.default_rng(5)
    operations = {operation.name: operation for operation in keras_models[name].operations}
    for layer in network.layers:
        inputs, output = _inputs(network, layer, values, images), values[layer.name]
        seed = rng.normal(size=output.shape).astype(np.float32)
        right = _tape_gradients(operations[layer.name], layer, inputs, seed)
        assert layer.operation is not None
        got: dict[int, np.ndarray] = {}
        for at, part in zip(
            layer.inputs, layer.operation.backward(inputs, output, seed), strict=True
        ):
            got[at] = np.asarray(got[at] + part if at in got else part)
        for at, want in right.items():
            _close(got[at], want, 2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_gradient_agrees_with_gradient_tape(
    keras_models, models: dict[str, Model], expected, images: np.ndarray, name: str
) -> None:
    """Each layer gives the tape's gradient of each weight, and leaves out measured ones."""
    network, values, rng = models[name].network, expected[name], np.random.default_rng(6)
    operations = {operation.name: operation for operation in keras_models[name].operations}
    for layer in network.layers:
        if not layer.weights:
            continue
        inputs, output = _inputs(network, layer, values, images), values[layer.name]
        seed = rng.normal(size=output.shape).astype(np.float32)
        variables = operations[layer.name].trainable_variables
        right = _tape_gradients(operations[layer.name], layer, inputs, seed, variables)
        got = weight_gradients([layer], images, _by_index(network, values), {layer.index: seed})
        assert len(got) == len(variables)
        for (found, want), weight in zip(
            zip(got.values(), right.values(), strict=True), got, strict=True
        ):
            assert found.shape == layer.weights[weight].shape
            _close(found, want, 5e-5)


@pytest.mark.parametrize("name", NAMES)
def test_tangents_are_the_transpose_of_gradients(
    models: dict[str, Model], expected, images: np.ndarray, name: str
) -> None:
    """A change of inputs or weights, followed forwards, gives what gradients give backwards."""
    network, rng = in_float64(models[name].network), np.random.default_rng(7)
    values = {key: part.astype(np.float64) for key, part in expected[name].items()}
    for layer in network.layers:
        operation = layer.operation
        assert operation is not None
        inputs = _inputs(network, layer, values, images.astype(np.float64))
        output = operation.forward(inputs)
        seed = rng.normal(size=output.shape)
        changes = [rng.normal(size=part.shape) for part in inputs]
        forwards = float((operation.tangent(inputs, output, changes) * seed).sum())
        parts = zip(operation.backward(inputs, output, seed), changes, strict=True)
        assert forwards == pytest.approx(sum(float((g * c).sum()) for g, c in parts), rel=1e-7)
        for weight, gradient in operation.weight_gradients(inputs, output, seed).items():
            change = rng.normal(size=layer.weights[weight].shape)
            moved = operation.weight_tangent(inputs, output, weight, change)
            backwards = float((gradient.reshape(change.shape) * change).sum())
            assert float((moved * seed).sum()) == pytest.approx(backwards, rel=1e-7)


def test_a_weight_without_gradient_is_named(models: dict[str, Model], images) -> None:
    """A kind that forgets a weight gives an error with its name, never zeros."""
    network = models["rows"].network
    layer = next(layer for layer in network.layers if layer.kind == "Conv1D")
    more = replace(layer, weights={**layer.weights, "forgotten": np.ones(3, np.float32)})
    outputs = network.forward(images)
    seed = {layer.index: np.ones_like(outputs[layer.index])}
    with pytest.raises(
        UnsupportedLayerError, match=f"weights forgotten of the layer '{layer.name}"
    ):
        weight_gradients([more], images, outputs, seed)


def _by_index(network: Network, values) -> list[np.ndarray]:
    return [values[layer.name] for layer in network.layers]


@pytest.mark.parametrize("name", NAMES)
def test_joined_layers_give_the_same_scores_and_gradients(
    models: dict[str, Model], images: np.ndarray, name: str
) -> None:
    """A network whose layers are joined differs by rounding only."""
    network, question = models[name].network, Question(3, 7)
    results = []
    for variant in (network, network.fused):
        outputs = variant.forward(images)
        seed = score_gradient(variant, outputs, question)
        gradient = variant.gradients(images, outputs, seed, wanted=())[IMAGE]
        results.append((logits_of(variant, outputs), gradient))
    for want, got in zip(*results, strict=True):
        _close(got, want, 1e-5)


def test_convolutions_take_over_what_follows_them(classic: Model) -> None:
    """Normalisations and activations behind a convolution or dense layer are part of it."""
    names = {layer.name for layer in classic.network.fused.layers}
    assert {"conv_1_1", "conv_2_2", "dense", "logits", "softmax"} <= names
    assert not any(name.startswith(("bn_", "relu_")) for name in names)


def _tape_gradients(
    operation, layer: Layer, inputs: list[np.ndarray], seed: np.ndarray, variables=None
) -> dict[int, np.ndarray]:
    """Return the gradient of each input of a Keras layer or operator, by the input's index.

    With `variables`, return the gradient of each of these instead, by its place.
    """
    arguments = operation._inbound_nodes[0].arguments
    tensors = {at: tf.constant(part) for at, part in zip(layer.inputs, inputs, strict=True)}
    by_symbol = zip(arguments.keras_tensors, layer.inputs, strict=True)
    with tf.GradientTape() as tape:
        tape.watch(list(tensors.values()))
        args, kwargs = arguments.fill_in({id(symbol): tensors[at] for symbol, at in by_symbol})
        if getattr(operation, "_call_has_training_arg", False):
            kwargs["training"] = False
        made = operation(*args, **kwargs)
    wanted = tensors
    if variables is not None:
        wanted = {at: variable.value for at, variable in enumerate(variables)}
    found = tape.gradient(made, wanted, output_gradients=tf.constant(seed))
    return {at: np.asarray(part) for at, part in found.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_equation_gives_the_units_value(models: dict[str, Model], name: str) -> None:
    """The equations of corner and random units are right within 1e-4."""
    model, rng = models[name], np.random.default_rng(1)
    inspected = inspect_image(sample_png(4), model, Options())
    for layer in model.network.layers:
        units = [tuple(0 for _ in layer.shape), tuple(size - 1 for size in layer.shape)]
        units += [tuple(int(rng.integers(size)) for size in layer.shape) for _ in range(3)]
        for unit in units:
            provenance = explain_unit(inspected, layer, unit)
            assert provenance.abs_error <= 1e-4 * max(1.0, abs(provenance.observed)), layer.name
            assert provenance.equation.text
            assert provenance.formula


@pytest.mark.parametrize("name", NAMES)
def test_pixels_outside_the_traced_box_do_not_matter(models: dict[str, Model], name: str) -> None:
    """Changing every pixel outside a unit's box on the image does not change the unit."""
    model, rng = models[name], np.random.default_rng(2)
    network, image = model.network, inspect_image(sample_png(4), model, Options()).image
    noise = rng.uniform(0, 255, image.shape).astype(np.float32)
    before, changed, units = network.forward(image[None]), [], []
    for layer in network.layers:
        if positions(layer.shape) is None:
            continue
        unit = tuple(int(rng.integers(size)) for size in layer.shape)
        box, mixed = trace(network, layer, unit).get(IMAGE), noise.copy()
        if box is not None:
            rows, columns = slice(box.y, box.bottom), slice(box.x, box.right)
            mixed[rows, columns] = image[rows, columns]
        units.append((layer, unit))
        changed.append(mixed)
    after = network.forward(np.stack(changed))
    for at, (layer, unit) in enumerate(units):
        got, want = after[layer.index][at][unit], before[layer.index][0][unit]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4, err_msg=layer.name)


@pytest.mark.parametrize("name", NAMES)
def test_receptive_fields_agree_with_traces(models: dict[str, Model], name: str) -> None:
    """A unit whose field lies inside the image sees that box, or part of it between two pixels."""
    network = models[name].network
    for layer, field in zip(network.layers, receptive_fields(network), strict=True):
        size = positions(layer.shape)
        if size is None or field.whole or field.stride is None or field.offset is None:
            continue
        y, x = size[0] // 2, size[1] // 2
        unit = (y, x, 0) if layer.spatial else (y, 0)
        top, left = (field.offset[axis] + field.stride[axis] * at for axis, at in ((0, y), (1, x)))
        bottom, right = top + field.size[0] - 1, left + field.size[1] - 1
        if min(top, left) < 0 or max(bottom, right) > 27:
            continue
        box = trace(network, layer, unit)[IMAGE]
        if field.places and all(isinstance(step, int) for step in field.stride):
            want = (int(top), int(left), *field.size)
            assert (box.y, box.x, box.height, box.width) == want, layer.name
        elif field.places:  # behind an enlargement, where some units read fewer positions
            assert top <= box.y, layer.name
            assert box.bottom <= bottom + 1, layer.name
        else:
            assert abs(box.y + box.bottom - 1 - float(top + bottom)) <= 4, layer.name
            assert box.height <= math.ceil(field.size[0]), layer.name


@pytest.mark.parametrize(
    ("name", "trunk"), [("convolutions", "valid"), ("maps", "mix"), ("rows", "half")]
)
def test_switched_off_channels_agree_with_keras(
    keras_models: dict[str, keras.Model], models: dict[str, Model], name: str, trunk: str
) -> None:
    """Switching channels off gives what Keras gives with their outputs set to 0."""
    model, reference = models[name], keras_models[name]
    inspected = inspect_image(sample_png(4), model, Options())
    layer = model.network.find(trunk)
    (ablation,) = ablate(inspected, layer, [[1, 3]])
    values = inspected.of(layer)[None].copy()
    values[..., [1, 3]] = 0
    rest = keras.Model(reference.get_layer(trunk).output, reference.output)
    expected = np.asarray(rest(values, training=False))[0]
    np.testing.assert_allclose(ablation.probabilities, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised in TensorFlow's LiteRT converter
@pytest.mark.parametrize("name", ["maps", "rows"])
def test_compiled_models_give_the_same_activations(
    keras_models: dict[str, keras.Model], images: np.ndarray, name: str
) -> None:
    """LiteRT gives Keras's output of every layer, for digits and for a black image."""
    compiled = LiteRtRuntime(compile_model(keras_models[name]), interpreters=1)
    batch = np.concatenate([images, np.zeros_like(images[:1])])[..., 0]
    got, values = compiled.inspect(batch), KerasRuntime(keras_models[name]).inspect(batch)
    assert set(got) == set(values)
    for layer, right in values.items():
        _close(got[layer], right, 1e-5)


def test_grad_cam_marks_whole_rows_of_layers_over_rows(models: dict[str, Model]) -> None:
    """A layer of rows and channels has no columns, so its map is the same in all columns."""
    network, question = models["rows"].network, Question(3, 11)
    pixels = inspect_image(sample_png(4), models["rows"], Options()).image[..., 0]
    found = attribute(
        network,
        network_score(network, question),
        pixels.astype(np.uint8),
        question,
        "grad-cam",
        layer=network.find("half"),
    )
    assert found.coarse is not None
    assert found.coarse.shape == (13, 1)
    assert found.values.any()
    np.testing.assert_array_equal(found.values, found.values[:, :1].repeat(28, axis=1))


def test_units_of_rows_and_channels_are_addressed_by_row(models: dict[str, Model]) -> None:
    """The row may be left out; there is only column 0."""
    model = models["rows"]
    inspected, layer = inspect_image(sample_png(4), model, Options()), model.network.find("half")
    values = inspected.of(layer)
    assert find_unit(inspected, layer, 2, 5, None) == find_unit(inspected, layer, 2, 5, 0) == (5, 2)
    assert values[find_unit(inspected, layer, 2, None, None)] == values[:, 2].max()
    with pytest.raises(NotFoundError) as caught:
        find_unit(inspected, layer, 2, 13, None)
    assert caught.value.fields["valid"] == ["y 0..12", "channel 0..5"]
    with pytest.raises(NotFoundError):
        find_unit(inspected, layer, 2, 5, 1)


def test_a_position_that_is_reshaped_and_restored_is_traced(
    classic: Model, tmp_path_factory
) -> None:
    """Flattened pixels that an inner model makes square again keep their receptive fields."""
    model = as_model(zoo.flat_input(), tmp_path_factory.mktemp("flat"), classic)
    network = model.network
    fields = {
        layer.name: fields
        for layer, fields in zip(network.layers, receptive_fields(network), strict=True)
    }
    block = fields["inner/block/conv"]
    assert (block.size, block.stride, block.offset) == ((5, 5), (2, 2), (0, 0))
    box = trace(network, network.find("inner/block/conv"), (3, 4, 1))[IMAGE]
    assert (box.y, box.x, box.height, box.width) == (6, 8, 5, 5)
    digit = inspect_image(sample_png(4), model, Options())
    assert explain_unit(digit, network.find("inner/scale"), (300,)).abs_error < 1e-6


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (layers.UpSampling2D(2, interpolation="bicubic"), "its interpolation is 'bicubic'"),
        (layers.Resizing(9, 9, crop_to_aspect_ratio=True), "it uses crop_to_aspect_ratio"),
        (layers.Conv2D(4, 1, activation="log_softmax"), "its activation is 'log_softmax'"),
        (layers.LayerNormalization(axis=1), "it does not normalise over the channels"),
        (layers.BatchNormalization(axis=1), "its axis is not the last"),
        (layers.Flatten(data_format="channels_first"), "its data_format is channels_first"),
        (layers.AdaptiveMaxPooling2D(4), "does not know the arithmetic of this class"),
    ],
)
def test_options_that_are_not_supported_are_named(
    layer: keras.layers.Layer, reason: str, classic: Model, tmp_path
) -> None:
    """The layer's activations are shown; its equation names the option and what works instead."""
    image = keras.Input((28, 28, 1))
    x = layers.Flatten()(layer(layers.Conv2D(2, 1)(image)))
    x = layers.Softmax()(layers.Dense(10)(x))
    model = as_model(keras.Model(image, x), tmp_path, classic)
    inspected = inspect_image(sample_png(4), model, Options())
    found = model.network.find(layer.name)
    assert inspected.of(found).shape == found.shape
    with pytest.raises(UnsupportedLayerError, match=reason):
        explain_unit(inspected, found, tuple(0 for _ in found.shape))


AUGMENTATIONS = [
    layers.RandomFlip(),
    layers.RandomRotation(0.2),
    layers.RandomZoom(0.2),
    layers.RandomTranslation(0.2, 0.2),
    layers.RandomShear(0.2, 0.2),
    layers.RandomPerspective(),
    layers.RandomElasticTransform(),
    layers.RandomErasing(),
    layers.RandomCrop(20, 20),
    layers.RandomContrast(0.2),
    layers.RandomBrightness(0.2),
    layers.RandomGaussianBlur(),
    layers.RandomSharpness(0.5),
    layers.RandomInvert(),
    layers.RandomPosterization(4),
    layers.RandomHue(0.2),
    layers.RandomSaturation(0.2),
    layers.RandomColorJitter(),
    layers.RandomColorDegeneration(0.2),
    layers.RandomGrayscale(),
    layers.RandAugment(),
    layers.AugMix(),
    layers.MixUp(),
    layers.CutMix(),
]


@pytest.mark.parametrize("layer", AUGMENTATIONS, ids=lambda layer: type(layer).__name__)
def test_augmentations_are_identities(layer: keras.layers.Layer) -> None:
    """Outside training, Keras's augmentations return the image, and so does the service."""
    images = np.random.default_rng(1).uniform(0, 255, (2, 28, 28, 3)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(layer(images, training=False)), images)
    shape = images.shape[1:]
    step = Step(layer.name, type(layer).__name__, layer.get_config(), (IMAGE,), "")
    operation = build_operation(step, {}, Shapes((shape,), shape))
    assert isinstance(operation, Operation)
    assert not operation.active_at_inference
    np.testing.assert_array_equal(operation.forward([images]), images)


def test_every_augmentation_is_tested() -> None:
    """A new augmentation has to be added to the list."""
    known = {name for name in KINDS if name.startswith(("Rand", "Aug", "Mix", "Cut"))}
    assert known == {type(layer).__name__ for layer in AUGMENTATIONS}
