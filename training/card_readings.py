"""The model card's tables on what training does not show: hands, slants, damage, non-digits."""

from collections.abc import Sequence

from app.bundle import Reading, Robustness
from training.evaluate import clopper_pearson
from training.readings import DAMAGE, GEOMETRY, HANDS, OTHER, SEALED

TITLES = {
    HANDS: "Other hands, drawn on paper",
    GEOMETRY: "Held-out digits slanted, turned or scanned small",
    DAMAGE: "Held-out digits with damage that was looked at during development",
    SEALED: "Held-out digits with damage that was measured only here",
}
HEAD = (
    "| kind | images | wrong | 95 % interval | not-a-digit | unsure |",
    "| --- |" + " --- |" * 5,
)


def describe(robustness: Robustness) -> str:
    """Return the tables in Markdown; nothing for a model without such readings."""
    if not robustness.readings:
        return ""
    text = """
Images that training does not show (`training/unseen.py`). Hands, slants and scans are prepared as
the service does, with all candidates; damaged digits are read as they are. `not-a-digit` and
`unsure` count the digits that are read right.
"""
    for group, title in TITLES.items():
        rows = [reading for reading in robustness.readings if reading.group == group]
        text += f"\n### {title}\n\n" + "\n".join([*HEAD, *_rows(rows)]) + "\n"
    error = robustness.damaged_calibration_error
    if error is not None:
        text += f"\nThe calibration error on the damaged digits is {100 * error:.2f} %.\n"
    others = [reading for reading in robustness.readings if reading.group == OTHER]
    lines = [
        f"| {each.name} | {each.images} | {_percent(each.wrong, each.images)} |"
        f" {_interval(each.wrong, each.images)} | {_percent(each.refused, each.images)} |"
        f" {_percent(each.unsure, each.images)} |"
        for each in others
    ]
    head = ("| kind | images | digit | 95 % interval | not-a-digit | unsure |", HEAD[1])
    text += "\n### Verdicts on images without a digit\n\n"
    text += "Training shows nothing like Greek letters, houses, flowers and stick figures.\n\n"
    return text + "\n".join([*head, *lines]) + "\n"


def _rows(readings: Sequence[Reading]) -> list[str]:
    rows = [
        f"| {each.name} | {each.images} | {_percent(each.wrong, each.images)} |"
        f" {_interval(each.wrong, each.images)} |"
        f" {_percent(each.refused, each.images - each.wrong)} |"
        f" {_percent(each.unsure, each.images - each.wrong)} |"
        for each in readings
    ]
    images, wrong, refused, unsure = (
        sum(getattr(each, name) for each in readings)
        for name in ("images", "wrong", "refused", "unsure")
    )
    rows.append(
        f"| **all** | {images} | {_percent(wrong, images)} | {_interval(wrong, images)} |"
        f" {_percent(refused, images - wrong)} | {_percent(unsure, images - wrong)} |"
    )
    return rows


def _percent(count: int, of: int) -> str:
    return f"{100 * count / max(1, of):.2f} %"


def _interval(count: int, of: int) -> str:
    interval = clopper_pearson(count, of)
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"
