"""Equations, traces and receptive fields, compared with what the networks compute."""

import numpy as np
import pytest

from app.boxes import Box
from app.errors import InvalidInputError, NotFoundError
from app.imaging.stages import Placement
from app.inference.model import Model
from app.inspection.activations import InspectedImage, inspect_image
from app.inspection.provenance import explain_unit, find_unit
from app.inspection.receptive_field import on_upload, receptive_fields, trace
from app.network.graph import IMAGE
from app.recognise import Options
from app.samples import sample_png
from tests.conftest import Digits

MODELS = ("classic", "kinds", "ensemble")


@pytest.fixture(scope="module")
def inspected(
    classic: Model, kinds_model: Model, ensemble_model: Model, digits: Digits
) -> dict[str, InspectedImage]:
    """Return one digit inspected in each of the networks, by the network's name."""
    by_name = {"classic": inspect_image(sample_png(4), classic, Options())}
    for name, model in (("kinds", kinds_model), ("ensemble", ensemble_model)):
        outputs = model.runtime.inspect(by_name["classic"].prediction.prepared.pixels[None])
        values = {layer: out[0] for layer, out in outputs.items()}
        by_name[name] = InspectedImage(model, by_name["classic"].prediction, values)
    return by_name


@pytest.mark.parametrize("name", MODELS)
def test_every_equation_gives_the_units_value(
    inspected: dict[str, InspectedImage], name: str
) -> None:
    """In every layer, the equations of corner and random units are right within 1e-4."""
    digit, rng = inspected[name], np.random.default_rng(1)
    for layer in digit.model.network.layers:
        corners = [tuple(0 for _ in layer.shape), tuple(size - 1 for size in layer.shape)]
        random = [tuple(int(rng.integers(size)) for size in layer.shape) for _ in range(6)]
        for unit in (*corners, *random):
            provenance = explain_unit(digit, layer, unit)
            tolerance = 1e-4 * max(1.0, abs(provenance.observed))
            assert provenance.observed == digit.of(layer)[unit]
            assert provenance.abs_error <= tolerance, (layer.name, unit)
            assert provenance.equation.text
            assert provenance.formula


