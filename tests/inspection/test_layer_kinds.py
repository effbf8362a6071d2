"""The facts on layer kinds: none can be missing, and the service states them for each layer."""

import inspect

import pytest

from app.inference.model import Model
from app.inspection.describe import Description, describe_layers
from app.network.kinds import KINDS
from app.network.layers.cropping import Crop
from app.network.operation import LayerKind, Operation, no_weights

PARTS = sorted(Operation.__abstractmethods__)


@pytest.fixture(scope="module")
def classic_layers(classic: Model) -> dict[str, Description]:
    """Return the descriptions of the classic network, by layer."""
    return {entry.layer.name: entry for entry in describe_layers(classic.network)}


@pytest.fixture(scope="module")
def mixed_layers(kinds_model: Model) -> dict[str, Description]:
    """Return the descriptions of the network of many kinds, by layer."""
    return {entry.layer.name: entry for entry in describe_layers(kinds_model.network)}


def test_an_operation_has_to_state_these_facts() -> None:
    """The abstract class names every part; a new part must be added here, too."""
    assert PARTS == [
        "backward",
        "changes_values",
        "equation",
        "footprint",
        "formula",
        "forward",
        "keeps_channels",
        "multiply_adds",
        "sentence",
        "tangent",
    ]


@pytest.mark.parametrize("missing", PARTS)
def test_a_kind_without_one_of_its_parts_is_refused(missing: str) -> None:
    """A cropping that lacks one fact cannot be instantiated, and the error names the fact."""
    parts = {name: getattr(Crop, name) for name in PARTS if name != missing}
    incomplete = type("Incomplete", (Operation,), parts)
    with pytest.raises(TypeError, match=missing):
        incomplete()


def test_a_kind_without_weight_names_is_refused() -> None:
    """A registration needs both the builder and the names of the weights."""
    with pytest.raises(TypeError, match="weight_names"):
        LayerKind(lambda saved: None)  # type: ignore[call-arg]
    assert LayerKind(lambda saved: None, no_weights).weight_names({}) == ()


def test_all_layers_of_the_test_network_are_registered_and_complete(kinds_model: Model) -> None:
    """Each class is in the registry, and its operation has no abstract part."""
    for layer in kinds_model.network.layers:
        assert layer.kind in KINDS
        assert layer.operation is not None
        assert not inspect.isabstract(type(layer.operation))


def test_layers_that_only_move_values_do_not_change_them(
    classic_layers: dict[str, Description], mixed_layers: dict[str, Description]
) -> None:
    """Padding, dropout, flatten, reshape and concatenation copy values; all others compute."""
    copying = {name for name, entry in classic_layers.items() if not entry.changes_values}
    assert copying == {
        "pad_1",
        "pad_2",
        "dropout_1",
        "dropout_2",
        "dropout_dense",
        "flatten",
    }
    copying = {name for name, entry in mixed_layers.items() if not entry.changes_values}
    assert copying == {"drop", "join", "all", "reshape", "flatten"}


@pytest.mark.parametrize(
    ("layer", "keeps", "convolution"),
    [
        ("rescale", True, None),
        ("strided", False, "strided"),
        ("depthwise", False, None),  # its kernel has one table for each input channel
        ("norm", True, None),
        ("grouped", False, "grouped"),
        ("leaky", True, "grouped"),
        ("add", False, None),
        ("average", True, None),
        ("join", False, None),
    ],
)
def test_channels_are_those_of_the_last_convolution(
    mixed_layers: dict[str, Description], layer: str, keeps: bool, convolution: str | None
) -> None:
    """A layer names the convolution behind it if all layers between keep channels apart."""
    entry = mixed_layers[layer]
    assert (entry.keeps_channels, entry.convolution) == (keeps, convolution)


def test_activation_is_the_function_that_makes_the_output(
    classic_layers: dict[str, Description], mixed_layers: dict[str, Description]
) -> None:
    """The function's name is given for layers of their own and inside other layers."""
    names = {name: entry.activation for name, entry in {**mixed_layers, **classic_layers}.items()}
    expected = {"strided": "relu", "wide": "tanh", "silu": "silu", "relu_1_1": "relu"}
    assert {name: names[name] for name in expected} == expected
    assert names["softmax"] == "softmax"
    assert names["depthwise"] is names["norm"] is names["conv_1_1"] is None


def test_layers_up_to_the_logits_are_ablatable(classic_layers: dict[str, Description]) -> None:
    """Channels can be switched off in every layer that the logits depend on."""
    assert [name for name, entry in classic_layers.items() if not entry.ablatable] == ["softmax"]
