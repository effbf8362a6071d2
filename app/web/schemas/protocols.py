"""The protocols' bodies, as the OpenAPI document shows them.

Requests are read by hand, from JSON and bytes (`oip`, `tfserving`): their schemas are for readers.
"""

from typing import Any

from pydantic import BaseModel, Field


class ProtocolError(BaseModel):
    """What went wrong, in the form of the protocols."""

    error: str


class ModelNames(BaseModel):
    """Every model by name."""

    models: list[str]


class ServerMetadata(BaseModel):
    """What the server is, and the extensions that it speaks."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(BaseModel):
    """Whether the server is alive."""

    live: bool


class ServerReady(BaseModel):
    """Whether every model can be asked."""

    ready: bool


class ModelReady(BaseModel):
    """Whether a model can be asked."""

    name: str
    ready: bool


class RepositoryEntry(BaseModel):
    """A model of the repository."""

    name: str
    version: str
    state: str
    reason: str


class TensorMetadata(BaseModel):
    """An input or output of a model; -1 is a free dimension."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model's version, inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(BaseModel):
    """An input or output as Triton's configuration names it."""

    name: str
    data_type: str
    dims: list[int]


class ModelConfig(BaseModel):
    """What Triton's clients call the configuration of a model."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]


class InputTensor(BaseModel):
    """A tensor that is sent: in `data`, or in binary behind the JSON."""

    name: str
    shape: list[int]
    datatype: str = Field(description="`UINT8`, `FP32` or `BYTES`.")
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = Field(None, description="Nested or flat, row-major.")


class WantedOutput(BaseModel):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferenceRequest(BaseModel):
    """A request to infer; without `outputs` all come."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[InputTensor]
    outputs: list[WantedOutput] | None = None


class OutputTensor(BaseModel):
    """A tensor of the answer: in `data`, or in binary behind the JSON."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class InferenceResponse(BaseModel):
    """The outputs that were asked for."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class VersionError(BaseModel):
    """What keeps a version from being served."""

    error_code: str
    error_message: str


class VersionStatus(BaseModel):
    """The status of one version."""

    version: str
    state: str
    status: VersionError


class ModelStatus(BaseModel):
    """The status of a model: TensorFlow Serving's key, and KServe's two."""

    model_version_status: list[VersionStatus]
    name: str
    ready: bool


class ModelSpec(BaseModel):
    """Which model is described."""

    name: str
    signature_name: str
    version: str


class Dimension(BaseModel):
    """A dimension; its size is a number in a string, -1 where it is free."""

    size: str
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
    """The inputs and outputs of one way to call a model."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    method_name: str


class SignatureMap(BaseModel):
    """Every signature by name."""

    signature_def: dict[str, Signature]


class SignatureMetadata(BaseModel):
    """The one kind of metadata that there is."""

    signature_def: SignatureMap


class ModelSignatures(BaseModel):
    """A model and its signatures."""

    model_spec: ModelSpec
    metadata: SignatureMetadata


class PredictRequest(BaseModel):
    """Images in row format (`instances`) or column format (`inputs`); one of the two."""

    signature_name: str | None = None
    instances: list[Any] | None = None
    inputs: Any = None


class PredictResponse(BaseModel):
    """Probabilities of each image: `predictions` for rows, `outputs` for columns."""

    predictions: list[list[float]] | None = None
    outputs: list[list[float]] | None = None
