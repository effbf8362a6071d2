"""What routes ask for: the service's state and the parameters of a route with an image."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from app.inference.registry import Registry
from app.recognise import Options, Polarity, Preprocess
from app.web.body import Limits
from app.web.work import Workers


@dataclass(frozen=True)
class Service:
    """What one process serves with; made by the lifespan.

    Attributes:
        slow: Runs what takes a second or so (explanations), so that it never keeps predictions
            waiting.
    """

    registry: Registry
    workers: Workers
    slow: Workers
    limits: Limits
    max_pixels: int

    def options(self, query: "ImageQuery") -> Options:
        """Join a request's parameters with the limits of the service."""
        return Options(
            preprocess=query.preprocess, polarity=query.polarity, max_pixels=self.max_pixels
        )


class ImageQuery(BaseModel):
    """The query parameters of every route that takes an image."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="Name of the model; the default model if left out.")
    preprocess: Preprocess = Field(
        "auto",
        description=(
            "`auto` prepares the image as MNIST was made; `none` takes a 28x28 image as it is."
        ),
    )
    polarity: Polarity = Field(
        "auto", description="Whether the ink is darker or lighter than its ground."
    )


def _service(request: Request) -> Service:
    return cast(Service, request.state.service)


ServiceDep = Annotated[Service, Depends(_service)]
ImageQueryDep = Annotated[ImageQuery, Query()]
