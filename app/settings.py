"""Every setting of the service, read once from the environment (`DIGITSCOPE_*`).

Only the top level of the program reads this; below it values arrive as arguments.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """The settings of one service process; frozen once read."""

    model_config = SettingsConfigDict(env_prefix="DIGITSCOPE_", frozen=True, extra="forbid")

    host: str = Field(
        "127.0.0.1", description="Address to listen on; 0.0.0.0 opens the service to the network."
    )
    port: int = Field(
        8000, ge=0, le=65535, description="TCP port to listen on; 0 takes a free one."
    )
    model_dir: Path = Field(
        REPOSITORY / "model", description="Folder with one model bundle in each subfolder."
    )
    default_model: str = Field(
        "compact", description="Model that answers where a request names none."
    )
    max_body_bytes: int = Field(
        5 * 1024 * 1024,
        ge=1024,
        description=(
            "Largest request body. Too low refuses photos; too high lets clients fill the memory."
        ),
    )
    max_pixels: int = Field(
        20_000_000,
        ge=784,
        description=(
            "Largest image, width times height, checked before decoding. A decoded pixel costs up"
            " to 4 bytes several times over; too low refuses phone photos."
        ),
    )
    max_batch_items: int = Field(
        1024, ge=1, description="Most images in one /predict/batch; more are refused with 413."
    )
    workers: int = Field(
        1,
        ge=1,
        le=256,
        description=(
            "Processes that `serve` starts; one for each core serves most requests a second. One"
            " that dies is replaced."
        ),
    )
    threads: int = Field(
        2,
        ge=1,
        le=256,
        description=(
            "Predictions worked on at once in one process. More than the cores only adds switching;"
            " each holds a decoded image, and an interpreter of each model that is asked for."
        ),
    )
    max_queue: int = Field(
        64,
        ge=0,
        description=(
            "Predictions that may wait for a thread; more are refused with 503 at once. Too low"
            " refuses short bursts; too high makes everybody wait under overload."
        ),
    )
    slow_threads: int = Field(
        1,
        ge=1,
        le=64,
        description=(
            "Pages, inspections and explanations worked on at once in one process. They have their"
            " own threads, so that predictions never wait for them."
        ),
    )
    slow_max_queue: int = Field(
        32,
        ge=0,
        description=(
            "Of these, how many may wait; more are refused with 503 at once. As many reloads, and"
            " as many looks at the metrics, may wait beside them."
        ),
    )
    quick_below_s: float = Field(
        0.001,
        ge=0,
        description=(
            "A network that reads one image in less time than this (measured at start) is quick:"
            " 28x28 images skip the way to a thread and back, which takes longer, and those of"
            " concurrent requests run together. Too high keeps the event loop from its work."
        ),
    )
    max_batch: int = Field(
        1,
        ge=1,
        le=32,
        description=(
            "Most images of concurrent requests that are run through the network together; 1 runs"
            " each at once, which is faster with LiteRT on CPUs (docs/performance.md). No more come"
            " together than there are threads: with fewer of these, each image waits in vain."
        ),
    )
    max_delay_ms: float = Field(
        2.0,
        ge=0,
        le=1000,
        description=(
            "Longest time that an image waits for others while the network is busy, with max_batch"
            " above 1. An idle network never waits."
        ),
    )
    deadline_s: float = Field(
        10.0,
        gt=0,
        description=(
            "Longest time from a request's first byte to its answer; then it gets 504. A client may"
            " ask for less in the header X-Request-Timeout, in seconds."
        ),
    )
    client_timeout_s: float = Field(
        10.0,
        gt=0,
        description=(
            "Longest time that a client may take for the head of a request, and for each 64 KiB of"
            " an answer; then its connection is closed. Too low cuts off slow lines; too high lets"
            " clients hold connections."
        ),
    )
    max_connections: int = Field(
        512,
        ge=1,
        description=(
            "Connections of one process; requests on more are refused with 503. Each needs an open"
            " file: the process must be allowed more than these."
        ),
    )
    drain_delay_s: float = Field(
        2.0,
        ge=0,
        description=(
            "Pause between SIGTERM, from which /readyz says 503, and the end of accepting"
            " connections: longer than a load balancer takes to notice."
        ),
    )
    grace_s: int = Field(
        15,
        ge=1,
        description=(
            "After that, longest time for requests that have begun. An orchestrator must wait"
            " longer than both together."
        ),
    )
    api_keys: str = Field(
        "",
        repr=False,
        description="Keys that may ask, with commas between them; empty lets everybody ask.",
    )
    admin_token: str | None = Field(
        None,
        repr=False,
        min_length=8,
        description="Token that may reload models; without it nobody may.",
    )
    rate_limit_per_s: float = Field(
        0.0,
        ge=0,
        description=(
            "Requests a second of one client address in one process; more get 429. 0 sets no limit."
        ),
    )
    access_log: bool = Field(True, description="Whether each request gets a line in the log.")
    log_format: Literal["text", "json"] = Field(
        "text", description="Lines for people, or one JSON object per line."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log lines that are written."
    )
