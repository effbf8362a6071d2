"""The problem document of RFC 9457."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

# Optional members, which `Problem` takes as extra fields: they are left out, not sent as null.
_OPTIONAL: dict[str, Any] = {
    "valid": {
        "type": "array",
        "items": {"type": "string"},
        "description": "The values that would be accepted.",
    },
    "errors": {
        "type": "array",
        "items": {"type": "object"},
        "description": "Each error with its location, `loc`, and a sentence, `msg`.",
    },
}


def _add_optional(schema: dict[str, Any]) -> None:
    schema["properties"] |= _OPTIONAL


class Problem(BaseModel):
    """An error, in the form of RFC 9457."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_add_optional)

    type: str = Field(
        description="URI of the kind of problem.",
        examples=["urn:digitscope:problem:blank-image"],
    )
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was expected, what came, and what to do.")
    instance: str = Field(description="The path of the request.")
    request_id: str = Field(
        description="Id of the request; also in the header X-Request-ID and in the log."
    )
