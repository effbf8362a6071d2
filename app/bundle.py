"""The model bundle: a folder of files whose metadata name, describe and hash them.

`training` writes bundles and `app` reads them; this schema is all that the two share. Every file
is verified against its SHA-256 when it is read. Knows nothing of how a network is run.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import BundleError

SCHEMA_VERSION: Final = 1
METADATA = "metadata.json"
KERAS_FILE = "model.keras"
COMPILED_FILE = "model.tflite"
INT8_FILE = "model.int8.tflite"
PRE_REFIT_FILE = "before-refit.keras"  # of a refitted model: what has not seen the held-out digits


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Record):
    """A confidence interval of a share, 0..1."""

    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    level: float = 0.95
    method: str = "Clopper-Pearson"


class Misread(_Record):
    """One digit that the network reads wrongly."""

    index: int = Field(ge=0, description="Position in the official split.")
    label: int = Field(ge=0, le=9)
    digit: int = Field(ge=0, le=9, description="What the network reads.")
    confidence: float = Field(ge=0, le=1)


class ReliabilityBin(_Record):
    """Answers of about the same confidence, and how often these are right."""

    digits: int = Field(ge=1)
    confidence: float = Field(ge=0, le=1, description="Mean.")
    accuracy: float = Field(ge=0, le=1)


class Evaluation(_Record):
    """What a network does on one split, measured through the runtime that serves it."""

    split: Literal["validation", "test"]
    digits: int = Field(ge=1)
    errors: int = Field(ge=0)
    error_rate: float = Field(ge=0, le=1)
    interval: Interval
    negative_log_likelihood: float = Field(ge=0, description="Mean, nats.")
    expected_calibration_error: float = Field(
        ge=0, le=1, description="15 equal-width bins (Guo et al., 2017)."
    )
    confusion: list[list[int]] = Field(description="Counts, 10 rows (label) of 10 (answer).")
    misread: list[Misread]
    reliability: list[ReliabilityBin] = Field(
        default=[], description="The bins of the calibration error that are not empty."
    )


class Flips(_Record):
    """What int8 changes of the answers of the same network in float32, digit by digit."""

    digits: int = Field(ge=1)
    changed: int = Field(ge=0, description="Digits with another answer, right or wrong.")
    mended: int = Field(ge=0, description="Misread in float32 only.")
    spoilt: int = Field(ge=0, description="Misread in int8 only.")
    mean_difference: float = Field(ge=0, le=1, description="Of a probability, absolute.")
    largest_difference: float = Field(ge=0, le=1, description="Of a probability, absolute.")


class Quantization(_Record):
    """What it costs that a model is served in int8, on each split."""

    validation: Flips
    test: Flips | None


class Robustness(_Record):
    """How a network stands corrupted digits and things that are no digit."""

    digits: int = Field(ge=1, description="Held-out digits that were corrupted.")
    corruptions: dict[str, float] = Field(
        description="Error, 0..1, under each kind of MNIST-C (Mu and Gilmer, 2019), unprepared."
    )
    nondigits: dict[str, float] = Field(
        description="AUROC of the energy score against held-out digits, by kind of thing."
    )


class EpochFigures(_Record):
    """Figures of one training epoch; losses in nats, accuracies 0..1."""

    epoch: int = Field(ge=1)
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float


class VerdictThresholds(_Record):
    """Where `digit`, `unsure` and `not-a-digit` part; chosen on held-out training digits."""

    score: Literal["energy"] = Field(
        "energy",
        description=(
            "log-sum-exp of the logits, high for digits (Liu et al., 2020, arXiv:2010.03759)."
        ),
    )
    not_a_digit_below: float = Field(description="Score under which an image is no digit.")
    unsure_below: float = Field(
        ge=0, le=1, description="Probability under which an answer is unsure."
    )
    false_refusals: float = Field(
        ge=0, le=1, description="Share of held-out digits called not-a-digit."
    )


class Tensor(_Record):
    """Name, type and shape of an input or output; -1 is the free batch dimension."""

    name: str
    dtype: Literal["float32"] = "float32"
    shape: list[int]


class Metadata(_Record):
    """All that is known of a model: its origin, its inputs and outputs, and how good it is."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: int = Field(ge=1, description="Grows with each published model of this name.")
    created: datetime
    description: str
    data_md5: dict[str, str] = Field(description="MD5 of the IDX files that it was trained on.")
    recipe: dict[str, Any]
    seed: int | None = Field(description="None for an ensemble, whose members have their own.")
    epochs: list[EpochFigures]
    published_epoch: int = Field(ge=1, description="The epoch whose weights are published.")
    refitted: bool = Field(
        False,
        description=(
            "Whether the published weights went on over the held-out digits, too, after these had"
            " served for every choice. The temperature, the thresholds and the figures of"
            " validation and robustness are then of the weights before, which the bundle keeps."
        ),
    )
    teachers: dict[str, int] = Field(
        {}, description="The models whose answers it learned, in which versions."
    )
    libraries: dict[str, str]
    parameters: int = Field(ge=1)
    multiply_adds: int = Field(ge=1, description="Per image, of convolutions and dense layers.")
    microseconds: float | None = Field(
        None, description="Of one image on one thread, where the model was published."
    )
    temperature: float = Field(
        gt=0,
        description="Fitted on validation and folded into the logits layer (Guo et al., 2017).",
    )
    calibration_error_before: float = Field(
        ge=0, le=1, description="Of validation, before the temperature."
    )
    verdict: VerdictThresholds
    validation: Evaluation
    test: Evaluation | None = Field(
        description="None when the model was made without the official test split."
    )
    quantization: Quantization | None = Field(
        None, description="Of a model that is served in int8; the figures above are of that."
    )
    robustness: Robustness | None = None
    inputs: list[Tensor]
    outputs: list[Tensor]
    files: dict[str, str] = Field(description="SHA-256 of every other file of the bundle.")


