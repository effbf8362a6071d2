"""Bodies of the inference protocols' requests and responses.

The request schemas are documentation: `oip_messages` and `tfserving` parse requests by hand.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.web.schemas.explanations import ExplanationAnswer

# Description of the parameters that `app.protocols.input_options` reads.
INPUT_OPTIONS = (
    "`scale`: `auto` (default; 0..255 or 0..1) or `model` (numbers go to the network as they are)."
    " `preprocess`: `none` (default) or `auto`, which prepares pixels as `/predict` does."
)


class ProtocolError(BaseModel):
    """An error, in the form of the protocols."""

    error: str = Field(description="What was expected, what came, and what to do.")


class ModelNames(BaseModel):
    """The names of all models."""

    models: list[str]


class ServerMetadata(BaseModel):
    """The server, and the extensions of the protocol that it supports."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(BaseModel):
    """Whether the server is alive."""

    live: bool


class ServerReady(BaseModel):
    """Whether the default model is ready."""

    ready: bool


class ModelReady(BaseModel):
    """Whether a model is ready."""

    name: str
    ready: bool


class RepositoryEntry(BaseModel):
    """A model in the repository."""

    name: str
    version: str = Field(description="The version; `0` if it cannot be read.")
    state: str = Field(description="`READY` or `UNAVAILABLE`.")
    reason: str = Field(
        description=(
            "Why the files in the folder cannot be served, or why they are not served yet; empty"
            " without a reason."
        )
    )


class IndexRequest(BaseModel):
    """Which models of the repository to list."""

    model_config = ConfigDict(extra="forbid")

    ready: bool | None = Field(None, description="Whether to list only models that are ready.")


class LoadRequest(BaseModel):
    """How to load a model: as it is on disk."""

    model_config = ConfigDict(extra="forbid")

    parameters: dict[str, str] | None = Field(
        None, max_length=0, description="Empty, or left out: nothing can be overridden."
    )


class TensorMetadata(BaseModel):
    """An input or output of a model."""

    name: str
    datatype: str
    shape: list[int] = Field(description="Sizes of the dimensions; -1 is any size.")


class InputMetadata(TensorMetadata):
    """An input of a model, with the ranges of numbers that it accepts."""

    parameters: dict[str, str] = Field(description="`scale`: the ranges of numbers.")


class ModelMetadata(BaseModel):
    """The version, the inputs and the outputs of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[InputMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(BaseModel):
    """An input or output in the form of Triton's model configuration."""

    name: str
    data_type: str
    dims: list[int]


class ModelConfig(BaseModel):
    """A model's configuration in the form of Triton's extension."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]


class InputTensor(BaseModel):
    """A tensor of the request: in `data`, or as raw bytes after the JSON."""

    name: str = Field(description="`image`.")
    shape: list[int]
    datatype: str = Field(
        description=(
            "`UINT8`, `FP32`, another type of integers or floats whose numbers float32 holds, or"
            " `BYTES`."
        )
    )
    parameters: dict[str, Any] | None = Field(
        None,
        description=(
            "`binary_data_size`: length in bytes of a tensor after the JSON. `scale` and"
            " `preprocess` as in the request's `parameters`."
        ),
    )
    data: list[Any] | None = Field(
        None, description="The values in row-major order, as nested lists or one flat list."
    )


class WantedOutput(BaseModel):
    """An output that the response should have."""

    name: str = Field(description="`probabilities`, `digit` or `label`.")
    parameters: dict[str, Any] | None = Field(
        None,
        description=(
            "`binary_data`: send raw bytes instead of JSON. `classification`: name so many of the"
            " most probable classes instead of sending numbers."
        ),
    )


class InferenceRequest(BaseModel):
    """An inference request."""

    id: str | None = Field(None, description="Name of the request; the response repeats it.")
    parameters: dict[str, Any] | None = Field(
        None,
        description=(
            "`binary_data_output`: send all outputs as raw bytes instead of JSON. " + INPUT_OPTIONS
        ),
    )
    inputs: list[InputTensor] = Field(description="One tensor.")
    outputs: list[WantedOutput] | None = Field(
        None, description="The outputs to return; all if left out."
    )


class OutputTensor(BaseModel):
    """A tensor of the response: in `data`, or as raw bytes after the JSON."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class InferenceResponse(BaseModel):
    """An inference response with the requested outputs."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, str] | None = Field(
        None, description="`warnings`: what may make answers wrong, if anything."
    )
    outputs: list[OutputTensor]


class VersionError(BaseModel):
    """The error that keeps a version from being served."""

    error_code: str = Field(description="`OK` if there is none.")
    error_message: str


class VersionStatus(BaseModel):
    """The status of one version."""

    version: str
    state: str = Field(description="`AVAILABLE`, `LOADING` or `END`, if it failed.")
    status: VersionError


class ModelStatus(BaseModel):
    """The status of a model."""

    model_version_status: list[VersionStatus]
    name: str = Field(description="Name of the model; an addition of KServe.")
    ready: bool = Field(description="Whether the model is ready; an addition of KServe.")


class ModelSpec(BaseModel):
    """The model that is described."""

    name: str
    signature_name: str
    version: str


class Dimension(BaseModel):
    """One dimension of a tensor."""

    size: str = Field(description="The size as a string; `-1` is any size.")
    name: str


class TensorShape(BaseModel):
    """The dimensions of a tensor."""

    dim: list[Dimension]
    unknown_rank: bool


class TensorInfo(BaseModel):
    """An input or output of a signature."""

    dtype: str
    tensor_shape: TensorShape
    name: str


class Signature(BaseModel):
    """The inputs and outputs of one signature of a model."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    method_name: str


class SignatureMap(BaseModel):
    """The signatures of a model by name."""

    signature_def: dict[str, Signature]


class SignatureMetadata(BaseModel):
    """The metadata of a model: its signatures."""

    signature_def: SignatureMap


class ModelSignatures(BaseModel):
    """A model and the metadata that was asked for."""

    model_spec: ModelSpec
    metadata: SignatureMetadata


class ExplanationsAnswer(BaseModel):
    """An explanation of each image."""

    explanations: list[ExplanationAnswer]


class PredictRequest(BaseModel):
    """A prediction request with either `instances` or `inputs`."""

    signature_name: str | None = Field(None, description="`serving_default`, or left out.")
    instances: list[Any] | None = Field(None, description="The images in row format.")
    inputs: Any = Field(None, description="The images in column format.")
    parameters: dict[str, Any] | None = Field(
        None,
        description=INPUT_OPTIONS,
    )


class PredictResponse(BaseModel):
    """A probability of each class, such as the digits 0 to 9, for each image."""

    predictions: list[list[float]] | None = Field(None, description="For the row format.")
    outputs: list[list[float]] | None = Field(None, description="For the column format.")
    warnings: list[str] | None = Field(
        None, description="What may make answers wrong; absent if nothing is unusual."
    )
