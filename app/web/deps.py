"""What routes ask for: the service's state and the parameters of a route with an image."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from app.errors import DigitscopeError
from app.imaging.decode import is_small
from app.inference.registry import Model, Registry
from app.recognise import (
    ImageInput,
    Options,
    Polarity,
    Prediction,
    Preprocess,
    decode_only,
    read_as_it_came,
    recognise,
    recognise_many,
)
from app.web.access import Admin
from app.web.beside import Beside
from app.web.body import Limits
from app.web.drain import Drain
from app.web.metrics import Metrics
from app.web.work import Workers

PART = 32  # images of a batch that one thread reads at a time


@dataclass(frozen=True)
class Service:
    """What one process serves with; made by the lifespan.

    Attributes:
        registry: The models.
        fast: The lane of predictions.
        slow: The lane of pages, inspections and explanations, so that they never keep predictions
            waiting.
        beside: Where quick networks run.
        limits: Largest bodies.
        max_pixels: Largest images.
        metrics: What is counted.
        drain: Whether the process is about to stop.
        admin: Who may reload models.
        quick_below_s: A network that takes at most this long for an image is quick.
    """

    registry: Registry
    fast: Workers
    slow: Workers
    beside: Beside
    limits: Limits
    max_pixels: int
    metrics: Metrics
    drain: Drain
    admin: Admin
    quick_below_s: float

    def options(self, query: "ImageQuery") -> Options:
        """Join a request's parameters with the limits of the service."""
        return Options(
            preprocess=query.preprocess, polarity=query.polarity, max_pixels=self.max_pixels
        )

    async def model(self, name: str | None) -> Model:
        """Return the model of this name, or the default for None, once it is loaded.

        Raises:
            NotFoundError: There is no such model.
            NotReadyError: It is still being compiled, or it cannot be loaded.
            QueueFullError: It would have to be loaded, and the slow lane is full.
        """
        if self.registry.is_loaded(name):
            return self.registry.get(name)
        self.registry.describe(name or self.registry.default)
        return await self.slow.run(self.registry.get, name)

    async def recognise(
        self, request: Request, image: ImageInput, model: Model, options: Options
    ) -> Prediction:
        """Read one image in the fast lane; a 28x28 for a quick network without that way.

        To hand work to a thread and back takes longer than to decode a 28x28, or than a quick
        network (docs/performance.md).
        """
        if model.seconds <= self.quick_below_s and (
            not isinstance(image, bytes) or is_small(image)
        ):
            image = decode_only(image, options)
            read = read_as_it_came(image, options)
            if read:
                return await self.beside.run(read, model, request.scope.get("client"))
        prediction = await self.fast.run_for(request, recognise, image, model, options)
        self.metrics.read((prediction,), model)
        return prediction

    async def recognise_many(
        self,
        request: Request,
        images: Sequence[ImageInput | DigitscopeError],
        model: Model,
        options: Options,
    ) -> list[Prediction | DigitscopeError]:
        """Read many images in the fast lane, in parts on all of its threads; order is kept."""
        room = asyncio.Semaphore(self.fast.threads)

        async def part(start: int) -> list[Prediction | DigitscopeError]:
            async with room:
                some = images[start : start + PART]
                return await self.fast.run_for(request, recognise_many, some, model, options)

        parts = await asyncio.gather(*(part(at) for at in range(0, len(images), PART)))
        results = [result for found in parts for result in found]
        self.metrics.read([one for one in results if isinstance(one, Prediction)], model)
        return results


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
        "auto", description="Whether the ink is darker or lighter than its ground."
    )


async def _service(request: Request) -> Service:
    return cast(Service, request.state.service)


ServiceDep = Annotated[Service, Depends(_service)]
ImageQueryDep = Annotated[ImageQuery, Query()]
