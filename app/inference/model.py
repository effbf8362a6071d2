"""A model as it is served: a bundle, its layers and the runtimes that run it."""

from dataclasses import dataclass, replace
from functools import cached_property

from app.bundle import Bundle
from app.embeddings import Embeddings
from app.held_out import HeldOutAnswers
from app.inference.batcher import BatchingRuntime
from app.inference.runtime import Runtime
from app.network.network import Network

# Batch sizes of an int8 network, largest first. Keeping an interpreter for each takes 0.5 MB in
# total.
INT8_BATCH_SIZES = (16, 8, 4, 2, 1)
# Limits of one part of a large batch. A thread looks for other requests after each part. Parts of
# 256 images take 1 % longer per image than parts of 512.
MAX_PART_S, MAX_PART_IMAGES = 0.03, 512


@dataclass(frozen=True)
class Model:
    """A bundle and the runtimes that serve it.

    Attributes:
        bundle: The files, verified.
        runtime: Runs predictions.
        network: The layers, for inspection.
        embeddings: Feature vectors of training digits, or None if the bundle has none.
        seconds_per_image: Measured when the model was loaded: the median of several runs.
        float32_runtime: Runs the same network in float32 if `runtime` runs it in int8, else None.
        event_loop_runtime: A second runtime for the event loop alone, or None if the network is
            too slow to run there.
        held_out: The answers on held-out digits, or None if the bundle has none.
    """

    bundle: Bundle
    runtime: Runtime
    network: Network
    embeddings: Embeddings | None
    seconds_per_image: float = float("inf")
    float32_runtime: Runtime | None = None
    event_loop_runtime: Runtime | None = None
    held_out: HeldOutAnswers | None = None

    @property
    def part_size(self) -> int:
        """Return how many images of a large batch a thread runs before it looks for other work."""
        runs = int(MAX_PART_S / self.seconds_per_image) // INT8_BATCH_SIZES[0]
        return min(max(1, runs) * INT8_BATCH_SIZES[0], MAX_PART_IMAGES)

    @property
    def in_float32(self) -> "Model":
        """The same model in float32: its predictions match the layer outputs of `inspect`."""
        if not self.float32_runtime:
            return self
        return replace(
            self, runtime=self.float32_runtime, float32_runtime=None, event_loop_runtime=None
        )

    @property
    def batches_requests(self) -> bool:
        """Tell whether the runtime joins the images of concurrent calls in one batch."""
        return isinstance(self.runtime, BatchingRuntime)

    @cached_property
    def on_event_loop(self) -> "Model":
        """The same model on `event_loop_runtime`, or this model if it has none."""
        return replace(self, runtime=self.event_loop_runtime) if self.event_loop_runtime else self
