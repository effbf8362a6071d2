"""What the user of an import chose, and what the import returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.bundle import Metadata
from app.network.network import Network
from training.importing.network import Choice
from training.importing.proof import Agreement
from training.importing.scale import Trial


@dataclass(frozen=True)
class Options:
    """What the user chose.

    Attributes:
        name: Name of the model.
        input: The scale, or `auto`.
        classes: File with the names of the classes.
        trust: Modules, and `lambda`, whose code may run.
        calibrate: Whether to apply the temperature.
    """

    name: str
    input: str = "auto"
    classes: Path | None = None
    trust: Sequence[str] = ()
    calibrate: bool = False


@dataclass(frozen=True)
class Result:
    """An imported network.

    Attributes:
        metadata: Metadata of the bundle.
        folder: Its folder.
        network: The layers.
        agreements: The proof: how its forms agree.
        notes: What the user should know, in sentences.
    """

    metadata: Metadata
    folder: Path
    network: Network
    agreements: Mapping[str, Agreement]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Decisions:
    """What an import has decided about a network.

    Attributes:
        trials: The scales that were tried, the best first.
        choice: Scale, size and order of the classes.
        classes: Names of the classes.
        are_digits: Whether the first ten classes are the digits, so that errors can be measured.
        changes: What was changed for that, and warnings, in sentences.
    """

    trials: Sequence[Trial]
    choice: Choice
    classes: Sequence[str]
    are_digits: bool
    changes: tuple[str, ...] = ()
