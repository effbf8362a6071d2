"""Prints what an import found, and ends with a table of the layers and what works for each."""

from app.network.network import Layer, Network
from app.terminal import cell, say
from training.importing.card import FORMS
from training.importing.options import Result

LOGIT_TEMPERATURES = 0.3, 5.0  # that fit; outside, the outputs are hardly logits


def print_result(result: Result, url: str) -> None:
    """Print the result of an import.

    Args:
        result: The imported network.
        url: Address of the page that shows it.
    """
    metadata, imported = result.metadata, result.metadata.imported
    if imported is None:
        raise ValueError("the model was not imported")
    say(f"Input: {imported.input}; pixels {imported.scale}.")
    if imported.trials:
        _print_trials(result)
    say(*imported.changes, *result.notes)
    for name, agreement in result.agreements.items():
        say(
            f"Largest difference of a probability between {FORMS[name]}:"
            f" {agreement.difference:.1e} on {agreement.digits:,} digits."
        )
    if metadata.validation:
        figures = metadata.validation
        say(
            f"It misreads {figures.errors} of {figures.digits:,} training digits"
            f" ({100 * figures.error_rate:.1f} %), which it may have learned from. The temperature"
            f" that fits is {metadata.fitted_temperature:.2f}"
            + (", and is applied." if metadata.temperature != 1 else "; --calibrate applies it.")
        )
        fitted = metadata.fitted_temperature or 1
        is_applied = metadata.temperature != 1
        if not is_applied and not LOGIT_TEMPERATURES[0] <= fitted <= LOGIT_TEMPERATURES[1]:
            way = "use --calibrate"
            if metadata.runtime == "tflite":
                way = "import its Keras file with --calibrate"
            say(f"The outputs look like scores, not logits: {way}, or expect poor probabilities.")
    else:
        say(
            "Figures cannot be measured: the classes are not the ten digits, or few digits are"
            " read. The temperature is 1, and the thresholds are not chosen by digits."
        )
    _print_layers(result.network)
    say(f"Wrote {result.folder} (version {metadata.version}).", f"See it at {url}")


def _print_trials(result: Result) -> None:
    from rich.console import Console
    from rich.table import Table

    imported = result.metadata.imported
    table = Table("Pixels", "Negative log-likelihood", "Accuracy")
    for trial in imported.trials if imported else ():
        loss, accuracy = f"{trial.negative_log_likelihood:.4f}", f"{trial.accuracy:.1%}"
        table.add_row(cell(trial.scale), loss, accuracy)
    Console().print(table)


def _print_layers(network: Network) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("Layer", "Kind", "Output", "Weights", "What works")
    for layer in network.layers:
        shape = "x".join(map(str, layer.shape))
        weights = sum(values.size for values in layer.weights.values())
        table.add_row(
            cell(layer.name), cell(layer.kind), shape, f"{weights:,}", _what_works(layer, network)
        )
    Console().print(table)


def _what_works(layer: Layer, network: Network) -> str:
    """Return which views of a layer the service has."""
    if layer.operation is None:
        return "activations"
    later = [network.layers[at] for at in network.downstream(layer)]
    if any(other.operation is None for other in later if other.index <= network.scores):
        return "activations, equations"
    return "everything" if network.ablatable(layer) else "activations, equations, gradients"
