"""The figures that `digitscope evaluate --json` prints; docs/your-digits.md describes each field.

Knows fields and their meaning; knows nothing of how they are computed.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.bundle import Interval, ReliabilityBin
from app.verdict import Verdict


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UnusedFile(_Record):
    """A file that is not measured."""

    name: str = Field(description="Its path in the folder, or the table and the line.")
    reason: str = Field(description="Why it is not measured.")


class VerdictFigures(_Record):
    """The answers with one verdict."""

    verdict: Verdict = Field(description="`digit`, `unsure` or `not-a-digit`.")
    answers: int = Field(ge=0, description="Answers with this verdict.")
    wrong: int = Field(ge=0, description="How many of them are wrong.")


class Calibration(_Record):
    """How well confidences match how often answers are right."""

    expected_calibration_error: float = Field(
        ge=0, le=1, description="Bins of equal width between 0 and 1 (Guo et al., 2017)."
    )
    bins: int = Field(ge=1, description="Number of bins, the empty ones included.")
    mean_confidence: float = Field(ge=0, le=1, description="Mean of the largest probabilities.")
    reliability: list[ReliabilityBin] = Field(
        description="The bins that are not empty: `digits`, mean `confidence`, `accuracy`."
    )


class FolderFigures(_Record):
    """The answers for the pictures of one folder."""

    folder: str = Field(
        description="Its path without the folder that is the label; `.` is the top."
    )
    pictures: int = Field(ge=1, description="Pictures in it that were read.")
    wrong: int = Field(ge=0, description="Wrong answers.")
    error_rate: float = Field(ge=0, le=1, description="Share of wrong answers.")
    interval: Interval = Field(description="Interval of the error.")
    refused: int = Field(ge=0, description="Answers with another verdict than `digit`.")


class MisreadPicture(_Record):
    """A picture of a digit whose answer is wrong."""

    name: str = Field(description="Its path in the folder.")
    label: str = Field(description="Its label.")
    answer: str = Field(description="The most probable class.")
    confidence: float = Field(ge=0, le=1, description="Probability of the answer.")
    verdict: Verdict = Field(description="Verdict on the answer.")
    runner_up: str = Field(description="The second most probable class.")
    warnings: list[str] = Field(description="What may have made the answer wrong.")
    prepared: str = Field(description="What the network received, 28x28: a PNG file in base64.")
    picture: str = Field(
        description="A small copy of the picture: a JPEG file in base64; empty if it is 28x28."
    )


class DigitFigures(_Record):
    """Figures of a model on pictures of one digit."""

    pictures: int = Field(ge=1, description="Pictures that were read.")
    wrong: int = Field(ge=0, description="Pictures with a wrong answer, whatever the verdict.")
    error_rate: float = Field(ge=0, le=1, description="Share of wrong answers.")
    interval: Interval = Field(
        description="Interval of the error: `low`, `high`, its `level` and `method`."
    )
    calibration: Calibration = Field(description="Whether confidences can be trusted.")
    verdicts: list[VerdictFigures] = Field(
        description="Answers by verdict, and how many are wrong."
    )
    confusion: list[list[int]] = Field(
        description="Counts: a row for each label, a column for each answer."
    )
    folders: list[FolderFigures] = Field(description="The folder with the most errors first.")
    misread: list[MisreadPicture] = Field(description="The most confident one first.")


class PageDigit(_Record):
    """A digit of a page."""

    expected: str = Field(description="The digit that stands there; empty for an extra one.")
    answer: str = Field(description="The digit that was read; empty for a missing one.")
    confidence: float = Field(ge=0, le=1, description="0 for a missing digit.")
    verdict: Verdict | Literal[""] = Field(description="Empty for a missing digit.")
    prepared: str = Field(
        description="What the network received, as of pictures; empty for a right or missing digit."
    )


class MisreadPage(_Record):
    """A page that is not read as its text."""

    name: str = Field(description="Its path in the folder.")
    digits: list[PageDigit] = Field(description="The aligned digits, in order.")
    warnings: list[str] = Field(description="What may have made the text wrong.")


class PageFigures(_Record):
    """Figures of a model on pages."""

    pages: int = Field(ge=1, description="Pages that were read.")
    exact: int = Field(ge=0, description="Pages without a wrong, missing or extra digit.")
    digits: int = Field(ge=1, description="Digits of the texts of all pages.")
    right: int = Field(ge=0, description="Digits that were read right.")
    wrong: int = Field(ge=0, description="Digits that were read as others.")
    missing: int = Field(ge=0, description="Digits that were not read.")
    extra: int = Field(ge=0, description="Digits that were read where none stands.")
    marks: int = Field(ge=0, description="Marks that were taken for no digit.")
    error_rate: float = Field(ge=0, le=1, description="Wrong and missing digits of all digits.")
    interval: Interval = Field(description="Interval of the error.")
    verdicts: list[VerdictFigures] = Field(description="Of the digits that were read.")
    misread: list[MisreadPage] = Field(description="The page with the most errors first.")


class ModelFigures(_Record):
    """Figures of one model."""

    name: str = Field(description="Name of the model.")
    version: int = Field(description="Its version.")
    digits: DigitFigures | None = Field(description="Null if no picture of one digit was read.")
    pages: PageFigures | None = Field(description="Null if no page was read.")


class Comparison(_Record):
    """Two models on the pictures of one digit that both have read."""

    first: str = Field(description="Name of a model.")
    second: str = Field(description="Name of another model.")
    pictures: int = Field(ge=0, description="Pictures that both have read.")
    only_first_wrong: int = Field(ge=0, description="Pictures that only the first one misreads.")
    only_second_wrong: int = Field(ge=0, description="Pictures that only the second one misreads.")
    p_value: float = Field(ge=0, le=1, description="McNemar's exact test, two-sided.")


class Figures(_Record):
    """What `digitscope evaluate` has measured."""

    schema_version: Literal[1] = Field(1, description="Rises if a field changes its meaning.")
    digitscope: str = Field(description="Version of the program.")
    created: datetime = Field(description="When the figures were computed, in UTC.")
    images: str = Field(description="The folder or the table, as it was given.")
    classes: list[str] = Field(description="Names of the classes, in the order of `confusion`.")
    pictures: int = Field(ge=0, description="Labelled pictures and pages.")
    warnings: list[str] = Field(description="What may be wrong about the labels or the pictures.")
    unused: list[UnusedFile] = Field(description="Files and rows that give no labelled picture.")
    unreadable: list[UnusedFile] = Field(description="Labelled files that could not be read.")
    models: list[ModelFigures] = Field(description="The models, in the order of the options.")
    comparisons: list[Comparison] = Field(description="Each pair of models.")
