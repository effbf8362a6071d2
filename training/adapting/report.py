"""Puts results into sentences for the terminal. Knows counts and names."""

from collections.abc import Iterator, Sequence

from app.bundle import Comparison
from training.adapting.labels import DoubtfulLabel, why_not_checked
from training.adapting.pictures import CONTRADICTED, Pictures
from training.adapting.sureness import Sureness
from training.card import percent
from training.data import Labels

NOT_LEARNED = "adapted networks that have not learned them"  # the ten of the cross-validation
MAX_REFUSED, MAX_DOUBTFUL = 20, 500  # files that are listed


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with a noun or a verb: "1 file", "2 files"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def list_refused(pictures: Pictures) -> Iterator[str]:
    """Yield lines on the files that cannot be used, and on labels that may be wrong."""
    yield from pictures.warnings
    lines = [f"  {each.name}: {each.reason}" for each in pictures.refused]
    lines += [f"  {name}: {CONTRADICTED}" for name in pictures.contradicted]
    if lines:
        yield f"{count(len(lines), 'file is', 'files are')} not used:"
        yield from _shortened(lines, MAX_REFUSED)


def list_doubtful(doubtful: Sequence[DoubtfulLabel] | None, labels: Labels) -> Iterator[str]:
    """Yield lines on labels that look wrong, or why labels `[N]` were not checked."""
    if doubtful is None:
        yield why_not_checked(labels)
    elif doubtful:
        found = count(len(doubtful), "label")
        yield f"{found} may be wrong by confident learning; correct what is wrong:"
        yield from _shortened(
            [f"  {each.name}: labelled {each.label}, read as {each.read_as}" for each in doubtful],
            MAX_DOUBTFUL,
        )


def count_refused(pictures: Pictures) -> str:
    """Return how many files are not used, for the end; "" if all are."""
    refused = len(pictures.refused) + len(pictures.contradicted)
    return f"{count(refused, 'file was', 'files were')} not used; see above." if refused else ""


def describe_sureness(found: Sureness, base: str) -> Iterator[str]:
    """Yield a line on how many answers are sure, and a warning if they are fewer than before."""
    yield (
        f"Sure answers on your pictures: {found.before:,} of {found.pictures:,} before"
        f" ({found.wrong_before:,} of them wrong), {found.after:,} after ({found.wrong_after:,}"
        " wrong), of the networks that have not learned them."
    )
    if found.falls:
        yield (
            f"Warning: it is sure of fewer pictures than {base}, and calls more of them unsure or"
            " not-a-digit."
        )


def describe(found: Comparison, images: str, base: str, adapted: str) -> str:
    """Return what two networks misread in one line.

    Args:
        found: The counts.
        images: What they read.
        base: Name of the first network.
        adapted: What the second network is, or several are.
    """
    before, after = found.interval_before, found.interval_after
    return (
        f"{images}: {base} misreads {found.misread_before} of {found.images:,}"
        f" ({percent(found.misread_before / found.images)}, 95 % interval {percent(before.low)} to"
        f" {percent(before.high)}), {adapted} {found.misread_after}"
        f" ({percent(found.misread_after / found.images)}, {percent(after.low)} to"
        f" {percent(after.high)}); {found.mended} mended, {found.spoilt} spoilt, McNemar's p ="
        f" {found.p_value:.2g}"
    )


def _shortened(lines: Sequence[str], most: int) -> Iterator[str]:
    yield from lines[:most]
    if len(lines) > most:
        yield f"  and {len(lines) - most:,} more"
