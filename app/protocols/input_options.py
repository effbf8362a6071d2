"""What a client of the inference protocols may say about its pixels, in `parameters`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from app.errors import UndecodableError
from app.protocols.encoding import shorten
from app.recognise import Preprocess

Scale = Literal["auto", "model"]
# Parameters of Triton's extensions that ask for something the service does not do. Their values
# when a client does not ask for it are 0, false and "".
_UNSUPPORTED = (
    "priority",
    "sequence_end",
    "sequence_id",
    "sequence_start",
    "shared_memory_region",
    "shared_memory_byte_size",
    "shared_memory_offset",
    "timeout",
)
_FLAGS = ("binary_data", "binary_data_output")


@dataclass(frozen=True)
class InputOptions:
    """How pixels are taken.

    Attributes:
        scale: `auto` accepts 0..255 and 0..1 and refuses other ranges; `model` passes the numbers
            to the network as they are.
        preprocess: `auto` prepares each image as `/predict` does; `none` leaves it as it is.
    """

    scale: Scale = "auto"
    preprocess: Preprocess = "none"


def parse_parameters(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the `parameters` of a message or of one of its parts; null is the same as none.

    Raises:
        UndecodableError: They are no object, or ask for something that the service does not do.
    """
    parameters = value.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise UndecodableError("'parameters' must be an object.")
    for name in _UNSUPPORTED:
        if parameters.get(name):
            raise UndecodableError(
                f"The parameter {name!r} is not supported. Shared memory, sequences and priorities"
                " do not exist here; for a time limit send the header X-Request-Timeout."
            )
    for name in _FLAGS:
        if not isinstance(parameters.get(name, False), bool | None):
            raise UndecodableError(f"The parameter {name!r} must be true or false.")
    return parameters


def parse_input_options(*parameters: Mapping[str, Any]) -> InputOptions:
    """Return the options in several `parameters`, of which later ones count more.

    Raises:
        UndecodableError: An option has an unknown value.
    """
    merged = {name: value for each in parameters for name, value in each.items()}
    options = InputOptions(
        scale=_one_of(merged, "scale", get_args(Scale), InputOptions.scale),
        preprocess=_one_of(merged, "preprocess", get_args(Preprocess), InputOptions.preprocess),
    )
    if (options.scale, options.preprocess) == ("model", "auto"):
        raise UndecodableError(
            "'scale' \"model\" passes numbers on as they are, so 'preprocess' cannot be \"auto\"."
        )
    return options


def _one_of(parameters: Mapping[str, Any], name: str, valid: tuple[Any, ...], default: Any) -> Any:
    value = parameters.get(name, default)
    if not isinstance(value, str) or value not in valid:
        raise UndecodableError(
            f"The parameter {name!r} is {shorten(value)}; expected one of {', '.join(valid)}."
        )
    return value
