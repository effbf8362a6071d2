"""The model bundle: a folder of files with metadata that describe and hash them.

`training` writes bundles and `app` reads them; the two share only this schema. Every file is
checked against its SHA-256 when it is read. Knows nothing of how a network is run.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from app.bundle_files import check_hash, compare_hash, file_size, read_file
from app.errors import BundleError

SCHEMA_VERSION: Final = 2  # 2 has classes, and does without fields that only training knows
DIGITS = tuple("0123456789")
MAX_CLASSES = 100
METADATA = "metadata.json"
KERAS_FILE = "model.keras"
COMPILED_FILE = "model.tflite"
SOURCE_FILE = "source.tflite"  # an imported file that is served as it is
INT8_FILE = "model.int8.tflite"
MAX_METADATA_BYTES = 1 << 22  # 90 times those of the largest published model
MAX_FILE_BYTES = 1 << 27  # of any other file; the largest published one has 21 MB
MAX_BUNDLE_BYTES = 1 << 29  # of all listed files; to hash them takes about 1 s
# A weight takes 4 bytes. A Keras file may hold the optimizer's two moments and a copy beside it, a
# compiled file may hold it once for each signature.
_BYTES_PER_WEIGHT = {".keras": 16, ".tflite": 8}
_STRUCTURE_BYTES = 1 << 22  # of a file apart from its weights
MAX_FAULTS = 20  # faults of one bundle that a message lists


RuntimeKind = Literal["litert", "keras", "tflite"]
ClassName = Annotated[str, Field(min_length=1, max_length=40)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Record):
    """A confidence interval of a share, 0..1."""

    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    level: float = 0.95
    method: str = "Clopper-Pearson"


class Misread(_Record):
    """A digit that the network misreads."""

    index: int = Field(ge=0, description="Position in the official split.")
    label: int = Field(ge=0, lt=MAX_CLASSES)
    digit: int = Field(ge=0, lt=MAX_CLASSES, description="The network's answer.")
    confidence: float = Field(ge=0, le=1)


class ReliabilityBin(_Record):
    """Answers with about the same confidence, and how often they are right."""

    digits: int = Field(ge=1)
    confidence: float = Field(ge=0, le=1, description="Mean confidence.")
    accuracy: float = Field(ge=0, le=1)


class Evaluation(_Record):
    """Figures of a network on one split, measured through the runtime that serves it."""

    split: Literal["validation", "test"]
    digits: int = Field(ge=1)
    errors: int = Field(ge=0)
    error_rate: float = Field(ge=0, le=1)
    interval: Interval
    negative_log_likelihood: float = Field(ge=0, description="Mean, nats.")
    expected_calibration_error: float = Field(
        ge=0, le=1, description="15 equal-width bins (Guo et al., 2017)."
    )
    confusion: list[list[int]] = Field(
        description="Counts: a row for each label, a column for each answer."
    )
    misread: list[Misread]
    reliability: list[ReliabilityBin] = Field(
        default=[], description="The bins of the calibration error that are not empty."
    )


class Flips(_Record):
    """Differences between the answers of a network in int8 and in float32, digit by digit."""

    digits: int = Field(ge=1)
    changed: int = Field(ge=0, description="Number of digits with another answer.")
    mended: int = Field(ge=0, description="Misread in float32 only.")
    spoilt: int = Field(ge=0, description="Misread in int8 only.")
    mean_difference: float = Field(
        ge=0, le=1, description="Mean absolute difference of a probability."
    )
    largest_difference: float = Field(
        ge=0, le=1, description="Largest absolute difference of a probability."
    )


class Quantization(_Record):
    """How serving a model in int8 changes its answers, on each split."""

    validation: Flips
    test: Flips | None


class Reading(_Record):
    """How a network reads images of a kind that its training does not show, as the service does."""

    group: str = Field(description="`hands`, `geometry`, `damage`, `sealed damage` or `no digit`.")
    name: str = Field(description="The kind of image.")
    images: int = Field(ge=1, description="Number of images.")
    wrong: int = Field(
        ge=0, description="Digits that are misread; of images without a digit, those called one."
    )
    refused: int = Field(
        ge=0,
        description="Digits that are read right and called `not-a-digit`; or images so called.",
    )
    unsure: int = Field(
        ge=0, description="Digits that are read right and called `unsure`; or images so called."
    )


class Robustness(_Record):
    """Figures of a network on corrupted digits and on images that show no digit."""

    digits: int = Field(ge=1, description="Number of held-out digits that were corrupted.")
    corruptions: dict[str, float] = Field(
        description=(
            "Error, 0..1, on each corruption of MNIST-C (Mu and Gilmer, 2019), without preparation."
        )
    )
    nondigits: dict[str, float] = Field(
        description="AUROC of the energy score against held-out digits, by kind of image."
    )
    readings: list[Reading] = Field(
        [], description="Other hands, slants, scans and damage that training does not show."
    )
    damaged_calibration_error: float | None = Field(
        None, ge=0, le=1, description="Calibration error on the damaged digits among the readings."
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
    """Limits between `digit`, `unsure` and `not-a-digit`, chosen on held-out training digits."""

    score: Literal["energy"] = Field(
        "energy",
        description=(
            "log-sum-exp of the logits, high for digits (Liu et al., 2020, arXiv:2010.03759)."
        ),
    )
    not_a_digit_below: float = Field(description="Score below which an image is not a digit.")
    unsure_below: float = Field(
        ge=0, le=1, description="Probability below which an answer is unsure."
    )
    false_refusals: float = Field(
        ge=0, le=1, description="Share of held-out digits called not-a-digit."
    )


class Tensor(_Record):
    """Name, type and shape of an input or output; -1 is the free batch dimension."""

    name: str
    dtype: Literal["float32"] = "float32"
    shape: list[int]


class ScaleTrial(_Record):
    """How well an imported network reads labelled digits if its pixels are scaled in one way."""

    scale: str = Field(description="Range of the pixels that the network receives.")
    negative_log_likelihood: float = Field(description="Mean over the digits, nats.")
    accuracy: float = Field(ge=0, le=1)


class Adapter(_Record):
    """How an image becomes the input of a `.tflite` file, and its output becomes probabilities."""

    shape: list[int] = Field(min_length=1, max_length=6, description="Without the batch.")
    side: int = Field(ge=28, le=40, description="Rows and columns, after padding with 0.")
    channels: Literal[1, 3] = 1
    channels_first: bool = False
    factor: float = Field(description="Factor of a pixel, 0..255.")
    offset: float = Field(0.0, description="Added after that.")
    output: Literal["logits", "softmax", "sigmoid", "probabilities"]
    sources: list[int] = Field(
        min_length=2, max_length=MAX_CLASSES, description="Output of the file, for each class."
    )


class Imported(_Record):
    """Where a network comes from that was trained elsewhere, and what its import changed."""

    file: str = Field(description="Name of the imported file.")
    sha256: str = Field(description="SHA-256 of the imported file.")
    format: str = Field(description="Format of the imported file, such as `keras` or `onnx`.")
    input: str = Field(description="What the network receives, and how the image becomes that.")
    scale: str = Field(description="Range of the pixels that the network receives.")
    trials: list[ScaleTrial] = Field(
        default=[], description="The scales that were tried; empty if the scale was given."
    )
    changes: list[str] = Field(default=[], description="What the import changed, in sentences.")
    trusted: list[str] = Field(
        default=[], description="Modules and other code that were trusted at import."
    )


class Comparison(_Record):
    """What two networks misread of the same images, and McNemar's exact test of the difference."""

    images: int = Field(ge=1)
    misread_before: int = Field(ge=0)
    misread_after: int = Field(ge=0)
    interval_before: Interval
    interval_after: Interval
    mended: int = Field(ge=0, description="Misread by the first network only.")
    spoilt: int = Field(ge=0, description="Misread by the second network only.")
    p_value: float = Field(ge=0, le=1, description="Two-sided.")


