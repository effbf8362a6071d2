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
        "classic", description="Model that answers where a request names none."
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
        256, ge=1, description="Most images in one /predict/batch; more are refused with 413."
    )
    threads: int = Field(
        2,
        ge=1,
        le=256,
        description=(
            "Requests worked on at once in one process. More than the cores only adds switching;"
            " each holds one interpreter and one decoded image."
        ),
    )
    max_queue: int = Field(
        64,
        ge=0,
        description=(
            "Requests that may wait for a thread; more are refused with 503 at once. Too low"
            " refuses short bursts; too high makes everybody wait under overload."
        ),
    )
    deadline_s: float = Field(
        10.0,
        gt=0,
        description="Longest time from a request's first byte to its answer; then it gets 504.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log lines that are written."
    )
