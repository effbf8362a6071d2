"""Measures published bundles again and compares with their cards.

Opens the test split. `training.verify` compares without it.
"""

from collections.abc import Sequence
from itertools import combinations

import typer

from app.bundle import Bundle, Evaluation, Metadata, seal
from app.inference.litert_runtime import open_runtime
from app.terminal import fail, say
from training import card, robustness
from training.data import Split, hold_out
from training.evaluate import evaluate, evaluate_probabilities, mcnemar, microseconds_per_image
from training.predictions import read_predictions
from training.table import markdown, row

# Largest accepted difference of a log-likelihood (nats) or a calibration error between processors.
ROUNDING = 2e-4


def evaluate_one(bundle: Bundle, train: Split, test: Split) -> None:
    """Print a model's figures; exit with 1 if they are not those of its card."""
    measured = _measure(bundle, train, test)
    say(f"{bundle.metadata.name}, version {bundle.metadata.version}")
    for evaluation in measured:
        say(*card.figures(evaluation).splitlines())
    if differing := _differing(measured, bundle.metadata):
        fail(f"These are not the figures of the model card: {', '.join(differing)}.")
        raise typer.Exit(1)
    say("These are the figures of the model card.")


def evaluate_all(bundles: Sequence[Bundle], train: Split, test: Split) -> None:
    """Print a table of models; exit with 1 if one of them is not as its card says."""
    rows, tests, differing = [], {}, []
    for bundle in bundles:
        name = bundle.metadata.name
        validation, on_test = _measure(bundle, train, test)
        microseconds = microseconds_per_image(open_runtime(bundle))
        tests[name] = on_test
        rows.append(row(bundle.metadata, validation, on_test, microseconds))
        differing += [
            f"{name} ({split})" for split in _differing((validation, on_test), bundle.metadata)
        ]
    say(*markdown(rows).splitlines())
    for (name, ours), (other, theirs) in combinations(tests.items(), 2):
        only_ours, only_theirs, p_value = mcnemar(ours, theirs)
        say(
            f"{name} alone misreads {only_ours}, {other} alone {only_theirs}: p = {p_value:.2g}"
            " (McNemar)"
        )
    if differing:
        fail(f"These are not the figures of the model cards: {', '.join(differing)}.")
        raise typer.Exit(1)
    say("These are the figures of the model cards.")


def _measure(bundle: Bundle, train: Split, test: Split) -> tuple[Evaluation, Evaluation]:
    """Return the figures on the held-out digits and on the test split.

    The held-out figures of a refitted model are of the network before its refit, whose answers the
    bundle stores.
    """
    _, validation = hold_out(train, bundle.metadata.held_out.digits)
    served = open_runtime(bundle, threads=2)
    if bundle.metadata.refitted:
        stored = read_predictions(bundle).unseen.outputs()
        held_out = evaluate_probabilities(stored.probabilities, validation, "validation")
    else:
        held_out = evaluate(served, validation, "validation")
    return held_out, evaluate(served, test, "test")


def _differing(measured: Sequence[Evaluation], metadata: Metadata) -> list[str]:
    """Return the splits whose figures differ from those of the card.

    The answers must be the same digit by digit. Probabilities may differ in their last places
    between processors.
    """
    published = (metadata.validation, metadata.test)
    return [
        now.split
        for now, then in zip(measured, published, strict=True)
        if then
        and (
            (now.digits, now.confusion) != (then.digits, then.confusion)
            or abs(now.negative_log_likelihood - then.negative_log_likelihood) > ROUNDING
            or abs(now.expected_calibration_error - then.expected_calibration_error) > ROUNDING
        )
    ]


def rewrite_card(bundle: Bundle, train: Split, test: Split) -> None:
    """Measure a bundle again, write its card with the new figures, and seal it.

    Exits with code 1 if the figures are not those that were published.
    """
    metadata = bundle.metadata
    measured = _measure(bundle, train, test)
    if differing := _differing(measured, metadata):
        fail(f"These are not the figures that were published: {', '.join(differing)}.")
        raise typer.Exit(1)
    update = {"test": measured[1], "microseconds": microseconds_per_image(open_runtime(bundle))}
    if not metadata.refitted:  # otherwise these are of a network that the bundle does not hold
        _, validation = hold_out(train, metadata.held_out.digits)
        update["validation"] = measured[0]
        update["robustness"] = robustness.measure(
            open_runtime(bundle, threads=2), validation, metadata.verdict
        )
    metadata = metadata.model_copy(update=update)
    card.write(metadata, bundle.folder, test)
    seal(bundle.folder, metadata)