class Adapted(_Record):
    """Of which network `digitscope adapt` made this one, and what it gained and lost."""

    model: str = Field(description="Name of the network that was adapted.")
    version: int = Field(ge=1, description="Its version.")
    sha256: str = Field(description="SHA-256 of its Keras file.")
    layers: list[str] = Field(description="The layers that learned.")
    share: float = Field(
        gt=0, le=1, description="How far their weights went from the old ones to the trained ones."
    )
    iterations: int = Field(ge=0, description="Steps of the training.")
    pictures: Comparison = Field(
        description="The user's pictures, each read by a network that has not learned it."
    )
    held_out: Comparison = Field(description="MNIST's held-out training digits, as served.")
    doubtful_labels: int | None = Field(
        None, description="Labels of the pictures that look wrong; None if they were not checked."
    )


class Metadata(_Record):
    """A model's origin, inputs and outputs, and figures.

    A network that was trained elsewhere lacks the fields that only its training knows.
    """

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    version: int = Field(ge=1, description="Rises with each published model of this name.")
    created: datetime
    description: str = ""
    classes: list[ClassName] = Field(
        list(DIGITS),
        min_length=2,
        max_length=MAX_CLASSES,
        description="Names of the classes, in the order of the network's outputs.",
    )
    runtime: RuntimeKind = Field(
        "litert",
        description=(
            "What serves the network: `litert`, its compiled model; `keras`, Keras itself, because"
            " LiteRT cannot run it; `tflite`, the imported `.tflite` file as it is."
        ),
    )
    data_md5: dict[str, str] = Field({}, description="MD5 of the training data's IDX files.")
    recipe: dict[str, Any] = {}
    seed: int | None = Field(
        None, description="None for an ensemble, whose members have their own, or if unknown."
    )
    epochs: list[EpochFigures] = []
    published_epoch: int = Field(
        0, ge=0, description="The epoch whose weights are published; 0 if unknown."
    )
    refitted: bool = Field(
        False,
        description=(
            "Whether the network was trained on all digits at the end, including the held-out ones,"
            " after these had decided every choice. If so, the temperature, the thresholds and the"
            " figures of validation and robustness are those of the network before that."
        ),
    )
    teachers: dict[str, int] = Field(
        {}, description="Versions of the models whose answers the network learned, by name."
    )
    libraries: dict[str, str] = {}
    parameters: int = Field(ge=1)
    multiply_adds: int = Field(
        0, ge=0, description="Per image, of convolutions and dense layers; 0 if not counted."
    )
    microseconds: float | None = Field(
        None,
        description="Time for one image on one thread, where the model was published.",
    )
    temperature: float = Field(
        1.0,
        gt=0,
        description="Fitted on held-out digits, folded into the logits layer (Guo et al., 2017).",
    )
    fitted_temperature: float | None = Field(
        None,
        description="The temperature that fits an imported network, whether it is applied or not.",
    )
    calibration_error_before: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Calibration error on the held-out digits before the temperature.",
    )
    verdict: VerdictThresholds = Field(
        VerdictThresholds(
            score="energy", not_a_digit_below=-1e9, unsure_below=0.5, false_refusals=0
        ),
        description="Without measured thresholds, no image is `not-a-digit`.",
    )
    validation: Evaluation | None = Field(None, description="None for a model not measured.")
    test: Evaluation | None = Field(
        None, description="None for a model that was made without the official test split."
    )
    opened_with: int | None = Field(
        None,
        ge=1,
        description=(
            "The earlier version with which the test split was first opened for these weights, if"
            " they were only compiled again."
        ),
    )
    quantization: Quantization | None = Field(
        None, description="For a model that is served in int8; the figures above are those of int8."
    )
    robustness: Robustness | None = None
    imported: Imported | None = Field(
        None,
        description="For a network that `digitscope import` brought in; its training is unknown.",
    )
    adapted: Adapted | None = Field(
        None, description="For a network that `digitscope adapt` adapted to a user's pictures."
    )
    adapter: Adapter | None = Field(None, description="For a `.tflite` file served as it is.")
    inputs: list[Tensor] = [Tensor(name="image", shape=[-1, 28, 28, 1])]
    outputs: list[Tensor] = []
    files: dict[str, str] = Field(description="SHA-256 of every other file of the bundle.")

    @property
    def held_out(self) -> Evaluation:
        """Return the figures on the held-out digits.

        Raises:
            BundleError: The model was not measured on them.
        """
        if self.validation is None:
            raise BundleError(f"The model {self.name!r} was not measured on held-out digits.")
        return self.validation

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) < len(classes):
            raise ValueError("two classes have the same name")
        if not all(name.isprintable() for name in classes):
            raise ValueError("the name of a class has characters that cannot be printed")
        return classes


