"""Measure contestants in turn: digitscope now and before, and what it is compared with."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

NOW, BEFORE = "now", "before"
Sample = Mapping[str, float]  # by the name of the quantity, such as `CPU us`
HEADER = ("case", "before", "reference", "now", "ratio", "goal", "met")


@dataclass(frozen=True)
class Contestant:
    """One of those that are compared.

    Attributes:
        name: As it stands in the table.
        open: Starts it; the function that it gives takes one sample.
    """

    name: str
    open: Callable[[], AbstractContextManager[Callable[[], Sample]]]


@dataclass(frozen=True)
class Goal:
    """What a figure of digitscope should be.

    Attributes:
        bound: The largest value, or the smallest one.
        of: The contestant whose figure the bound multiplies; empty for a bound of its own.
        at_least: Whether the bound is the smallest value.
    """

    bound: float
    of: str = ""
    at_least: bool = False


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        title: Its first cell.
        quantity: The quantity of the samples that it shows.
        unit: Of the figures; empty for a ratio.
        goal: What the figure should be; None if the line is only information.
    """

    title: str
    quantity: str
    unit: str
    goal: Goal | None = None


@dataclass(frozen=True)
class Case:
    """Contestants that are measured in the same rounds.

    Attributes:
        lines: What the table shows of them.
        digitscope: Returns the contestant for a checkout of digitscope.
        references: What it is compared with.
    """

    lines: Sequence[Line]
    digitscope: Callable[[Path], Contestant]
    references: Sequence[Contestant] = ()


Samples = Mapping[str, Sequence[Sample]]  # by the name of the contestant, one for each round


def measure(case: Case, now: Path, before: Path | None, rounds: int) -> Samples:
    """Start all contestants of a case, then sample them in turn, round by round."""
    contestants = {NOW: case.digitscope(now)}
    if before is not None:
        contestants[BEFORE] = case.digitscope(before)
    contestants |= {reference.name: reference for reference in case.references}
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    with ExitStack() as stack:
        take = {name: stack.enter_context(one.open()) for name, one in contestants.items()}
        for turn in range(rounds):
            names = list(contestants)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                samples[name].append(take[name]())
                print(f"  round {turn + 1}, {name}: {_shown(samples[name][-1])}", flush=True)
    return samples


def _shown(sample: Sample) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in sample.items())


def rows_of(case: Case, samples: Samples) -> list[list[str]]:
    """Return the table's rows for a case: medians, and the median of each round's ratio."""
    rows = []
    for line in case.lines:
        figures = {
            name: [sample[line.quantity] for sample in taken if line.quantity in sample]
            for name, taken in samples.items()
        }
        medians = {name: statistics.median(values) for name, values in figures.items() if values}
        others = [name for name in medians if name not in (NOW, BEFORE)]
        goal = line.goal
        main = goal.of if goal and goal.of else others[0] if others else ""
        ratio = _median_ratio(figures[NOW], figures[main]) if main else None
        rows.append(
            [
                line.title,
                _figure(medians[BEFORE], line.unit) if BEFORE in medians else "",
                ", ".join(_reference(name, medians, line.unit) for name in others),
                _figure(medians[NOW], line.unit),
                f"{ratio:.2f}x" if ratio else "",
                _goal_text(goal, line.unit),
                _verdict(goal, ratio, medians[NOW]),
            ]
        )
    return rows


def _reference(name: str, medians: Mapping[str, float], unit: str) -> str:
    """Return name and figure of a reference, bold if it costs less than digitscope does."""
    text = f"{name} {_figure(medians[name], unit)}"
    return f"**{text}**" if medians[name] < medians[NOW] else text


def _median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(values, others, strict=True))


def _figure(value: float, unit: str) -> str:
    digits = 0 if value >= 100 or value == round(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}{unit and ' '}{unit}"


def _goal_text(goal: Goal | None, unit: str) -> str:
    if goal is None:
        return ""
    sign = ">=" if goal.at_least else "<="
    return (
        f"{sign} {goal.bound:g}x {goal.of}" if goal.of else f"{sign} {goal.bound:g} {unit}".strip()
    )


def _verdict(goal: Goal | None, ratio: float | None, value: float) -> str:
    if goal is None:
        return ""
    reached = ratio if goal.of and ratio else value
    return "yes" if (reached >= goal.bound if goal.at_least else reached <= goal.bound) else "no"
