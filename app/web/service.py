"""The state of one serving process, and the recognition that its routes and protocols share.

Knows models, thread pools and metrics. Knows nothing of HTTP requests: callers hand in a callable
that returns when their client disconnects (`app.cancellation.Disconnected`).
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TypeVar

import numpy as np

from app.cancellation import Disconnected
from app.imaging.decoder_pool import DecoderPool
from app.imaging.file_structure import declared_pixels
from app.imaging.png_reader import is_small_png
from app.imaging.polarity import Polarity
from app.inference.model import INT8_BATCH_SIZES, Model
from app.inference.registry import Registry
from app.inference.runtime import Pixels
from app.inspection.maximisation import MaximisedPictures
from app.memory_budget import MemoryBudget
from app.page_reading import find_several
from app.predictions import BatchResult, InputSummary
from app.recognise import (
    ImageInput,
    Images,
    Options,
    Preprocess,
    Unprepared,
    ensure_decoded,
    is_passthrough,
    pass_through,
    recognise_many,
    take_unprepared,
)
from app.web.execution.correction_writer import CorrectionWriter
from app.web.execution.expected_wait import Kind
from app.web.execution.micro_batcher import MicroBatcher, R, Write, max_images
from app.web.execution.parallel_batch import run_batch
from app.web.execution.thread_pool import BoundedThreadPool
from app.web.http.auth import Admin
from app.web.http.shutdown import Drain
from app.web.observability.metrics import Metrics
from app.web.requests.body import Limits
from app.web.requests.parsing import BodyParser
from app.web.responses.predictions import prediction_texts
from app.web.schemas.query import ImageQuery

T = TypeVar("T")
MAX_HEADER_BYTES = 1 << 16  # bytes of a file in which its size is looked for, on the event loop
MAX_FILES_PER_PART = 32  # files; each may be a photo, and other calls wait until a part is done
# PNGs of at most 28x28, which take about 50 us each: in parts of 128 an eighth less than in parts
# of 32, because the network pushes everything else out of the processor's caches.
MAX_SMALL_FILES_PER_PART = 128


@dataclass(frozen=True)
class Service:
    """What one process serves with; the application's lifespan creates it.

    Attributes:
        registry: The models.
        prediction_pool: Threads for predictions.
        inspection_pool: Threads for pages and inspections. Predictions never wait for them.
        explanation_pool: Threads for explanations and ablations, which may take seconds;
            inspections never wait for them.
        reload_pool: Thread that loads models. A reload never waits for an explanation.
        body_parser: Parses large bodies.
        metrics_pool: Thread that writes the metrics page. It is answered even under full load.
        micro_batcher: Runs fast networks on the event loop, or in a thread beside it.
        limits: Largest request body and most images in one request.
        max_pixels: Largest image, width times height.
        memory: The memory that requests share.
        decoders: Processes that decode image files.
        metrics: The counters of this process.
        drain: Knows whether the process is shutting down; begins with SIGTERM.
        admin: Checks the admin token.
        quick_below_s: A network that takes at most so many seconds for an image is fast enough for
            the micro-batcher.
        corrections: Stores corrections; None if no folder is set for them.
        maximised: The pictures of what channels look for, which take long to make.
        stage: Opens a span of a trace for a stage of a prediction.
        numpy_lock: Lets only one thread of a batch work with NumPy at a time (`recognise_many`).
    """

    registry: Registry
    prediction_pool: BoundedThreadPool
    inspection_pool: BoundedThreadPool
    explanation_pool: BoundedThreadPool
    reload_pool: BoundedThreadPool
    body_parser: BodyParser
    metrics_pool: BoundedThreadPool
    micro_batcher: MicroBatcher
    limits: Limits
    max_pixels: int
    memory: MemoryBudget
    decoders: DecoderPool
    metrics: Metrics
    drain: Drain
    admin: Admin
    quick_below_s: float
    corrections: CorrectionWriter | None = None
    stage: Callable[[str], AbstractContextManager[object]] = nullcontext
    numpy_lock: threading.Lock = field(default_factory=threading.Lock)
    maximised: MaximisedPictures = field(default_factory=MaximisedPictures)

    def options(self, query: ImageQuery) -> Options:
        """Combine a request's query parameters with the limits of the service."""
        return self._options(query.preprocess, query.polarity)

    @cached_property
    def _options(self) -> Callable[[Preprocess, Polarity], Options]:
        return cache(
            lambda preprocess, polarity: replace(
                self.file_options, preprocess=preprocess, polarity=polarity
            )
        )

    @cached_property
    def file_options(self) -> Options:
        """The options of a file that comes without parameters."""
        return Options(
            max_pixels=self.max_pixels,
            decode=self.decoders.decode,
            find_several=find_several,
            working_memory=self.memory.working,
            stage=self.stage,
        )

    def close(self) -> None:
        """Drop the queued calls, end the decoders, and wait for the batcher and the compiler."""
        for pool in (
            self.prediction_pool,
            self.inspection_pool,
            self.explanation_pool,
            self.reload_pool,
            self.body_parser,
            self.metrics_pool,
        ):
            pool.close()
        if self.corrections:
            self.corrections.close()
        self.decoders.close()
        self.micro_batcher.close()
        self.registry.close()

    async def model(self, name: str | None) -> Model:
        """Return the model `name`, or the default model for None; load it if needed.

        Raises:
            NotFoundError: There is no model of this name.
            NotReadyError: The model is being compiled, or could not be loaded.
            QueueFullError: The model must be loaded, and too many loads are waiting.
        """
        if self.registry.is_loaded(name):
            return self.registry.get(name)
        self.registry.find_bundle(name or self.registry.default)
        return await self.reload_pool.run(self.registry.get, name)

    async def reload(self, name: str) -> None:
        """Serve the bundle that is in the folder from now on.

        While it is compiled, the thread for loading models is free for others.

        Raises:
            NotFoundError: There is no model of this name.
            BundleError: The bundle is damaged; the old model stays.
            QueueFullError: Too many loads are waiting.
        """
        compilation = await self.reload_pool.run(self.registry.begin_reload, name)
        if compilation:
            # Shielded, because a client that leaves must not cancel what other clients wait for.
            await asyncio.shield(asyncio.wrap_future(compilation))

    async def recognise(
        self,
        image: ImageInput,
        model: Model,
        options: Options,
        *,
        disconnected: Disconnected,
        client: object,
    ) -> str:
        """Recognise one image: a 28x28 with a fast network on the event loop, others in a thread.

        Args:
            image: The image.
            model: The network.
            options: How the image is read.
            disconnected: Returns once the client has gone.
            client: Identifies the client's connection.

        Returns:
            A `PredictionAnswer` as JSON.

        Raises:
            DigitscopeError: The image cannot be read, or the queue is full.
            WorkCancelled: The client disconnected.
        """
        # A round trip to a thread takes longer than to decode a 28x28 (docs/performance.md).
        if self._is_fast(model) and (not isinstance(image, bytes) or is_small_png(image)):
            began = time.perf_counter()
            image = ensure_decoded(image, options)
            if is_passthrough(image, options):
                (text,) = await self._run_micro_batch(
                    pass_through(image), model, prediction_texts, client, began
                )
                return text

        def work() -> tuple[BatchResult, list[str]]:
            result = recognise_many([image], model, options)
            return result, prediction_texts(result, model.bundle)

        kind = kind_of_work("image", model, size_of(image))
        result, texts = await self.prediction_pool.run_until(disconnected, kind, work)
        for error in result.errors.values():
            raise error
        self.metrics.count_predictions([result], model)
        return texts[0]

    async def recognise_few(
        self,
        images: Pixels,
        model: Model,
        options: Options,
        write: Write[R],
        *,
        client: object,
    ) -> tuple[R, Sequence[InputSummary]] | None:
        """Recognise a few images at once if they need no preparation and the network is fast.

        Args:
            images: `[N, 28, 28]`.
            model: The network.
            options: How the images are read.
            write: Makes one row for each image of a run.
            client: Identifies the client's connection.

        Returns:
            The rows and properties of the images; None if they belong in `recognise_many`.

        Raises:
            QueueFullError: The queue is full.
        """
        if not self._is_fast(model) or len(images) > max_images(model):
            return None
        began = time.perf_counter()
        unprepared = take_unprepared(images, options)
        if unprepared is None:
            return None
        rows = await self._run_micro_batch(unprepared, model, write, client, began)
        return rows, unprepared.summaries

    def _is_fast(self, model: Model) -> bool:
        """Return whether a network is fast enough for the micro-batcher."""
        return model.seconds_per_image <= self.quick_below_s

    async def _run_micro_batch(
        self, images: Unprepared, model: Model, write: Write[R], client: object, began: float
    ) -> R:
        """Run images whose preparation began at `began` by `time.perf_counter`."""
        preparation_s = (time.perf_counter() - began) / len(images.summaries)
        run = self.micro_batcher.run(
            images, model, write, client=client, preparation_s=preparation_s
        )
        if self.stage is nullcontext:
            return await run
        with self.stage("inference"):  # preparing a 28x28 takes no time worth a span
            return await run

    async def recognise_many(
        self,
        images: Images,
        model: Model,
        options: Options,
        write: Callable[[BatchResult], T],
        *,
        disconnected: Disconnected,
        arrivals: AsyncGenerator[int, None] | None = None,
    ) -> list[T]:
        """Recognise many images in parts, on all prediction threads, while they still arrive.

        Args:
            images: The images. With `arrivals`, a list grows and an array fills meanwhile.
            model: The network.
            options: How the images are read.
            write: Makes the response of one part; called in the threads.
            disconnected: Returns once the client has gone.
            arrivals: Yields how many images have arrived; None if all have.

        Returns:
            The results of `write`, in order.

        Raises:
            QueueFullError: The queue is full; nothing was started.
            ExpectedWaitError: The batch would end after its deadline; nothing was started.
            WorkCancelled: The client disconnected.
        """
        is_array = isinstance(images, np.ndarray)

        def kind_of(count: int) -> Kind:
            return kind_of_work("array" if is_array else "files", model, count)

        def max_files(items: slice) -> int:
            are_small = all(
                isinstance(file, bytes) and is_small_png(file) for file in images[items]
            )
            return min(
                model.part_size, MAX_SMALL_FILES_PER_PART if are_small else MAX_FILES_PER_PART
            )

        def work(part: slice) -> tuple[BatchResult, T]:
            result = recognise_many(images[part], model, options, self.numpy_lock)
            with self.numpy_lock:
                return result, write(result)

        parts = await run_batch(
            self.prediction_pool,
            disconnected,
            kind_of,
            work,
            len(images) if is_array or arrivals is None else None,
            max_part=model.part_size if is_array else min(model.part_size, MAX_FILES_PER_PART),
            max_part_of=None if is_array else max_files,
            run_size=INT8_BATCH_SIZES[0],
            arrivals=arrivals,
        )
        self.metrics.count_predictions([result for result, _ in parts], model)
        return [written for _, written in parts]


def kind_of_work(name: str, model: Model, size: int, estimate_s: float = 0.0) -> Kind:
    """Return the kind of work that `name` does with a model and an input of `size`.

    Args:
        name: What is done.
        model: The network.
        size: Pixels, images or steps.
        estimate_s: Seconds that it should take (`app.inspection.cost_limits`); 0 if unknown.
    """
    return Kind.of(f"{name} {model.bundle.metadata.name}", size, estimate_s)


def size_of(image: ImageInput) -> int:
    """Return the pixels that an image declares, or the bytes of a file that declares none."""
    if isinstance(image, bytes):
        return declared_pixels(image[:MAX_HEADER_BYTES]) or len(image)
    return image.size if isinstance(image, np.ndarray) else image.pixels.size
