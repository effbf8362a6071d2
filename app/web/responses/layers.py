"""Build the response bodies that describe a model's layers."""

from math import ceil
from typing import Any

from app.inference.model import Model
from app.inspection.describe import Description, plain_config
from app.network.geometry import ReceptiveField
from app.network.graph import IMAGE
from app.network.network import Layer, Network
from app.web.schemas.layers import (
    FieldAnswer,
    LayerAnswer,
    LayerName,
    LayersAnswer,
    WeightAnswer,
)
from app.web.schemas.predictions import ModelName


def model_name(model: Model) -> ModelName:
    """Return a model's name and version."""
    metadata = model.bundle.metadata
    return ModelName(name=metadata.name, version=metadata.version)


def layer_name(layer: Layer) -> LayerName:
    """Return the fields that identify a layer."""
    return LayerName(**layer_fields(layer))


def layer_fields(layer: Layer) -> dict[str, Any]:
    """Return the fields of `LayerName`, for the schemas that extend it."""
    return {"index": layer.index, "name": layer.name, "type": layer.kind}


def input_names(layer: Layer, network: Network) -> list[str]:
    """Return the names of the layers that feed a layer; `image` is the network's input."""
    return ["image" if at == IMAGE else network.layers[at].name for at in layer.inputs]


def layers_answer(model: Model, descriptions: list[Description]) -> LayersAnswer:
    """Build the body of `GET /models/{model}/layers`."""
    return LayersAnswer(
        model=model_name(model),
        classes=model.bundle.metadata.classes,
        input_shape=list(model.network.image_shape),
        parameters=sum(description.parameters for description in descriptions),
        multiply_adds=sum(description.multiply_adds for description in descriptions),
        layers=[_layer_answer(description, model.network) for description in descriptions],
    )


def _field_answer(field: ReceptiveField) -> FieldAnswer:
    stride, offset = field.places or (None, None)
    return FieldAnswer(
        size=(ceil(field.size[0]), ceil(field.size[1])), stride=stride, offset=offset
    )


def _layer_answer(description: Description, network: Network) -> LayerAnswer:
    layer, field = description.layer, description.receptive_field
    return LayerAnswer(
        **layer_fields(layer),
        description=description.sentence,
        formula=description.formula,
        config=dict(plain_config(layer)),
        inputs=input_names(layer, network),
        input_shapes=[list(shape) for shape in layer.input_shapes],
        output_shape=list(layer.shape),
        parameters=description.parameters,
        weights=[
            WeightAnswer(name=name, shape=list(values.shape))
            for name, values in layer.weights.items()
        ],
        multiply_adds=description.multiply_adds,
        receptive_field=_field_answer(field),
        active_at_inference=description.active_at_inference,
        computable=layer.operation is not None,
        changes_values=description.changes_values,
        keeps_channels=description.keeps_channels,
        convolution=description.convolution,
        activation=description.activation,
        ablatable=description.ablatable,
    )
