"""Build the response body of `POST /layers/{layer}/gradient-unit`."""

from app.inference.model import Model
from app.inspection.finite_difference import FiniteDifference
from app.inspection.gradient_terms import Factor
from app.inspection.gradient_unit import GradientUnit
from app.network.equation import number
from app.network.geometry import Unit
from app.web.responses.layers import layer_name
from app.web.responses.predictions import prediction_answer
from app.web.schemas.inspection import UnitAddress
from app.web.schemas.learning import (
    FactorAnswer,
    FiniteDifferenceAnswer,
    GradientUnitAnswer,
    OmittedAnswer,
    TermAnswer,
    WeightAddress,
)


def gradient_unit_answer(found: GradientUnit, model: Model) -> GradientUnitAnswer:
    """Build the body of `POST /layers/{layer}/gradient-unit`."""
    address = found.address
    is_weight = address.weight is not None
    return GradientUnitAnswer(
        prediction=prediction_answer(found.prediction, model.bundle),
        label=found.label,
        label_name=model.bundle.metadata.classes[found.label],
        loss=found.loss,
        layer=layer_name(found.layer),
        weight=WeightAddress(name=address.weight, index=list(address.index))
        if address.weight is not None
        else None,
        unit=None if is_weight else unit_address(address.index),
        value=found.value,
        gradient=found.gradient,
        sentence=_sentence(found),
        equation=found.equation,
        terms=[
            TermAnswer(factors=[_factor(factor) for factor in term.factors], product=term.product)
            for term in found.terms
        ],
        count=found.count,
        omitted=OmittedAnswer(count=found.count - len(found.terms), sum=found.omitted),
        finite_difference=_difference(found.difference, found.gradient),
    )


def unit_address(unit: Unit) -> UnitAddress | None:
    """Return the address of a unit; None in an output of more than three axes."""
    if len(unit) > 3:
        return None
    y, x = (unit[at] if len(unit) > at + 1 else None for at in (0, 1))
    return UnitAddress(channel=unit[-1], y=y, x=x)


def _factor(factor: Factor) -> FactorAnswer:
    return FactorAnswer(
        kind=factor.kind,
        what=factor.what,
        value=factor.value,
        layer=factor.layer and layer_name(factor.layer),
        unit=None if factor.unit is None else unit_address(factor.unit),
    )


def _sentence(found: GradientUnit) -> str:
    """Return what the gradient means, and what its sum runs over."""
    what = "activation" if found.address.weight is None else "weight"
    if not found.gradient:
        why = "the products cancel" if found.count else "every product is 0, as where a ReLU is off"
        return f"A small change of this {what} does not change the loss: {why}."
    kinds = {factor.kind for term in found.terms for factor in term.factors}
    rises = "rises" if found.gradient > 0 else "falls"
    start = (
        f"If this {what} grows a little, the loss {rises} by"
        f" {number(abs(found.gradient))} times as much."
    )
    if "probability" in kinds:
        return f"{start} At the softmax, the gradient is the probability minus the label: 1 or 0."
    if "gradient" not in kinds:
        return f"{start} The loss is -log of this probability, and its slope is -1 over it."
    units = "one unit" if found.count == 1 else f"{found.count} units"
    if what == "weight":
        return (
            f"{start} It helps to make {units} whose gradient is not 0; each adds what the weight"
            " multiplies there, times the gradient of the unit."
        )
    return (
        f"{start} It feeds {units} whose gradient is not 0; each adds the slope there, times the"
        " gradient of the unit."
    )


def _difference(found: FiniteDifference, gradient: float) -> FiniteDifferenceAnswer:
    error = found.relative_error(gradient)
    return FiniteDifferenceAnswer(
        epsilon=found.epsilon,
        loss_plus=found.plus,
        loss_minus=found.minus,
        gradient=found.gradient,
        relative_error=error,
        kink=found.kink,
        left=found.left,
        right=found.right,
        sentence=_difference_sentence(found, gradient, error),
    )


def _difference_sentence(found: FiniteDifference, gradient: float, error: float) -> str:
    if found.kink:
        return (
            f"The slope of the loss jumps here, from {number(found.left)} to {number(found.right)}:"
            " a ReLU or a maximum switches, such as two equal values of which max-pooling takes the"
            " first. Back-propagation gives the slope of one choice."
        )
    if not gradient and not found.gradient:
        return f"A change by {number(found.epsilon)} up and down leaves the loss as it is."
    return (
        f"A change by {number(found.epsilon)} up and down changes the loss by"
        f" {number(found.gradient)} for each unit, which is the sum above within {error:.1g} of it."
    )
