"""From what looking inside finds to the bodies of answers."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.boxes import Box
from app.inference.registry import Model
from app.inspection.ablation import Ablation
from app.inspection.activations import (
    InspectedImage,
    Scale,
    Sheet,
    Statistics,
    dead,
    make_sheet,
    saturated,
    statistics,
)
from app.inspection.attribution import Method
from app.inspection.comparison import Comparison, LayerComparison
from app.inspection.describe import Description, plain_config
from app.inspection.explanation import Explanation
from app.inspection.neighbours import Neighbour, Neighbourhood
from app.inspection.provenance import Provenance
from app.network.network import Layer, Network
from app.render import diverging, to_png
from app.web.responses.predictions import prediction_answer
from app.web.schemas.inspection import (
    AblationAnswer,
    BoxOnImage,
    ChangeAnswer,
    ChannelsAnswer,
    ChecksAnswer,
    ComparisonAnswer,
    CompletenessAnswer,
    DeletionAnswer,
    ExplanationAnswer,
    FieldAnswer,
    InspectionAnswer,
    LayerActivity,
    LayerAnswer,
    LayerComparisonAnswer,
    LayerName,
    LayersAnswer,
    NeighbourAnswer,
    NeighboursAnswer,
    PlaceAnswer,
    RandomisedAnswer,
    RegionOnUpload,
    SheetAnswer,
    StatisticsAnswer,
    TraceAnswer,
    UnitAddress,
    UnitAnswer,
    WeightAnswer,
)
from app.web.schemas.predictions import ModelName

Numbers = NDArray[np.floating[Any]]
DIGITS = 7  # significant digits of numbers in JSON, counted from the largest of an array


def numbers(values: Any) -> Any:
    """Return nested lists, rounded to about seven digits of the largest."""
    wide = np.asarray(values, np.float64)
    largest = float(np.abs(wide).max()) if wide.size else 0.0
    if not largest:
        return wide.tolist()
    return np.round(wide, max(0, DIGITS - 1 - int(np.floor(np.log10(largest))))).tolist()


def model_name(model: Model) -> ModelName:
    """Name a model."""
    metadata = model.bundle.metadata
    return ModelName(name=metadata.name, version=metadata.version)


def layer_name(layer: Layer) -> LayerName:
    """Name a layer."""
    return LayerName(**_name(layer))


def _name(layer: Layer) -> dict[str, Any]:
    return {"index": layer.index, "name": layer.name, "type": layer.kind}


def _inputs(layer: Layer, network: Network) -> list[str]:
    return [network.layers[at].name if at >= 0 else "image" for at in layer.inputs]


def layers_answer(model: Model, descriptions: list[Description]) -> LayersAnswer:
    """Put a network into its answer."""
    return LayersAnswer(
        model=model_name(model),
        input_shape=list(model.network.image_shape),
        parameters=sum(one.parameters for one in descriptions),
        multiply_adds=sum(one.multiply_adds for one in descriptions),
        layers=[_layer_answer(one, model.network) for one in descriptions],
    )


def _layer_answer(one: Description, network: Network) -> LayerAnswer:
    layer, field = one.layer, one.field
    return LayerAnswer(
        **_name(layer),
        description=one.sentence,
        formula=one.formula,
        config=dict(plain_config(layer)),
        inputs=_inputs(layer, network),
        input_shapes=[list(shape) for shape in layer.input_shapes],
        output_shape=list(layer.shape),
        parameters=one.parameters,
        weights=[
            WeightAnswer(name=name, shape=list(values.shape))
            for name, values in layer.weights.items()
        ],
        multiply_adds=one.multiply_adds,
        receptive_field=FieldAnswer(size=field.size, stride=field.stride, offset=field.offset),
        active_at_inference=one.active_at_inference,
        computable=layer.operation is not None,
    )


def inspection_answer(inspected: InspectedImage, *, sheets: bool, scale: Scale) -> InspectionAnswer:
    """Put a look into its answer."""
    return InspectionAnswer(
        prediction=prediction_answer(inspected.prediction, inspected.model.bundle),
        layers=[
            _activity(layer, inspected.of(layer), sheets=sheets, scale=scale)
            for layer in inspected.model.network.layers
        ],
    )


def _activity(layer: Layer, values: Numbers, *, sheets: bool, scale: Scale) -> LayerActivity:
    return LayerActivity(
        **_name(layer),
        shape=list(layer.shape),
        statistics=_overall(values),
        channels=_channels(statistics(values)) if layer.spatial else None,
        values=None if layer.spatial else numbers(values.reshape(-1)),
        dead=dead(values),
        saturated=saturated(layer, values),
        sheet=sheet_answer(make_sheet(values, scale), layer) if sheets else None,
    )


def _overall(values: Numbers) -> StatisticsAnswer:
    low, high, mean, std = numbers([values.min(), values.max(), values.mean(), values.std()])
    where = np.unravel_index(int(values.argmax()), values.shape)
    return StatisticsAnswer(
        min=low,
        max=high,
        mean=mean,
        std=std,
        zeros=float((values == 0).mean()),
        argmax=[int(at) for at in where],
    )


def _channels(figures: Statistics) -> ChannelsAnswer:
    return ChannelsAnswer(
        min=numbers(figures.low),
        max=numbers(figures.high),
        mean=numbers(figures.mean),
        std=numbers(figures.std),
        zeros=numbers(figures.zeros),
        argmax=figures.strongest.tolist(),
    )


def sheet_answer(sheet: Sheet, layer: Layer) -> SheetAnswer:
    """Put a sheet into its answer."""
    low, high = numbers(sheet.low), numbers(sheet.high)
    return SheetAnswer(
        png=base64.b64encode(to_png(sheet.pixels)).decode(),
        vmin=low if len(low) > 1 else low[0],
        vmax=high if len(high) > 1 else high[0],
        tile=sheet.tile,
        columns=sheet.columns,
        gap=sheet.gap,
        tiles=layer.channels if layer.spatial else 1,
    )


def unit_answer(inspected: InspectedImage, found: Provenance) -> UnitAnswer:
    """Put a traced unit into its answer."""
    equation, unit = found.equation, found.unit
    y, x = (unit[0], unit[1]) if len(unit) == 3 else (None, None)
    return UnitAnswer(
        prediction=prediction_answer(inspected.prediction, inspected.model.bundle),
        layer=layer_name(found.layer),
        unit=UnitAddress(channel=unit[-1], y=y, x=x),
        inputs=_inputs(found.layer, inspected.model.network),
        formula=found.formula,
        equation=equation.text,
        operands=_plain(equation.operands),
        channel_sums=_list(equation.channel_sums),
        bias=equation.bias,
        pre_activation=equation.before,
        reconstructed=equation.value,
        observed=found.observed,
        abs_error=found.abs_error,
        trace=TraceAnswer(
            layers=[
                PlaceAnswer(**_name(place.layer), box=_box(place.box)) for place in found.places
            ],
            image=_box(found.image) if found.image else None,
            upload=_region(found.upload) if found.upload else None,
        ),
    )


def _plain(operands: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in operands.items()
    }


def _list(values: Numbers | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values]


def _box(box: Box[int]) -> BoxOnImage:
    return BoxOnImage(
        x=box.x,
        y=box.y,
        width=box.width,
        height=box.height,
        top=box.y,
        left=box.x,
        bottom=box.bottom - 1,
        right=box.right - 1,
    )


def _region(box: Box[float]) -> RegionOnUpload:
    return RegionOnUpload(x=box.x, y=box.y, width=box.width, height=box.height)


def ablation_answer(
    inspected: InspectedImage, layer: Layer, target: int, baseline: Ablation, found: list[Ablation]
) -> AblationAnswer:
    """Put ablations into their answer."""
    return AblationAnswer(
        prediction=prediction_answer(inspected.prediction, inspected.model.bundle),
        layer=layer_name(layer),
        target=target,
        baseline_logit=float(baseline.logits[target]),
        ablations=[_change(one, baseline, target) for one in found],
    )


def _change(one: Ablation, baseline: Ablation, target: int) -> ChangeAnswer:
    digit = int(one.logits.argmax())
    return ChangeAnswer(
        channels=list(one.channels),
        digit=digit,
        probabilities=one.probabilities.tolist(),
        logits=numbers(one.logits),
        logit_change=float(one.logits[target] - baseline.logits[target]),
        probability_change=float(one.probabilities[target] - baseline.probabilities[target]),
        changed=digit != int(baseline.logits.argmax()),
    )


def neighbours_answer(found: Neighbourhood, model: Model) -> NeighboursAnswer:
    """Put a neighbourhood into its answer."""
    labels = [one.label for one in found.nearest]
    share = round(found.percentile, 1)
    return NeighboursAnswer(
        prediction=prediction_answer(found.prediction, model.bundle),
        neighbours=[_neighbour(one) for one in found.nearest],
        votes={label: labels.count(label) for label in sorted(set(labels))},
        among=found.among,
        percentile=share,
        typical_distance=found.typical,
        text=(
            f"The nearest of {found.among} training digits lies {found.nearest[0].distance:.2f}"
            f" away, farther than for {share:g} % of held-out digits (median"
            f" {found.typical:.2f})."
        ),
    )


def _neighbour(one: Neighbour) -> NeighbourAnswer:
    image = base64.b64encode(to_png(one.image)).decode()
    return NeighbourAnswer(index=one.index, label=one.label, distance=one.distance, image=image)


def comparison_answer(found: Comparison) -> ComparisonAnswer:
    """Put a comparison into its answer."""
    first, second = (
        prediction_answer(inspected.prediction, inspected.model.bundle)
        for inspected in (found.first, found.second)
    )
    if not found.layers:
        text = "They have no layer in common, so that only their answers can be compared."
    elif found.parted is None:
        text = "They are alike in every layer that both have."
    elif found.parted.index == 0:
        text = "They are unlike from the first layer on."
    else:
        text = f"They are alike up to the layer {found.parted.name!r}, where they part."
    text += f" The first is read as {first.digit}, the second as {second.digit}."
    return ComparisonAnswer(
        predictions=(first, second),
        layers=[_compared(one) for one in found.layers],
        only_first=list(found.only_first),
        only_second=list(found.only_second),
        parted=layer_name(found.parted) if found.parted else None,
        text=text,
    )


def _compared(one: LayerComparison) -> LayerComparisonAnswer:
    return LayerComparisonAnswer(
        layer=layer_name(one.layer),
        other=layer_name(one.other),
        cosine=one.cosine,
        relative_distance=one.distance,
        max_difference=one.largest,
        alignment=one.alignment,
        channels=list(one.channels),
    )


def explanation_answer(found: Explanation, model: Model, method: Method) -> ExplanationAnswer:
    """Put an explanation into its answer."""
    made, question = found.attribution, found.question
    limit = float(np.abs(made.values).max())
    return ExplanationAnswer(
        prediction=prediction_answer(found.prediction, model.bundle),
        method=method,
        target=question.target,
        contrast=question.contrast,
        value=found.value,
        map=numbers(made.values),
        min=float(made.values.min()),
        max=float(made.values.max()),
        png=base64.b64encode(to_png(diverging(made.values, limit))).decode(),
        limit=limit,
        empty=found.empty,
        text=_explained(found, method, model),
        layer=made.layer,
        coarse=None if made.coarse is None else numbers(made.coarse),
        completeness=_completeness(found),
        checks=_checks(found),
    )


def _explained(found: Explanation, method: Method, model: Model) -> str:
    question = found.question
    alone = model.network.logits is None  # probabilities, of several networks
    what = f"the {'logarithm of the probability' if alone else 'logit'} of {question.target}"
    if question.contrast is not None:
        what = f"how far {question.target} is above {question.contrast}"
    if found.empty:
        return f"The explanation is empty: by {method} no pixel has a part in {what}."
    y, x = np.unravel_index(int(found.attribution.values.argmax()), (28, 28))
    text = f"By {method}, the pixel in row {y}, column {x} speaks most for {what}."
    if found.deletion is None:
        return text
    better = found.deletion.area_by_map < found.deletion.area_at_random
    return text + (
        " Deleting ink in the map's order lowers it faster than at random."
        if better
        else " Deleting ink in the map's order does not lower it faster than at random: distrust"
        " this map."
    )


def _completeness(found: Explanation) -> CompletenessAnswer | None:
    reached, expected = found.attribution.reached, found.attribution.expected
    if reached is None or expected is None:
        return None
    error = abs(reached - expected)
    return CompletenessAnswer(
        map_sum=reached,
        difference=expected,
        error=error,
        relative_error=error / max(abs(expected), 1e-9),
    )


def _checks(found: Explanation) -> ChecksAnswer | None:
    deleted, shuffled = found.deletion, found.randomised
    if deleted is None or shuffled is None:
        return None
    return ChecksAnswer(
        deletion=DeletionAnswer(
            fractions=numbers(deleted.fractions),
            by_map=numbers(deleted.by_map),
            at_random=numbers(deleted.at_random),
            area_by_map=deleted.area_by_map,
            area_at_random=deleted.area_at_random,
            better_than_random=deleted.area_by_map < deleted.area_at_random,
        ),
        randomised=RandomisedAnswer(
            map=numbers(shuffled.values),
            similarity=shuffled.similarity,
            similarity_on_ink=shuffled.on_ink,
        ),
    )