@pytest.mark.parametrize("name", MODELS)
def test_pixels_outside_the_traced_box_do_not_matter(
    inspected: dict[str, InspectedImage], digits: Digits, name: str
) -> None:
    """Changing every pixel outside a unit's box on the image does not change the unit."""
    digit = inspected[name]
    network, image = digit.model.network, digit.image
    noise = np.random.default_rng(2).uniform(0, 255, image.shape).astype(np.float32)
    before = network.forward(image[None])
    for layer in network.layers:
        if not layer.spatial:
            continue
        unit = (layer.shape[0] // 2, layer.shape[1] - 1, 0)
        box = trace(network, layer, unit).get(IMAGE)
        changed = noise.copy()
        if box is not None:
            rows, columns = slice(box.y, box.bottom), slice(box.x, box.right)
            changed[rows, columns] = image[rows, columns]
        after = network.forward(changed[None])[layer.index][0][unit]
        np.testing.assert_allclose(after, before[layer.index][0][unit], rtol=1e-5, atol=1e-5)


def test_receptive_fields_of_the_classic_network(classic: Model) -> None:
    """Size, stride and offset are right for two blocks of two 3x3 convolutions."""
    network, fields = classic.network, receptive_fields(classic.network)
    by_name = {layer.name: fields[layer.index] for layer in network.layers}
    got = {
        name: (by_name[name].size, by_name[name].stride, by_name[name].offset)
        for name in ("conv_1_1", "conv_1_2", "pool_1", "conv_2_2", "pool_2", "dense")
    }
    assert got == {
        "conv_1_1": ((3, 3), (1, 1), (-1, -1)),
        "conv_1_2": ((5, 5), (1, 1), (-1, -1)),
        "pool_1": ((6, 6), (2, 2), (-1, -1)),
        "conv_2_2": ((14, 14), (2, 2), (-3, -3)),
        "pool_2": ((16, 16), (4, 4), (-3, -3)),
        "dense": ((28, 28), None, None),
    }


def test_field_and_trace_agree_away_from_the_border(classic: Model) -> None:
    """A unit whose receptive field lies inside the image sees exactly that box."""
    network = classic.network
    for layer, field in zip(network.layers, receptive_fields(network), strict=True):
        if field.stride is None or field.offset is None:
            continue
        y, x = layer.shape[0] // 2, layer.shape[1] // 2
        top, left = (field.offset[axis] + field.stride[axis] * at for axis, at in ((0, y), (1, x)))
        expected = Box(left, top, width=field.size[1], height=field.size[0])
        assert trace(network, layer, (y, x, 0))[IMAGE] == expected


def test_flattened_unit_is_traced_to_its_position(classic: Model) -> None:
    """A unit of the flatten layer sees what its source sees; a padding unit sees nothing."""
    network = classic.network
    flat, pool = network.find("flatten"), network.find("pool_2")
    unit = (3 * 5 + 1) * 64 + 7  # row 3, column 1, channel 7 of 5x5x64
    assert trace(network, flat, (unit,))[IMAGE] == trace(network, pool, (3, 1, 7))[IMAGE]
    assert IMAGE not in trace(network, network.find("pad_1"), (0, 5, 0))


def test_region_on_the_upload_covers_whole_pixels() -> None:
    """A pixel of the 28x28 image covers a rectangle of the upload around its own centre."""
    identity = on_upload(Box(0, 0, 28, 28), Placement(1.0, 1.0, 0.0, 0.0))
    assert (identity.x, identity.y, identity.width, identity.height) == (0.0, 0.0, 28.0, 28.0)
    scaled = on_upload(Box(3, 2, width=1, height=3), Placement(10.0, 5.0, 100.0, 7.0))
    assert (scaled.y, scaled.height) == (100 + 10 * 1.5 + 0.5, 30.0)
    assert (scaled.x, scaled.width) == (7 + 5 * 2.5 + 0.5, 5.0)


def test_operands_and_channel_sums_add_up(inspected: dict[str, InspectedImage]) -> None:
    """A convolution's products sum to its channel sums, and the channel sums to its value."""
    digit = inspected["classic"]
    layer = digit.model.network.find("conv_2_1")
    equation = explain_unit(digit, layer, (3, 4, 5)).equation
    products = equation.operands["patch"] * equation.operands["kernel"]
    np.testing.assert_allclose(products, equation.operands["products"])
    np.testing.assert_allclose(products.sum(axis=(0, 1)), equation.channel_sums)
    assert equation.channel_sums is not None
    assert equation.value == pytest.approx(equation.channel_sums.sum())
    dense = explain_unit(digit, digit.model.network.find("dense"), (9,)).equation
    assert dense.channel_sums is not None
    assert dense.channel_sums.shape == (64,)
    assert dense.value == pytest.approx(dense.channel_sums.sum())


def test_missing_parts_of_an_address_are_those_of_the_strongest_unit(
    inspected: dict[str, InspectedImage],
) -> None:
    """A missing channel or position is where the layer's value is largest."""
    digit = inspected["classic"]
    layer = digit.model.network.find("relu_2_1")
    values = digit.of(layer)
    assert values[find_unit(digit, layer, None, None, None)] == values.max()
    assert find_unit(digit, layer, 9, None, None)[2] == 9
    assert values[find_unit(digit, layer, 9, None, None)] == values[..., 9].max()
    assert find_unit(digit, layer, 9, 2, 3) == (2, 3, 9)


def test_wrong_addresses_are_refused_with_the_valid_ranges(
    inspected: dict[str, InspectedImage],
) -> None:
    """A unit outside the layer is not found; a row without a column is refused."""
    digit = inspected["classic"]
    conv, dense = (digit.model.network.find(name) for name in ("conv_2_2", "dense"))
    with pytest.raises(NotFoundError) as caught:
        find_unit(digit, conv, 64, 0, 0)
    assert caught.value.fields["valid"] == ["y 0..10", "x 0..10", "channel 0..63"]
    with pytest.raises(NotFoundError):
        find_unit(digit, conv, 0, -1, 0)
    with pytest.raises(InvalidInputError, match="both y and x"):
        find_unit(digit, conv, 0, 3, None)
    with pytest.raises(InvalidInputError, match="no rows and columns"):
        find_unit(digit, dense, 0, 0, 0)
