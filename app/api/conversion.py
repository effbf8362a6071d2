"""Turns what the program computes into the records of the Python API."""

from dataclasses import replace
from math import ceil

from app.api.layers import Activations, Explanation, Layer, Layers, Unit
from app.api.results import Line, Page, Prediction, Preparation
from app.api.wording import in_python
from app.imaging.decode import Upload
from app.imaging.polarity import DetectedPolarity
from app.inference.model import Model
from app.inspection import explanation as explanations
from app.inspection.activations import InspectedImage
from app.inspection.describe import Description, describe_layers, plain_config
from app.inspection.provenance import Provenance
from app.network.graph import IMAGE
from app.network.network import Network
from app.page_reading import Page as ReadPage
from app.page_reading import line_text
from app.predictions import InputSummary
from app.predictions import Prediction as Recognised
from app.preprocessing_report import PreparationReport
from app.recognise import summarise


def to_prediction(found: Recognised, model: Model) -> Prediction:
    """Return what a model has recognised, without the decoded image."""
    classes, upload, prepared = model.bundle.metadata.classes, found.upload, found.prepared
    return Prediction(
        digit=found.digit,
        label=classes[found.digit],
        confidence=found.confidence,
        probabilities=found.probabilities,
        runner_up=found.runner_up,
        verdict=found.verdict,
        score=found.score,
        classes=tuple(classes),
        pixels=prepared.pixels,
        input=_summarise(upload, prepared.polarity, prepared.warnings),
    )


def _summarise(
    upload: Upload, polarity: DetectedPolarity, warnings: tuple[str, ...]
) -> InputSummary:
    summary = summarise(upload, polarity, warnings)
    if not summary.warnings:
        return summary
    return replace(summary, warnings=tuple(map(in_python, summary.warnings)))


def to_page(found: ReadPage) -> Page:
    """Return a page that was read."""
    return Page(
        text=found.text,
        lines=tuple(Line(line_text(line), line) for line in found.lines),
        fields=found.fields,
        input=_summarise(found.upload, found.polarity, found.warnings),
        picture=found.upload.pixels,
    )


def to_preparation(report: PreparationReport, model: Model) -> Preparation:
    """Return the report on an image's preparation."""
    prepared = report.prediction.prepared
    without = {
        each.stage: to_prediction(each.prediction, model) if each.prediction else None
        for each in report.without
    }
    return Preparation(
        prediction=to_prediction(report.prediction, model),
        passthrough=prepared.passthrough,
        stages=prepared.stages,
        without=without,
    )


def to_layers(network: Network) -> Layers:
    """Return the layers of a network."""
    return Layers([_to_layer(each, network) for each in describe_layers(network)])


def _to_layer(description: Description, network: Network) -> Layer:
    layer, field = description.layer, description.receptive_field
    weights = {name: values.view() for name, values in layer.weights.items()}
    for values in weights.values():
        values.flags.writeable = False  # the network computes with them
    return Layer(
        index=layer.index,
        name=layer.name,
        type=layer.kind,
        description=description.sentence,
        formula=description.formula,
        inputs=tuple("image" if at == IMAGE else network.layers[at].name for at in layer.inputs),
        input_shapes=layer.input_shapes,
        shape=layer.shape,
        parameters=description.parameters,
        multiply_adds=description.multiply_adds,
        receptive_field=(ceil(field.size[0]), ceil(field.size[1])),
        weights=weights,
        config=dict(plain_config(layer)),
        computable=layer.operation is not None,
    )


def to_activations(inspected: InspectedImage, layer: Layer, prediction: Prediction) -> Activations:
    """Return the output of one layer."""
    return Activations(layer, inspected.outputs[layer.name], prediction)


def to_unit(found: Provenance, layer: Layer, prediction: Prediction) -> Unit:
    """Return where the value of one unit of a layer comes from."""
    address = found.unit
    return Unit(
        layer=layer,
        channel=address[-1],
        y=address[0] if len(address) > 1 else None,
        x=address[1] if len(address) > 2 else None,
        observed=found.observed,
        formula=found.formula,
        equation=found.equation,
        places={place.layer.name: place.box for place in found.places},
        image=found.image,
        upload=found.upload,
        prediction=prediction,
    )


def to_explanation(found: explanations.Explanation, model: Model) -> Explanation:
    """Return a map and its checks."""
    attribution = found.attribution
    return Explanation(
        method=found.method.name,
        target=found.question.target,
        contrast=found.question.contrast,
        value=found.value,
        map=attribution.values,
        text=explanations.describe_map(found, model.network),
        layer=attribution.layer,
        coarse=attribution.coarse,
        steps=attribution.steps,
        completeness=attribution.completeness,
        deletion=found.deletion,
        randomised=found.randomised,
        prediction=to_prediction(found.prediction, model),
    )