@dataclass(frozen=True)
class Bundle:
    """A bundle whose metadata are valid and whose files were all verified when it was opened.

    Attributes:
        folder: Where it lies.
        metadata: What `metadata.json` says.
    """

    folder: Path
    metadata: Metadata

    def has(self, name: str) -> bool:
        """Tell whether the bundle lists a file of this name."""
        return name in self.metadata.files

    def read(self, name: str) -> bytes:
        """Return the content of a listed file, verified as it is read.

        Raises:
            BundleError: The file is not listed, is missing, or is not the one that was published.
        """
        if name not in self.metadata.files:
            raise BundleError(
                f"{self.folder} lists no {name}; it lists {', '.join(self.metadata.files)}."
            )
        content = _read(self.folder / name)
        came, expected = hashlib.sha256(content).hexdigest(), self.metadata.files[name]
        if came != expected:
            raise BundleError(
                f"{self.folder / name} is not the file that was published: expected SHA-256"
                f" {expected}, got {came} ({len(content)} bytes). Restore it, or train the model"
                " again."
            )
        return content


def open_bundle(folder: Path) -> Bundle:
    """Read a bundle's metadata and verify every file that they list.

    Args:
        folder: The folder `model/<name>`.

    Returns:
        The bundle.

    Raises:
        BundleError: The metadata or a file is missing, unreadable, of another schema or not as
            published.
    """
    path = folder / METADATA
    try:
        metadata = Metadata.model_validate_json(_read(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise BundleError(
            f"{path} is no valid bundle metadata of schema {SCHEMA_VERSION}: {where}:"
            f" {first['msg']}."
        ) from error
    if metadata.name != folder.name:
        raise BundleError(
            f"{path} names the model {metadata.name!r}, but its folder is {folder.name!r}."
        )
    for name in (METADATA, *metadata.files):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleError(f"{path} lists {name!r}, which lies outside the bundle.")
    if KERAS_FILE not in metadata.files:
        raise BundleError(
            f"{path} lists no {KERAS_FILE}; a bundle needs at least that and {METADATA}."
        )
    bundle = Bundle(folder, metadata)
    for name in metadata.files:
        bundle.read(name)
    return bundle


def seal(folder: Path, metadata: Metadata) -> Metadata:
    """Hash every file in `folder` and write `metadata.json`; the last step of publishing.

    Args:
        folder: The bundle's folder, its other files already in place.
        metadata: What to write; its `files` are replaced.

    Returns:
        The metadata as written.
    """
    paths = sorted(
        path for path in folder.rglob("*") if path.is_file() and path != folder / METADATA
    )
    sums = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }
    sealed = metadata.model_copy(update={"files": sums})
    (folder / METADATA).write_text(sealed.model_dump_json(indent=1) + "\n")
    return sealed


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read: {error.strerror}. Restore the model bundle."
        ) from error
