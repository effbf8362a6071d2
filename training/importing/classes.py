"""Which class of a network is which digit, and the names of the classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from app.bundle import DIGITS, MAX_CLASSES
from training.errors import ImportingError

MAX_NAMES_BYTES = 1 << 16  # of the file with the names
# A permutation is believed if it reads at least this share of the digits, and this much more.
MIN_PERMUTED, MIN_GAIN = 0.7, 0.2


@dataclass(frozen=True)
class ClassOrder:
    """Which class is which digit.

    Attributes:
        digit_classes: Class of each digit, 0..9. A network with fewer than ten classes gives some
            digits the same class.
        is_permuted: Whether a class is another digit than its number says.
        are_digits: Whether the classes are digits, so that one of them is right.
    """

    digit_classes: tuple[int, ...]
    is_permuted: bool
    are_digits: bool = True

    def measure(
        self, logs: NDArray[np.float32], labels: NDArray[np.uint8], count: int
    ) -> tuple[float, float]:
        """Return the mean negative log-likelihood of all rows, and the accuracy of the first.

        If the classes are no digits, the entropy of the answers is subtracted: a network that gives
        every image the same class would be right about the class that each digit has.
        """
        right = np.array(self.digit_classes)[labels]
        loss = -float(logs[np.arange(len(labels)), right].mean())
        if not self.are_digits:
            shares = np.exp(logs).mean(axis=0)
            loss -= float(special.entr(shares).sum())
        accuracy = float((logs[:count].argmax(axis=1) == right[:count]).mean())
        return loss, accuracy

    def sources(self, classes: int) -> list[int]:
        """Return the old number of each new class: digits first, in their order, then the rest."""
        rest = [each for each in range(classes) if each not in self.digit_classes]
        return [*self.digit_classes, *rest]


IDENTITY = ClassOrder(tuple(range(10)), is_permuted=False)


def find_order(
    logs: NDArray[np.float32], labels: NDArray[np.uint8], classes: int, are_digits: bool = True
) -> ClassOrder:
    """Find which class is which digit by the confusion on labelled digits.

    Args:
        logs: Logarithms of probabilities, `[N, classes]`.
        labels: `[N]`.
        classes: Number of classes.
        are_digits: Whether ten of them may be the digits.
    """
    answers = logs.argmax(axis=1)
    confusion = np.zeros((10, classes))
    np.add.at(confusion, (labels, answers), 1)
    if classes < 10 or not are_digits:
        likely = tuple(confusion.argmax(axis=1).tolist())
        return ClassOrder(likely, is_permuted=True, are_digits=False)
    _, assigned = optimize.linear_sum_assignment(-confusion)
    permuted = confusion[np.arange(10), assigned].sum() / len(labels)
    plain = float((answers == labels).mean())
    if permuted >= MIN_PERMUTED and permuted > plain + MIN_GAIN:
        return ClassOrder(tuple(assigned.tolist()), is_permuted=True)
    return IDENTITY


def order_of_names(names: Sequence[str]) -> ClassOrder | None:
    """Return the order that names tell, if all ten digits are among them; else None."""
    if not set(DIGITS) <= set(names):
        return None
    places = tuple(names.index(digit) for digit in DIGITS)
    return ClassOrder(places, is_permuted=places != IDENTITY.digit_classes)


def read_names(path: Path | None, classes: int) -> list[str] | None:
    """Read the names of the classes, one on each line, in the order of the network's outputs.

    Raises:
        ImportingError: The file cannot be read, or has another number of names.
    """
    if path is None:
        return None
    try:
        if path.stat().st_size > MAX_NAMES_BYTES:
            raise ImportingError(f"--classes {path}: the file is too large for a list of names.")
        names = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImportingError(f"--classes {path}: the file cannot be read as UTF-8 text.") from error
    names = [name.strip() for name in names if name.strip()]
    if len(names) != classes:
        raise ImportingError(
            f"--classes {path} has {len(names)} names; the network has {classes} classes. Write"
            " one name on each line, in the order of the outputs."
        )
    if len(set(names)) < classes or any(len(each) > 40 or not each.isprintable() for each in names):
        raise ImportingError(
            f"--classes {path}: each name must be different, printable and at most 40 characters"
            " long."
        )
    return names


def default_names(sources: Sequence[int]) -> list[str]:
    """Return names for classes without names: the digits, then numbers of outputs in the file.

    Args:
        sources: Old number of each class, in the new order.
    """
    first = len(DIGITS) if len(sources) >= len(DIGITS) else 0
    return [*DIGITS[:first], *(f"class {number}" for number in sources[first:MAX_CLASSES])]


def describe_order(sources: Sequence[int]) -> str:
    """Return a sentence on the order of the classes; empty if it is that of the file."""
    if list(sources) == list(range(len(sources))):
        return ""
    moved = ", ".join(f"{new} is {old}" for new, old in enumerate(sources) if new != old)
    return (
        f"The classes were brought into another order (new number is output of the file): {moved}."
    )
