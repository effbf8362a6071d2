"""Measure what each rule of the preparation gains and costs, over all sources.

    python -m benchmarks.rules --data mnist.npz

Every source is read with all rules, and once more without each of them. The images are made from
held-out training digits (never from the test split). Writes the table of rules into docs/imaging.md
between its markers.
"""

import argparse
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.errors import BlankImageError
from app.imaging.stages import OPTIONAL_STAGES, REMOVALS, RULES
from app.inference.model import Model
from app.inference.registry import Registry
from app.page_reading import read_page
from app.recognise import Options, recognise
from app.settings import REPOSITORY
from benchmarks.page import fill, table
from benchmarks.sources import RULE_SOURCES
from tests.imaging.form_samples import FORMS
from tests.imaging.samples import encode
from training import data
from training.nondigits import NONDIGITS

PAGE = REPOSITORY / "docs" / "imaging.md"
DIGITS_PER_FORM = 6
SEED = 2026
DESCRIPTIONS = {**RULES, **REMOVALS, **OPTIONAL_STAGES}
HEADER = ["rule", "gain", "cost", "no error changes", "errors prevented", "refused"]

Answer = tuple[tuple[str, str], ...]  # digit and verdict of each digit on an image


@dataclass(frozen=True)
class Source:
    """Images of one kind, with the digits on each of them.

    Attributes:
        files: The images.
        labels: The digits on each image, one or several.
        is_page: Whether the image is read as a page.
    """

    files: Sequence[bytes]
    labels: Sequence[str]
    is_page: bool


@dataclass(frozen=True)
class Effect:
    """What a rule changes on one source.

    Attributes:
        source: Name of the source.
        digits: Number of digits, or of images without any.
        gain: Errors that the rule prevents; negative if it adds errors.
        refused: Digits that are `not-a-digit` only because of the rule; negative if it rescues.
        changed: Images with another answer or verdict.
    """

    source: str
    digits: int
    gain: int
    refused: int
    changed: int


def make_sources(digits: data.Split) -> dict[str, Source]:
    """Return the images of every source, each from a generator of its own."""
    sources = {}
    for name, make in RULE_SOURCES.items():
        files = [make(image, rng) for rng in [_generator(name)] for image in digits.images]
        sources[name] = Source(files, [str(label) for label in digits.labels], is_page=False)
    for name, draw in FORMS.items():
        rng, forms = _generator(name), []
        for at in range(0, len(digits) - DIGITS_PER_FORM + 1, DIGITS_PER_FORM):
            chosen = range(at, at + DIGITS_PER_FORM)
            forms.append(draw([(int(digits.labels[i]), digits.images[i]) for i in chosen], rng))
        files = [encode(form.image) for form in forms]
        texts = [form.text.replace("\n", "") for form in forms]
        sources[f"form: {name}"] = Source(files, texts, is_page=True)
    for name, draw_other in NONDIGITS.items():
        rng = _generator(name)
        files = [draw_other(rng) for _ in range(max(1, len(digits) // len(NONDIGITS)))]
        sources[f"no digit: {name}"] = Source(files, [""] * len(files), is_page=False)
    return sources


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng([SEED, zlib.crc32(name.encode())])


def read_source(source: Source, model: Model, skip: frozenset[str]) -> list[Answer]:
    """Return digit and verdict of every digit of each image, read without some rules."""
    options = Options(skip=skip)
    return [_read(file, source, model, options) for file in source.files]


def _read(file: bytes, source: Source, model: Model, options: Options) -> Answer:
    try:
        if source.is_page:
            lines = read_page(file, model, options).lines
            return tuple((str(read.digit), read.verdict) for line in lines for read in line)
        found = recognise(file, model, options)
    except BlankImageError:
        return ()
    return ((str(found.digit), found.verdict),)


def count_errors(labels: Sequence[str], answers: Sequence[Answer]) -> int:
    """Return how many digits are wrong, missing or too many, by the edit distance.

    A mark that is not a digit counts as missing on a page. An image without digits is an error if
    it is a sure digit.
    """
    errors = 0
    for label, answer in zip(labels, answers, strict=True):
        read = [
            digit
            for digit, verdict in answer
            if len(label) == 1 or verdict == "digit" or (label and verdict == "unsure")
        ]
        errors += _edit_distance(label, "".join(read))
    return errors


def _edit_distance(first: str, second: str) -> int:
    """Return the smallest number of letters to change, insert and delete (Levenshtein, 1966)."""
    distances = list(range(len(second) + 1))
    for row, a in enumerate(first, 1):
        diagonal, distances[0] = distances[0], row
        for column, b in enumerate(second, 1):
            change = diagonal + (a != b)
            diagonal = distances[column]
            distances[column] = min(diagonal + 1, distances[column - 1] + 1, change)
    return distances[-1]


def count_refused(labels: Sequence[str], answers: Sequence[Answer]) -> int:
    """Return how many images of a digit are blank or `not-a-digit`."""
    return sum(
        len(label) == 1 and all(verdict == "not-a-digit" for _, verdict in answer)
        for label, answer in zip(labels, answers, strict=True)
    )


def measure(
    rule: str, sources: dict[str, Source], full: dict[str, list[Answer]], model: Model
) -> list[Effect]:
    """Return what a rule changes on each source, compared with the answers with all rules."""
    effects = []
    for name, source in sources.items():
        labels, answers = source.labels, full[name]
        without = read_source(source, model, frozenset({rule}))
        effects.append(
            Effect(
                name,
                sum(max(1, len(label)) for label in labels),
                count_errors(labels, without) - count_errors(labels, answers),
                count_refused(labels, answers) - count_refused(labels, without),
                sum(a != b for a, b in zip(answers, without, strict=True)),
            )
        )
    return effects


def row_of(rule: str, effects: Sequence[Effect]) -> list[str]:
    """Return the row of the table for a rule."""
    acting = [each for each in effects if each.changed]
    gains = sorted((each for each in acting if each.gain > 0), key=_share, reverse=True)
    costs = sorted((each for each in acting if each.gain < 0), key=_share)
    others = sum(each.changed > 0 and each.gain == 0 for each in effects)
    return [
        f"**{rule}**: {DESCRIPTIONS[rule]}",
        ", ".join(f"{each.source} {_share(each):.1f}" for each in gains) or "-",
        ", ".join(f"{each.source} {-_share(each):.1f}" for each in costs) or "-",
        str(others),
        f"{sum(each.gain for each in effects):+d}",
        f"{sum(each.refused for each in effects):+d}",
    ]


def _share(effect: Effect) -> float:
    """Return the gain in errors per 100 digits."""
    return 100 * effect.gain / effect.digits


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--digits", type=int, default=300)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--rule", choices=DESCRIPTIONS, action="append", help="default: all")
    arguments = parser.parse_args()
    registry = Registry(REPOSITORY / "model", arguments.model, interpreters=1)
    registry.load()
    model = registry.get(arguments.model)
    _, held_out = data.hold_out(data.load(arguments.data, "train"), 5000)
    order = np.random.default_rng(SEED).permutation(len(held_out))
    sources = make_sources(held_out.take(order[: arguments.digits]))
    full = {name: read_source(source, model, frozenset()) for name, source in sources.items()}
    rows = [HEADER]
    for rule in arguments.rule or DESCRIPTIONS:
        rows.append(row_of(rule, measure(rule, sources, full, model)))
        print(*rows[-1], sep=" | ", flush=True)
    if not arguments.rule:
        fill(PAGE, "rules", table(rows))


if __name__ == "__main__":
    main()
