"""Where a number comes from: every equation against the tensor, every field against the network."""

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
def looks(
    classic: Model, kinds_model: Model, ensemble_model: Model, digits: Digits
) -> dict[str, InspectedImage]:
    """One digit in each of the networks."""
    found = {"classic": inspect_image(sample_png(4), classic, Options())}
    for name, model in (("kinds", kinds_model), ("ensemble", ensemble_model)):
        outputs = model.runtime.inspect(found["classic"].prediction.prepared.pixels[None])
        values = {layer: out[0] for layer, out in outputs.items()}
        found[name] = InspectedImage(model, found["classic"].prediction, values)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_every_equation_gives_the_number(looks: dict[str, InspectedImage], name: str) -> None:
    """In every layer, corners and random units alike, the equation is right within 1e-4."""
    seen, rng = looks[name], np.random.default_rng(1)
    for layer in seen.model.network.layers:
        corners = [tuple(0 for _ in layer.shape), tuple(size - 1 for size in layer.shape)]
        random = [tuple(int(rng.integers(size)) for size in layer.shape) for _ in range(6)]
        for unit in (*corners, *random):
            found = explain_unit(seen, layer, unit)
            assert found.observed == seen.of(layer)[unit]
            assert found.abs_error <= 1e-4 * max(1.0, abs(found.observed)), (layer.name, unit)
            assert found.equation.text
            assert found.formula


@pytest.mark.parametrize("name", MODELS)
def test_what_lies_outside_the_traced_box_does_not_matter(
    looks: dict[str, InspectedImage], digits: Digits, name: str
) -> None:
    """Changing every pixel outside a unit's box on the image leaves the unit as it was."""
    seen = looks[name]
    network, image = seen.model.network, seen.image
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


def test_fields_of_the_classic_network(classic: Model) -> None:
    """Size, stride and offset grow as known for two blocks of two 3x3 convolutions."""
    network, found = classic.network, receptive_fields(classic.network)
    by_name = {layer.name: found[layer.index] for layer in network.layers}
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
    """A unit whose field lies on the image sees just that box."""
    network = classic.network
    for layer, field in zip(network.layers, receptive_fields(network), strict=True):
        if field.stride is None or field.offset is None:
            continue
        y, x = layer.shape[0] // 2, layer.shape[1] // 2
        top, left = (field.offset[axis] + field.stride[axis] * at for axis, at in ((0, y), (1, x)))
        expected = Box(left, top, width=field.size[1], height=field.size[0])
        assert trace(network, layer, (y, x, 0))[IMAGE] == expected


def test_flattened_unit_is_traced_to_its_place(classic: Model) -> None:
    """A unit of the flat layer sees what it saw before it was flat; padding sees nothing."""
    network = classic.network
    flat, pool = network.find("flatten"), network.find("pool_2")
    unit = (3 * 5 + 1) * 64 + 7  # row 3, column 1, channel 7 of 5x5x64
    assert trace(network, flat, (unit,))[IMAGE] == trace(network, pool, (3, 1, 7))[IMAGE]
    assert IMAGE not in trace(network, network.find("pad_1"), (0, 5, 0))


def test_region_on_the_upload_covers_whole_pixels() -> None:
    """Pixel (y, x) of the 28x28 covers a square of the upload around its own centre."""
    same = on_upload(Box(0, 0, 28, 28), Placement(1.0, 1.0, 0.0, 0.0))
    assert (same.x, same.y, same.width, same.height) == (0.0, 0.0, 28.0, 28.0)
    scaled = on_upload(Box(3, 2, width=1, height=3), Placement(10.0, 5.0, 100.0, 7.0))
    assert (scaled.y, scaled.height) == (100 + 10 * 1.5 + 0.5, 30.0)
    assert (scaled.x, scaled.width) == (7 + 5 * 2.5 + 0.5, 5.0)


def test_operands_and_channel_sums_add_up(looks: dict[str, InspectedImage]) -> None:
    """The products of a convolution sum to its channels' sums, and these to the value."""
    seen = looks["classic"]
    layer = seen.model.network.find("conv_2_1")
    found = explain_unit(seen, layer, (3, 4, 5)).equation
    products = found.operands["patch"] * found.operands["kernel"]
    np.testing.assert_allclose(products, found.operands["products"])
    np.testing.assert_allclose(products.sum(axis=(0, 1)), found.channel_sums)
    assert found.channel_sums is not None
    assert found.value == pytest.approx(found.channel_sums.sum())
    dense = explain_unit(seen, seen.model.network.find("dense"), (9,)).equation
    assert dense.channel_sums is not None
    assert dense.channel_sums.shape == (64,)
    assert dense.value == pytest.approx(dense.channel_sums.sum())


def test_left_out_address_is_the_strongest_unit(looks: dict[str, InspectedImage]) -> None:
    """What is not said of a unit's address is chosen where the layer is strongest."""
    seen = looks["classic"]
    layer = seen.model.network.find("relu_2_1")
    values = seen.of(layer)
    assert values[find_unit(seen, layer, None, None, None)] == values.max()
    assert find_unit(seen, layer, 9, None, None)[2] == 9
    assert values[find_unit(seen, layer, 9, None, None)] == values[..., 9].max()
    assert find_unit(seen, layer, 9, 2, 3) == (2, 3, 9)


def test_wrong_addresses_say_what_is_right(looks: dict[str, InspectedImage]) -> None:
    """Units outside the layer are not found; half an address is refused."""
    seen = looks["classic"]
    conv, dense = (seen.model.network.find(name) for name in ("conv_2_2", "dense"))
    with pytest.raises(NotFoundError) as caught:
        find_unit(seen, conv, 64, 0, 0)
    assert caught.value.fields["valid"] == ["y 0..10", "x 0..10", "channel 0..63"]
    with pytest.raises(NotFoundError):
        find_unit(seen, conv, 0, -1, 0)
    with pytest.raises(InvalidInputError, match="both y and x"):
        find_unit(seen, conv, 0, 3, None)
    with pytest.raises(InvalidInputError, match="no rows and columns"):
        find_unit(seen, dense, 0, 0, 0)
