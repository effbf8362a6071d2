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
        why = "the products add up to 0" if found.count else "every product is 0"
        return f"A small change of this {what} does not change the loss, because {why}."
    kinds = {factor.kind for term in found.terms for factor in term.factors}
    rises = "rises" if found.gradient > 0 else "falls"
    start = (
        f"If this {what} grows by a small step, the loss {rises} by about"
        f" {number(abs(found.gradient))} times that step."
    )
    if "probability" in kinds:
        return (
            f"{start} Back-propagation starts here: the gradient is the probability minus the"
            " label. The label is 1 for the right class and 0 for every other class."
        )
    if "gradient" not in kinds:
        return f"{start} The loss is -log(p), where p is this probability. Its slope is -1/p."
    units = "one unit" if found.count == 1 else f"{found.count} units"
    adds = "It adds one product" if found.count == 1 else "Each of them adds one product"
    if what == "weight":
        return (
            f"{start} The weight is used by {units} whose gradient is not 0. {adds}: the value that"
            " the weight multiplies there, times the gradient of that unit."
        )
    return (
        f"{start} This value is read by {units} whose gradient is not 0. {adds}: how fast the unit"
        " grows with this value, times the gradient of that unit."
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
            f"The loss has a kink here: its slope is {number(found.left)} on one side and"
            f" {number(found.right)} on the other. A ReLU switches there, or max-pooling finds two"
            " equal values and takes the first. Back-propagation gives the slope of one choice."
        )
    if not gradient and not found.gradient:
        step = number(found.epsilon)
        return f"With {step} more or {step} less, the loss stays as it is."
    return (
        f"With {number(found.epsilon)} more and {number(found.epsilon)} less, the loss changes by"
        f" {number(found.gradient)} times the change. The sum above gives the same number, with a"
        f" relative error of {error:.1g}."
    )
