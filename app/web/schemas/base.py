"""The base of response bodies."""

from pydantic import BaseModel, ConfigDict


class ResponseBody(BaseModel):
    """An immutable body of an HTTP response."""

    model_config = ConfigDict(frozen=True)