@dataclass(frozen=True)
class Bundle:
    """A bundle with valid metadata, whose files were all checked when it was opened.

    Attributes:
        folder: The bundle's folder.
        metadata: The content of `metadata.json`.
    """

    folder: Path
    metadata: Metadata

    @property
    def source(self) -> str:
        """Return the name of the file that holds the network."""
        return SOURCE_FILE if self.metadata.runtime == "tflite" else KERAS_FILE

    @property
    def is_compiled(self) -> bool:
        """Tell whether the network can be served without being compiled first."""
        return self.metadata.runtime != "litert" or self.has(COMPILED_FILE)

    def has(self, name: str) -> bool:
        """Tell whether the bundle lists a file with this name."""
        return name in self.metadata.files

    def read(self, name: str) -> bytes:
        """Return the content of a listed file, after checking its SHA-256.

        Raises:
            BundleError: The file is not listed, is missing, or differs from the published one.
        """
        if name not in self.metadata.files:
            raise BundleError(
                f"{self.folder} lists no {name}; it lists {', '.join(self.metadata.files)}."
            )
        content = read_file(self.folder, name, _max_bytes(name, self.metadata.parameters))
        actual = hashlib.sha256(content).hexdigest()
        compare_hash(self.folder / name, actual, self.metadata.files[name], len(content))
        return content


