"""What routes ask for: the service's state and the parameters of a route with an image."""

import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar, cast

import numpy as np
from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from app.imaging.decode import is_small
from app.imaging.polarity import Polarity
from app.inference.registry import Model, Registry
from app.recognise import (
    BatchResult,
    ImageInput,
    Images,
    Options,
    Preprocess,
    decode_only,
    goes_unchanged,
    recognise_many,
)
from app.web.execution.micro_batcher import MicroBatcher
from app.web.execution.thread_pool import BoundedThreadPool
from app.web.http.auth import Admin
from app.web.http.shutdown import Drain
from app.web.observability.metrics import Metrics
from app.web.requests.body import Limits
from app.web.responses.predictions import prediction_texts

T = TypeVar("T")
# Of a batch of files, what a thread reads before it looks at what else waits: each may be a photo.
FILES = 32


@dataclass(frozen=True)
class Service:
    """What one process serves with; made by the lifespan.

    Attributes:
        registry: The models.
        fast: The lane of predictions.
        slow: The lane of pages, inspections and explanations, so that they never keep predictions
            waiting.
        reloads: The lane of new bundles, which wait for no explanation.
        scrapes: Likewise of counts: those who watch see most when most is asked.
        beside: Where quick networks run.
        limits: Largest bodies.
        max_pixels: Largest images.
        metrics: What is counted.
        drain: Whether the process is about to stop.
        admin: Who may reload models.
        quick_below_s: A network that takes at most this long for an image is quick.
        turn: What threads that share a batch hold in turn (`recognise_many`).
    """

    registry: Registry
    prediction_pool: BoundedThreadPool
    inspection_pool: BoundedThreadPool
    reload_pool: BoundedThreadPool
    metrics_pool: BoundedThreadPool
    micro_batcher: MicroBatcher
    limits: Limits
    max_pixels: int
    metrics: Metrics
    drain: Drain
    admin: Admin
    quick_below_s: float
    numpy_lock: threading.Lock = field(default_factory=threading.Lock)

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
            QueueFullError: It would have to be loaded, and too many wait for that.
        """
        if self.registry.is_loaded(name):
            return self.registry.get(name)
        self.registry.describe(name or self.registry.default)
        return await self.reload_pool.run(self.registry.get, name)

    async def recognise(
        self, request: Request, image: ImageInput, model: Model, options: Options
    ) -> str:
        """Read one image in the fast lane; a 28x28 for a quick network without that way.

        To hand work to a thread and back takes longer than to decode a 28x28, or than a quick
        network (docs/performance.md).

        Returns:
            A `PredictionAnswer` as JSON.
        """
        if model.seconds <= self.quick_below_s and (
            not isinstance(image, bytes) or is_small(image)
        ):
            began = time.perf_counter()
            image = decode_only(image, options)
            if goes_unchanged(image, options):
                spent = time.perf_counter() - began
                return await self.micro_batcher.run(
                    image, model, request.scope.get("client"), spent
                )

        def read() -> tuple[BatchResult, list[str]]:
            found = recognise_many([image], model, options)
            return found, prediction_texts(found, model.bundle)

        found, texts = await self.prediction_pool.run_for(request, read)
        for error in found.errors.values():
            raise error
        self.metrics.read([found], model)
        return texts[0]

    async def recognise_many(
        self,
        request: Request,
        images: Images,
        model: Model,
        options: Options,
        write: Callable[[BatchResult], T],
        arrivals: AsyncGenerator[int, None] | None = None,
    ) -> list[T]:
        """Read many images in the fast lane, in parts on all of its threads, as they arrive.

        With `arrivals`, a list grows as these say.

        Returns:
            What `write`, called in these threads, makes of each part, in order.
        """

        def read(part: slice) -> tuple[BatchResult, T]:
            found = recognise_many(images[part], model, options, self.numpy_lock)
            with self.numpy_lock:
                return found, write(found)

        array = isinstance(images, np.ndarray)
        most = model.part if array else min(model.part, FILES)
        count = len(images) if array or arrivals is None else None
        parts = await self.prediction_pool.run_parts_for(
            request, read, count, most=most, arrivals=arrivals
        )
        self.metrics.read([found for found, _ in parts], model)
        return [written for _, written in parts]


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
