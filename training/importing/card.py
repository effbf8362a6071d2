"""Writes the model card of an imported network; it says that the training is unknown."""

from collections.abc import Mapping
from pathlib import Path

from app.bundle import Metadata
from training.card import percent
from training.importing.proof import Agreement

FORMS = {
    "file": "the file's own network and the rebuilt one, in Keras",
    "compiled": "the rebuilt network and the runtime that serves it",
    "interpreter": "the file in a plain interpreter and as it is served",
    "arithmetic": "that runtime and the service's own arithmetic",
}


def write_card(metadata: Metadata, agreements: Mapping[str, Agreement], folder: Path) -> None:
    """Write `MODEL_CARD.md` into a bundle's folder."""
    (folder / "MODEL_CARD.md").write_text(text(metadata, agreements))


def text(metadata: Metadata, agreements: Mapping[str, Agreement]) -> str:
    """Return the card in Markdown."""
    imported = metadata.imported
    if imported is None:
        raise ValueError("the model was not imported")
    changes = "\n".join(f"- {change}" for change in imported.changes) or "- Nothing."
    compared = "\n".join(
        f"| {FORMS[name]} | {each.digits} | {each.difference:.1e} |"
        for name, each in agreements.items()
    )
    return f"""# Model card: {metadata.name}, version {metadata.version}

**Imported; training unknown.** The network comes from `{imported.file}` ({imported.format},
SHA-256 `{imported.sha256}`), imported {metadata.created:%Y-%m-%d}.

## What it receives

{imported.input}; range of the pixels: {imported.scale}.
{_trials(metadata)}
## What the import changed

{changes}

## Agreement

Largest difference of a probability on MNIST's training digits.

| compared | digits | difference |
| --- | --- | --- |
{compared}

## Figures

{_figures(metadata)}
"""


def _trials(metadata: Metadata) -> str:
    imported = metadata.imported
    if imported is None or not imported.trials:
        return ""
    rows = "\n".join(
        f"| {each.scale} | {each.negative_log_likelihood:.4f} | {percent(each.accuracy)} |"
        for each in imported.trials
    )
    return f"""
Chosen by the negative log-likelihood of labelled digits, as they are and moved:

| range | negative log-likelihood | accuracy |
| --- | --- | --- |
{rows}
"""


def _figures(metadata: Metadata) -> str:
    validation = metadata.validation
    if validation is None:
        return "Not measured: the classes are not the ten digits, or few digits are read."
    applied = "It is applied." if metadata.temperature != 1 else "It is not applied."
    fitted = f"{metadata.fitted_temperature:.3f}" if metadata.fitted_temperature else "unknown"
    return f"""Measured on {validation.digits:,} training digits of MNIST, which our own recipes
hold out. This network may have learned from them, so the figures may be too good. The test split
was not opened.

| figure | value |
| --- | --- |
| misread | {validation.errors} |
| error | {percent(validation.error_rate)} |
| negative log-likelihood | {validation.negative_log_likelihood:.5f} |
| calibration error | {validation.expected_calibration_error:.5f} |

The temperature that fits these digits is {fitted}. {applied}

An image whose score is below {metadata.verdict.not_a_digit_below:.2f} is `not-a-digit`. An answer
with a probability below {metadata.verdict.unsure_below:.3f} is `unsure`.
"""