def open_bundle(folder: Path) -> Bundle:
    """Read a bundle's metadata and check every listed file.

    Args:
        folder: The folder `model/<name>`.

    Returns:
        The bundle.

    Raises:
        BundleError: The metadata or a file is missing, unreadable, damaged, or of another schema;
            the message lists all faults.
    """
    path = folder / METADATA
    if not path.exists():
        raise BundleError(
            f"{folder} has no {METADATA}: the bundle is incomplete. Restore it or delete it."
        )
    content = read_file(folder, METADATA, MAX_METADATA_BYTES)
    metadata, faults = None, []
    try:
        metadata = Metadata.model_validate_json(content)
    except ValidationError as error:
        faults.append(
            f"{path} is not valid bundle metadata of schema {SCHEMA_VERSION}: {_all(error)}."
        )
    name, files = _named(content) if metadata is None else (metadata.name, metadata.files)
    if name not in (None, folder.name):
        faults.append(f"{path} names the model {name!r}, but its folder is {folder.name!r}.")
    needed = SOURCE_FILE if metadata and metadata.runtime == "tflite" else KERAS_FILE
    if files is not None and needed not in files:
        faults.append(f"{path} lists no {needed}; a bundle needs at least that and {METADATA}.")
    if metadata and metadata.runtime == "tflite" and metadata.adapter is None:
        faults.append(f"{path} has no adapter, which the runtime 'tflite' needs.")
    faults += _faults_of_files(folder, files or {}, metadata.parameters if metadata else None)
    if faults or metadata is None:
        raise BundleError(_join(faults))
    return Bundle(folder, metadata)


def _faults_of_files(folder: Path, files: dict[str, str], parameters: int | None) -> list[str]:
    """Compare the listed files with their hashes; a file that is too large is not read."""
    faults, left = [], MAX_BUNDLE_BYTES
    for name, expected in files.items():
        max_bytes = _max_bytes(name, parameters)
        try:
            size = file_size(folder, name, max_bytes)
            if size > left:
                raise BundleError(
                    f"{folder / name} has {size} bytes; all files of a bundle together have at most"
                    f" {MAX_BUNDLE_BYTES}."
                )
            left -= size
            check_hash(folder, name, expected, max_bytes)
        except BundleError as error:
            faults.append(error.detail)
    return faults


def _max_bytes(name: str, parameters: int | None) -> int:
    """Return how many bytes a listed file may have, in a model with so many weights."""
    bytes_per_weight = _BYTES_PER_WEIGHT.get(Path(name).suffix)
    if bytes_per_weight is None or parameters is None:
        return MAX_FILE_BYTES
    return min(MAX_FILE_BYTES, bytes_per_weight * parameters + _STRUCTURE_BYTES)


def _all(error: ValidationError) -> str:
    """Return every field that does not follow the schema, with the reason."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'the document'}: {each['msg']}"
        for each in error.errors()[:MAX_FAULTS]
    )


def _named(content: bytes) -> tuple[str | None, dict[str, str] | None]:
    """Return name and files of metadata with faults in other fields; None for an invalid one."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(document, dict):
        return None, None
    name, files = document.get("name"), document.get("files")
    is_listing = isinstance(files, dict) and all(isinstance(each, str) for each in files.values())
    return name if isinstance(name, str) else None, files if is_listing else None


def _join(faults: list[str]) -> str:
    """Return all faults as one text."""
    if len(faults) == 1:
        return faults[0]
    hidden = len(faults) - MAX_FAULTS
    listed = " ".join(f"({number}) {fault}" for number, fault in enumerate(faults[:MAX_FAULTS], 1))
    return f"{len(faults)} faults: {listed}" + (f" And {hidden} more." if hidden > 0 else "")


def seal(folder: Path, metadata: Metadata) -> Metadata:
    """Hash every file in a folder and write `metadata.json`, the last step of publishing.

    Args:
        folder: The bundle's folder, with all other files in place.
        metadata: The metadata to write; `files` is replaced.

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
