"""Build the response bodies of `/explain`, `/ablate` and `/neighbours`."""

from collections.abc import Sequence

import numpy as np

from app.inference.model import Model
from app.inspection.ablation import Ablation
from app.inspection.activations import InspectedImage
from app.inspection.attribution import DEFAULT_METHOD, METHODS
from app.inspection.explanation import Explanation, Randomised, describe_map
from app.inspection.methods.method import Completeness
from app.inspection.neighbours import Neighbour, Neighbourhood
from app.network.network import Layer
from app.render import diverging, png_base64
from app.web.responses.json_arrays import rounded_list
from app.web.responses.layers import layer_name
from app.web.responses.predictions import prediction_answer
from app.web.schemas.explanations import (
    AblationAnswer,
    ChangeAnswer,
    ChecksAnswer,
    CompletenessAnswer,
    DeletionAnswer,
    ExplanationAnswer,
    MethodAnswer,
    MethodsAnswer,
    NeighbourAnswer,
    NeighboursAnswer,
    RandomisedAnswer,
)


def methods_answer() -> MethodsAnswer:
    """Build the body of `GET /explain/methods`."""
    return MethodsAnswer(
        default=DEFAULT_METHOD,
        methods=[
            MethodAnswer(
                name=method.name,
                title=method.title,
                description=method.description,
                limits=method.limits,
                reference=method.reference,
                unit=method.unit,
                parameters=list(method.parameters),
                needs_gradients=method.needs_gradients,
            )
            for method in METHODS.values()
        ],
    )


def explanation_answer(explanation: Explanation, model: Model) -> ExplanationAnswer:
    """Build the body of `POST /explain`."""
    attribution, question = explanation.attribution, explanation.question
    limit = float(np.abs(attribution.values).max())
    return ExplanationAnswer(
        prediction=prediction_answer(explanation.prediction, model.bundle),
        method=explanation.method.name,
        target=question.target,
        contrast=question.contrast,
        value=explanation.value,
        map=rounded_list(attribution.values),
        min=float(attribution.values.min()),
        max=float(attribution.values.max()),
        png=png_base64(diverging(attribution.values, limit)),
        limit=limit,
        empty=explanation.empty,
        text=describe_map(explanation, model.network),
        layer=attribution.layer,
        coarse=None if attribution.coarse is None else rounded_list(attribution.coarse),
        completeness=_completeness(attribution.completeness),
        steps=attribution.steps,
        checks=_checks(explanation),
    )


def _completeness(completeness: Completeness | None) -> CompletenessAnswer | None:
    if completeness is None:
        return None
    return CompletenessAnswer(
        map_sum=completeness.map_sum,
        difference=completeness.difference,
        error=completeness.error,
        relative_error=completeness.relative_error,
    )


def _checks(explanation: Explanation) -> ChecksAnswer | None:
    deletion = explanation.deletion
    if deletion is None:
        return None
    return ChecksAnswer(
        deletion=DeletionAnswer(
            fractions=rounded_list(deletion.fractions),
            by_map=rounded_list(deletion.by_map),
            at_random=rounded_list(deletion.at_random),
            area_by_map=deletion.area_by_map,
            area_at_random=deletion.area_at_random,
            better_than_random=deletion.better_than_random,
            random_orders=deletion.random_orders,
        ),
        randomised=_randomised(explanation.randomised),
    )


def _randomised(randomised: Randomised | None) -> RandomisedAnswer | None:
    if randomised is None:
        return None
    return RandomisedAnswer(
        map=rounded_list(randomised.values),
        similarity=randomised.similarity,
        similarity_on_ink=randomised.on_ink,
    )


def ablation_answer(
    inspected: InspectedImage,
    layer: Layer,
    target: int,
    baseline: Ablation,
    ablations: list[Ablation],
) -> AblationAnswer:
    """Build the body of `POST /ablate`.

    Args:
        inspected: The image and every layer's output.
        layer: The layer whose channels are switched off.
        target: The digit whose logit is compared.
        baseline: The prediction with all channels.
        ablations: The predictions without some channels.
    """
    return AblationAnswer(
        prediction=prediction_answer(inspected.prediction, inspected.model.bundle),
        layer=layer_name(layer),
        target=target,
        baseline_logit=float(baseline.logits[target]),
        ablations=[
            _change(ablation, baseline, target, inspected.model.bundle.metadata.classes)
            for ablation in ablations
        ],
    )


def _change(
    ablation: Ablation, baseline: Ablation, target: int, classes: Sequence[str]
) -> ChangeAnswer:
    digit = int(ablation.logits.argmax())
    return ChangeAnswer(
        channels=list(ablation.channels),
        digit=digit,
        label=classes[digit],
        probabilities=ablation.probabilities.tolist(),
        logits=rounded_list(ablation.logits),
        logit_change=float(ablation.logits[target] - baseline.logits[target]),
        probability_change=float(ablation.probabilities[target] - baseline.probabilities[target]),
        changed=digit != int(baseline.logits.argmax()),
    )


def neighbours_answer(neighbourhood: Neighbourhood, model: Model) -> NeighboursAnswer:
    """Build the body of `POST /neighbours`."""
    labels = [neighbour.label for neighbour in neighbourhood.nearest]
    percentile = round(neighbourhood.percentile, 1)
    nearest = neighbourhood.nearest[0].distance
    return NeighboursAnswer(
        prediction=prediction_answer(neighbourhood.prediction, model.bundle),
        neighbours=[_neighbour(neighbour) for neighbour in neighbourhood.nearest],
        votes={label: labels.count(label) for label in sorted(set(labels))},
        among=neighbourhood.searched,
        percentile=percentile,
        typical_distance=neighbourhood.typical_distance,
        text=(
            f"The nearest of {neighbourhood.searched} training digits is at a distance of"
            f" {nearest:.2f}, farther than for {percentile:g} % of held-out digits (median"
            f" {neighbourhood.typical_distance:.2f})."
        ),
    )


def _neighbour(neighbour: Neighbour) -> NeighbourAnswer:
    return NeighbourAnswer(
        index=neighbour.index,
        label=neighbour.label,
        distance=neighbour.distance,
        image=png_base64(neighbour.image),
    )
