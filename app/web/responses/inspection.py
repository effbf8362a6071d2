"""Build the response bodies about one image inside a network: layers, units, comparisons."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.boxes import Box
from app.cancellation import check_cancelled
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
from app.inspection.comparison import Comparison, LayerComparison
from app.inspection.provenance import Provenance
from app.network.equation import Equation
from app.network.network import Layer
from app.render import png_base64
from app.web.responses.json_arrays import MAX_NUMBERS, rounded_list
from app.web.responses.layers import input_names, layer_fields, layer_name
from app.web.responses.predictions import prediction_answer
from app.web.schemas.inspection import (
    MAX_LISTED_VALUES,
    BoxOnImage,
    ChannelsAnswer,
    ComparisonAnswer,
    InspectionAnswer,
    LayerActivity,
    LayerComparisonAnswer,
    PlaceAnswer,
    RegionOnUpload,
    SheetAnswer,
    StatisticsAnswer,
    TraceAnswer,
    UnitAddress,
    UnitAnswer,
)

Floats = NDArray[np.floating[Any]]


def inspection_answer(inspected: InspectedImage, *, sheets: bool, scale: Scale) -> InspectionAnswer:
    """Build the body of `POST /inspect`.

    Args:
        inspected: The image and every layer's output.
        sheets: Whether to add a picture of each layer.
        scale: Whether a picture's tiles share one range of values.
    """
    return InspectionAnswer(
        prediction=prediction_answer(inspected.prediction, inspected.model.bundle),
        layers=[
            _layer_activity(layer, inspected.of(layer), sheets=sheets, scale=scale)
            for layer in inspected.model.network.layers
        ],
    )


def _layer_activity(layer: Layer, values: Floats, *, sheets: bool, scale: Scale) -> LayerActivity:
    check_cancelled()
    fits = values.size <= MAX_NUMBERS
    return LayerActivity(
        **layer_fields(layer),
        shape=list(layer.shape),
        statistics=_layer_statistics(values),
        channels=_channel_statistics(statistics(values)) if layer.positions else None,
        values=rounded_list(values.reshape(-1)) if _lists_values(layer, values) else None,
        dead=dead(values),
        saturated=saturated(layer, values),
        sheet=sheet_answer(make_sheet(values, scale), layer) if sheets and fits else None,
    )


def _lists_values(layer: Layer, values: Floats) -> bool:
    return not layer.spatial and values.size <= MAX_LISTED_VALUES


def _layer_statistics(values: Floats) -> StatisticsAnswer:
    low, high, mean, std = rounded_list([values.min(), values.max(), values.mean(), values.std()])
    argmax = np.unravel_index(int(values.argmax()), values.shape)
    return StatisticsAnswer(
        min=low,
        max=high,
        mean=mean,
        std=std,
        zeros=float((values == 0).mean()),
        argmax=[int(at) for at in argmax],
    )


def _channel_statistics(figures: Statistics) -> ChannelsAnswer:
    return ChannelsAnswer(
        min=rounded_list(figures.low),
        max=rounded_list(figures.high),
        mean=rounded_list(figures.mean),
        std=rounded_list(figures.std),
        zeros=rounded_list(figures.zeros),
        argmax=figures.strongest.tolist(),
    )


def sheet_answer(sheet: Sheet, layer: Layer) -> SheetAnswer:
    """Return a layer's picture as base64 PNG, with what a client needs to read values from it."""
    low, high = rounded_list(sheet.low), rounded_list(sheet.high)
    return SheetAnswer(
        png=png_base64(sheet.pixels),
        vmin=low if len(low) > 1 else low[0],
        vmax=high if len(high) > 1 else high[0],
        tile=sheet.tile,
        columns=sheet.columns,
        gap=sheet.gap,
        tiles=layer.channels if layer.spatial else 1,
    )


def unit_answer(inspected: InspectedImage, provenance: Provenance) -> UnitAnswer:
    """Build the body of `POST /layers/{layer}/unit`."""
    equation, unit = provenance.equation, provenance.unit
    y = unit[0] if len(unit) > 1 else None
    x = unit[1] if len(unit) > 2 else None
    return UnitAnswer(
        prediction=prediction_answer(inspected.prediction, inspected.model.bundle),
        layer=layer_name(provenance.layer),
        unit=UnitAddress(channel=unit[-1], y=y, x=x),
        inputs=input_names(provenance.layer, inspected.model.network),
        formula=provenance.formula,
        equation=equation.text,
        operands=_operand_lists(equation.operands),
        channel_sums=_channel_sums(equation),
        bias=equation.bias,
        pre_activation=equation.pre_activation,
        reconstructed=equation.value,
        observed=provenance.observed,
        abs_error=provenance.abs_error,
        trace=_trace(provenance),
    )


def _operand_lists(operands: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in operands.items()
    }


def _channel_sums(equation: Equation) -> list[float] | None:
    sums = equation.channel_sums
    return None if sums is None else [float(value) for value in sums]


def _trace(provenance: Provenance) -> TraceAnswer:
    image, upload = provenance.image, provenance.upload
    return TraceAnswer(
        layers=[
            PlaceAnswer(**layer_fields(place.layer), box=_box_on_image(place.box))
            for place in provenance.places
        ],
        image=_box_on_image(image) if image else None,
        upload=_region_on_upload(upload) if upload else None,
    )


def _box_on_image(box: Box[int]) -> BoxOnImage:
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


def _region_on_upload(box: Box[float]) -> RegionOnUpload:
    return RegionOnUpload(x=box.x, y=box.y, width=box.width, height=box.height)


def comparison_answer(comparison: Comparison) -> ComparisonAnswer:
    """Build the body of `POST /compare`."""
    first, second = (
        prediction_answer(inspected.prediction, inspected.model.bundle)
        for inspected in (comparison.first, comparison.second)
    )
    return ComparisonAnswer(
        predictions=(first, second),
        layers=[_layer_comparison(layer) for layer in comparison.layers],
        only_first=list(comparison.only_first),
        only_second=list(comparison.only_second),
        parted=layer_name(comparison.diverging) if comparison.diverging else None,
        text=(
            f"{_divergence_text(comparison)} The first is read as {first.label}, the second as"
            f" {second.label}."
        ),
    )


def _divergence_text(comparison: Comparison) -> str:
    if not comparison.layers:
        return "The models have no layer in common, so only their predictions can be compared."
    if comparison.diverging is None:
        return "The activations are similar in every layer that both models have."
    if comparison.diverging.index == 0:
        return "The activations differ from the first layer on."
    return f"The first layer in which the activations differ is {comparison.diverging.name!r}."


def _layer_comparison(comparison: LayerComparison) -> LayerComparisonAnswer:
    return LayerComparisonAnswer(
        layer=layer_name(comparison.layer),
        other=layer_name(comparison.other),
        cosine=comparison.cosine,
        relative_distance=comparison.relative_distance,
        max_difference=comparison.max_difference,
        alignment=comparison.alignment,
        channels=list(comparison.channels),
    )
