"""A table that compares models: size, time and errors."""

from collections.abc import Sequence

from app.bundle import Evaluation, Metadata
from training.card import percent

COLUMNS = (
    "model",
    "parameters",
    "multiply-adds",
    "us an image",
    "validation",
    "log-likelihood",
    "test",
    "95 % interval",
    "log-likelihood",
    "calibration error",
)


def markdown(rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table with `COLUMNS` as its header."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def row(
    metadata: Metadata, validation: Evaluation, test: Evaluation, microseconds: float
) -> tuple[str, ...]:
    """Return one model's figures in the order of `COLUMNS`.

    Args:
        metadata: The model's name and size.
        validation: Its figures on the held-out digits.
        test: Its figures on the test split.
        microseconds: Time for one image on one thread.
    """
    low, high = test.interval.low, test.interval.high
    return (
        metadata.name,
        f"{metadata.parameters:,}",
        f"{metadata.multiply_adds / 1e6:.1f} M",
        f"{microseconds:.0f}",
        _errors(validation),
        f"{validation.negative_log_likelihood:.5f}",
        _errors(test),
        f"{percent(low)} to {percent(high)}",
        f"{test.negative_log_likelihood:.5f}",
        f"{test.expected_calibration_error:.5f}",
    )


def _errors(evaluation: Evaluation) -> str:
    return f"{evaluation.errors} ({percent(evaluation.error_rate)})"
