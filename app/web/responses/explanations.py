"""Build the response bodies of `/explain`, `/ablate` and `/neighbours`."""

import base64

import numpy as np

from app.inference.model import Model
from app.inspection.ablation import Ablation
from app.inspection.activations import InspectedImage
from app.inspection.attribution import Method
from app.inspection.explanation import Explanation
from app.inspection.neighbours import Neighbour, Neighbourhood
from app.network.network import Layer
from app.render import diverging, to_png
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
    NeighbourAnswer,
    NeighboursAnswer,
    RandomisedAnswer,
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
        map=rounded_list(made.values),
        min=float(made.values.min()),
        max=float(made.values.max()),
        png=base64.b64encode(to_png(diverging(made.values, limit))).decode(),
        limit=limit,
        empty=found.empty,
        text=_explained(found, method, model),
        layer=made.layer,
        coarse=None if made.coarse is None else rounded_list(made.coarse),
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
            fractions=rounded_list(deleted.fractions),
            by_map=rounded_list(deleted.by_map),
            at_random=rounded_list(deleted.at_random),
            area_by_map=deleted.area_by_map,
            area_at_random=deleted.area_at_random,
            better_than_random=deleted.area_by_map < deleted.area_at_random,
        ),
        randomised=RandomisedAnswer(
            map=rounded_list(shuffled.values),
            similarity=shuffled.similarity,
            similarity_on_ink=shuffled.on_ink,
        ),
    )


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
        logits=rounded_list(one.logits),
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
