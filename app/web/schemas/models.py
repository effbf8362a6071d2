"""Response bodies that describe the served models."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from app.bundle import Evaluation, Metadata, RuntimeKind
from app.inference.entries import ModelState
from app.web.schemas.base import ResponseBody

Precision = Literal["float32", "int8"]


class ModelSummary(ResponseBody):
    """A model in short.

    A failed model whose metadata cannot be read has a name, a state and a reason; its other texts
    are empty and its numbers 0.
    """

    name: str
    version: int
    default: bool = Field(description="Whether requests that name no model use this one.")
    state: ModelState = Field(
        description=(
            "`ready`: requests are answered. `compiling`: they get 503 for some seconds. `failed`:"
            " they get 503 until the files of the bundle change."
        )
    )
    reason: str | None = Field(
        description=(
            "Why the files in the folder cannot be served. With the state `ready`, an older version"
            " is served on."
        )
    )
    description: str
    classes: list[str] = Field(description="Names of the classes, in the order of probabilities.")
    runtime: RuntimeKind = Field(
        description=(
            "What runs the network: `litert`, its compiled model; `keras`, Keras itself, which is"
            " slower; `tflite`, an imported `.tflite` file as it is."
        )
    )
    sha256: str = Field(description="SHA-256 of model.keras, the trained network.")
    parameters: int = Field(description="Number of weights.")
    multiply_adds: int = Field(
        description="Multiply-adds for one image, of convolutions and dense layers."
    )
    precision: Precision = Field(
        description="Number format of predictions. Inspection is always in float32."
    )
    test_error_rate: float | None = Field(
        description="Share of misread digits in MNIST's test split, 0..1."
    )


class IgnoredFile(ResponseBody):
    """A file or folder in the folder of models that is no model."""

    name: str
    reason: str = Field(description="What it is, and what to do with it.")


class ModelList(ResponseBody):
    """All models of the folder."""

    default: str = Field(description="Name of the model for requests that name none.")
    corrections: bool = Field(description="Whether `POST /feedback` accepts corrections.")
    models: list[ModelSummary]
    ignored: list[IgnoredFile] = Field(
        description="What else lies in the folder, such as networks that were not imported."
    )


class Metrics(ResponseBody):
    """How good a model is."""

    validation: Evaluation | None = Field(
        description="On digits that were held out of training; null if not measured."
    )
    test: Evaluation | None = Field(description="On MNIST's test split.")


class ModelDetails(ModelSummary):
    """A served model in full."""

    created: datetime
    metrics: Metrics
    recipe: dict[str, Any] = Field(description="The settings that the model was trained with.")
    metadata: Metadata
