"""The names and the words in which the terminal and the report say figures.

Knows figures; knows nothing of tables or HTML.
"""

from collections.abc import Sequence

from app.bundle import Interval
from app.evaluation.schema import (
    Comparison,
    DigitFigures,
    Figures,
    ModelFigures,
    PageFigures,
    VerdictFigures,
)

SIGNIFICANT = 0.05  # p-values below this are called a difference


def percent(share: float) -> str:
    """Return a share, 0..1, as a percentage with two decimals."""
    return f"{100 * share:.2f} %"


def interval(limits: Interval) -> str:
    """Return the limits of an interval of a share."""
    return f"{100 * limits.low:.2f} to {100 * limits.high:.2f} %"


def comparison_sentence(comparison: Comparison) -> str:
    """Return what a comparison of two models says, in two sentences."""
    first, second = comparison.first, comparison.second
    counts = (
        f"On {comparison.pictures:,} pictures {first} alone misreads"
        f" {comparison.only_first_wrong:,}, {second} alone {comparison.only_second_wrong:,}"
        f" (McNemar's exact test, p = {comparison.p_value:.2g})."
    )
    if comparison.p_value >= SIGNIFICANT:
        return f"{counts} These pictures do not show which of the two is better."
    is_second = comparison.only_first_wrong > comparison.only_second_wrong
    return f"{counts} {second if is_second else first} is better on pictures like these."


def unread_sentences(figures: Figures) -> list[str]:
    """Return how many labelled files no figure counts, if any."""
    count = len(figures.unreadable)
    are = "files was not read and is" if count == 1 else "files were not read and are"
    return [f"{count:,} of {figures.pictures:,} labelled {are} in no figure."] if count else []


def model_sentences(model: ModelFigures) -> list[str]:
    """Return what the figures of a model say, a paragraph for pictures and one for pages."""
    said = []
    if model.digits:
        said.append(_digits_sentences(model.name, model.digits))
    if model.pages:
        said.append(_pages_sentences(model.name, model.pages))
    return said


def _digits_sentences(name: str, digits: DigitFigures) -> str:
    sure, *others = digits.verdicts
    refused, refused_wrong = sum(each.answers for each in others), sum(e.wrong for e in others)
    return (
        f"{name} misreads {digits.wrong:,} of {digits.pictures:,} pictures of one digit:"
        f" {percent(digits.error_rate)} (95 % interval {interval(digits.interval)}). It is sure of"
        f" {sure.answers:,} ({sure.wrong:,} wrong), and leaves {refused:,} to a person"
        f" ({refused_wrong:,} wrong)."
    )


def _pages_sentences(name: str, pages: PageFigures) -> str:
    return (
        f"{name} reads {pages.right:,} of {pages.digits:,} digits on pages right:"
        f" {pages.wrong:,} are read as others, {pages.missing:,} are missing, and {pages.extra:,}"
        f" are read where none stands. {pages.exact:,} of {pages.pages:,} pages are exact."
    )


def digit_rows(digits: DigitFigures) -> dict[str, str]:
    """Return the figures on pictures of one digit by their names."""
    return {
        "Pictures": f"{digits.pictures:,}",
        "Wrong": f"{digits.wrong:,}",
        "Error": percent(digits.error_rate),
        "95 % interval": interval(digits.interval),
        "Calibration error": percent(digits.calibration.expected_calibration_error),
        **_verdict_rows(digits.verdicts),
    }


def page_rows(pages: PageFigures) -> dict[str, str]:
    """Return the figures on pages by their names."""
    return {
        "Pages": f"{pages.pages:,}",
        "Exact pages": f"{pages.exact:,}",
        "Digits": f"{pages.digits:,}",
        "Right": f"{pages.right:,}",
        "Wrong": f"{pages.wrong:,}",
        "Missing": f"{pages.missing:,}",
        "Extra": f"{pages.extra:,}",
        "Error": percent(pages.error_rate),
        "95 % interval": interval(pages.interval),
        **_verdict_rows(pages.verdicts),
    }


def _verdict_rows(verdicts: Sequence[VerdictFigures]) -> dict[str, str]:
    return {
        f"Verdict {each.verdict}": f"{each.answers:,}, {each.wrong:,} wrong" for each in verdicts
    }
