"""The query parameters that all routes with an image share."""

from pydantic import BaseModel, ConfigDict, Field

from app.imaging.polarity import Polarity
from app.recognise import Preprocess


class ImageQuery(BaseModel):
    """The query parameters of every route that takes an image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(None, description="Name of the model; the default model if left out.")
    preprocess: Preprocess = Field(
        "auto",
        description=(
            "`auto` prepares the image as MNIST was made; `none` takes a 28x28 image as it is."
        ),
    )
    polarity: Polarity = Field(
        "auto", description="Whether the ink is darker or lighter than its background."
    )
