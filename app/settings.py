"""All settings of the service, read once from the environment variables `DIGITSCOPE_*`.

Only the top of the program reads them; everything below gets values as arguments. docs/settings.md
is generated from the descriptions.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.path_prefix import parse_prefix

MIN_TOKEN_CHARS = 8  # of the admin token
MIN_RATE_PER_S = 0.001  # requests per second: one in 17 minutes
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """The settings of one service process; immutable."""

    model_config = SettingsConfigDict(
        env_prefix="DIGITSCOPE_",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # a wrong key must not get into the log
        allow_inf_nan=False,
    )

    host: str = Field(
        "127.0.0.1",
        description=(
            "Address to listen on. 0.0.0.0 opens the service to the network, `::` also with IPv6."
        ),
    )
    port: int = Field(
        8000, ge=0, le=65535, description="TCP port to listen on. 0 takes any free port."
    )
    grpc_port: int = Field(
        0,
        ge=0,
        le=65535,
        description=(
            "TCP port of the Open Inference Protocol over gRPC, often 8001; it needs the extra"
            " `grpc`. 0: no gRPC, and nothing of it is loaded. The limits, keys and deadlines of"
            " HTTP apply. Messages that arrive may take half of DIGITSCOPE_MEMORY_BUDGET_MB in"
            " addition."
        ),
    )
    model_dir: Path = Field(
        REPOSITORY / "model", description="Folder with one model bundle in each subfolder."
    )
    default_model: str = Field("compact", description="Model for requests that name no model.")
    max_body_bytes: int = Field(
        5 * 1024 * 1024,
        ge=1024,
        le=1024 * 1024 * 1024,
        description=(
            "Largest request body of JSON or arrays, in bytes; a larger one gets 413. Too high lets"
            " clients occupy the parser."
        ),
    )
    max_image_bytes: int = Field(
        20 * 1024 * 1024,
        ge=1024,
        le=128 * 1024 * 1024,
        description=(
            "Largest request body of image files, sent as they are or in a form, in bytes; a larger"
            " one gets 413. Too low refuses photos. Too high lets clients fill the memory."
        ),
    )
    max_pixels: int = Field(
        52_000_000,
        ge=784,
        le=200_000_000,
        description=(
            "Largest image, width times height in pixels, checked before decoding; a larger one"
            " gets 413. Formats that are decoded whole have lower limits (docs/imaging.md). Too low"
            " refuses photos from phones."
        ),
    )
    decode_timeout_s: float = Field(
        2.0,
        gt=0,
        le=600,
        description=(
            "CPU time in seconds that one image file may take to decode; then it gets 413. Too low"
            " refuses large photos on slow machines."
        ),
    )
    decode_memory_mb: int = Field(
        192,
        ge=64,
        le=65_536,
        description=(
            "Memory in MiB that one image file may take to decode; a file that needs more gets 413."
            " A photo of 50 million pixels takes about 40 as JPEG, and 160 as progressive JPEG."
        ),
    )
    memory_budget_mb: int = Field(
        384,
        ge=64,
        le=1_048_576,
        description=(
            "Memory in MiB that the requests of one process share: half for request bodies of more"
            " than 64 KiB, which count twice, and for responses of more than 256 KiB until they"
            " have been read; half for decoding and preparing images. What does not fit gets 503;"
            " an image waits. The process takes about 140 MiB in addition."
        ),
    )
    max_batch_items: int = Field(
        1024,
        ge=1,
        le=1_000_000,
        description="Most images in one /predict/batch request; more get 413.",
    )
    workers: int = Field(
        1,
        ge=1,
        le=256,
        description=(
            "Processes that `digitscope serve` starts. One per core serves the most requests per"
            " second. A process that dies is replaced."
        ),
    )
    threads: int = Field(
        2,
        ge=1,
        le=256,
        description=(
            "Threads for predictions in one process. More threads than cores only add context"
            " switches. Each needs memory for a decoded image and for an interpreter of each model"
            " in use."
        ),
    )
    max_queue: int = Field(
        64,
        ge=0,
        le=100_000,
        description=(
            "Predictions that may wait for a thread; more get 503 at once. Too low refuses short"
            " bursts. Too high makes all clients wait under overload."
        ),
    )
    slow_threads: int = Field(
        1,
        ge=1,
        le=64,
        description=(
            "Threads for pages and inspections in one process, and as many for explanations and"
            " ablations, so that an explanation of seconds delays no inspection. Predictions have"
            " threads of their own and never wait for these."
        ),
    )
    slow_max_queue: int = Field(
        32,
        ge=0,
        le=100_000,
        description=(
            "Pages and inspections that may wait for a thread; more get 503 at once. Explanations,"
            " reloads, and requests of /metrics, have queues of the same length."
        ),
    )
    quick_below_s: float = Field(
        0.001,
        ge=0,
        le=10,
        description=(
            "A network that takes at most this long for one image, in seconds, is fast; the time is"
            " measured when the model is loaded. 28x28 images for fast networks, one or a few in a"
            " request, use the micro-batcher instead of the threads, because a round trip to a"
            " thread takes longer."
            " Too high blocks the event loop. 0 sends all images to threads."
        ),
    )
    max_batch: int = Field(
        1,
        ge=1,
        le=32,
        description=(
            "Most images of concurrent requests in one run of a network; 1 runs each by itself,"
            " which is faster with LiteRT on CPUs (docs/performance.md). Larger than the number of"
            " threads has no effect but delay."
        ),
    )
    max_delay_ms: float = Field(
        2.0,
        ge=0,
        le=1000,
        description=(
            "Longest time in milliseconds that an image waits for others while the network is busy,"
            " if DIGITSCOPE_MAX_BATCH is above 1. An idle network never waits."
        ),
    )
    deadline_s: float = Field(
        10.0,
        gt=0,
        le=3600,
        description=(
            "Longest time in seconds from the end of a request's body to its response; after that"
            " it gets 504. A client may ask for less with the header X-Request-Timeout."
        ),
    )
    body_timeout_s: float = Field(
        60.0,
        gt=0,
        le=86_400,
        description=(
            "Longest time in seconds for a request's body to arrive; after that it gets 408. Too"
            " low refuses photos from slow networks."
        ),
    )
    body_bytes_per_s: float = Field(
        8000.0,
        ge=0,
        le=1_000_000_000,
        description=(
            "Bytes per second at which a body must arrive after its first 5 seconds, on average"
            " over each 5 s; a slower one gets 408. 0: any speed."
        ),
    )
    client_timeout_s: float = Field(
        10.0,
        gt=0,
        le=3600,
        description=(
            "Longest time in seconds for a client to send the head of a request, and to read each"
            " 64 KiB of a response; after that its connection is closed. Too low cuts off slow"
            " networks. Too high lets clients occupy connections."
        ),
    )
    max_connections: int = Field(
        512,
        ge=1,
        le=1_000_000,
        description=(
            "Open connections of one process. When there are more, an idle one of the client with"
            " the most connections is closed; if none is idle, requests on the new one get 503,"
            " except probes. Each takes a file descriptor, so the process must be allowed more of"
            " these than connections."
        ),
    )
    max_connections_per_client: int = Field(
        256,
        ge=1,
        le=1_000_000,
        description=(
            "Open connections of one client address in one process, except those of"
            " DIGITSCOPE_TRUSTED_PROXIES. When there are more, an idle one of the client is closed;"
            " if none is idle, requests on the new one get 503, except probes. Too low refuses"
            " large offices behind one address."
        ),
    )
    drain_delay_s: float = Field(
        2.0,
        ge=0,
        le=3600,
        description=(
            "Pause in seconds between SIGTERM, after which /readyz says 503, and the end of"
            " accepting connections. Set it longer than a load balancer needs to notice."
        ),
    )
    grace_s: int = Field(
        15,
        ge=1,
        le=3600,
        description=(
            "Longest time in seconds for running requests after that pause. An orchestrator must"
            " wait longer than both together before it kills the process."
        ),
    )
    api_keys: str | None = Field(
        None,
        repr=False,
        description=(
            "API keys that are accepted, separated by commas. Unset: no key is needed. Keys have"
            " printable ASCII characters only, because headers carry them."
        ),
    )
    open_page: bool = Field(
        True,
        description=(
            "Whether the page, /docs and /openapi.json need no API key, so that a browser can open"
            " them and then ask for the key."
        ),
    )
    open_metrics: bool = Field(
        False, description="Whether /metrics needs no API key, although keys are set."
    )
    admin_token: str | None = Field(
        None,
        repr=False,
        description=(
            "Token that allows reloading of models by request, at least 8 printable ASCII"
            " characters; no API key may equal it. Unset: there are no such requests; changed files"
            " take effect all the same."
        ),
    )
    feedback_dir: Path | None = Field(
        None,
        description=(
            "Folder that keeps the corrections of `POST /feedback`: 28x28 images, answers and right"
            " labels. It needs DIGITSCOPE_API_KEYS. Unset: the service stores nothing, and the"
            " route does not exist."
        ),
    )
    feedback_max_items: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description=(
            "Most images in DIGITSCOPE_FEEDBACK_DIR; when it is full, corrections get 507."
        ),
    )
    feedback_max_mb: int = Field(
        64,
        ge=1,
        le=65_536,
        description=(
            "Most MiB in DIGITSCOPE_FEEDBACK_DIR, in which each image counts 4 KiB; when it is"
            " full, corrections get 507."
        ),
    )
    rate_limit_per_s: float = Field(
        0.0,
        ge=0,
        le=1_000_000,
        description=(
            "Requests per second of one client address in one process; more get 429. 0: no limit."
        ),
    )
    trusted_proxies: str = Field(
        "",
        description=(
            "Addresses and networks of the reverse proxies in front of the service, separated by"
            " commas, such as `127.0.0.1, 10.0.0.0/8`. Only these are believed what they write into"
            " X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Prefix. Unset behind a proxy: all"
            " clients count as one. Too wide: clients can invent their address."
        ),
    )
    root_path: str = Field(
        "",
        description=(
            "Path prefix under which a reverse proxy publishes the service, such as `/digits`,"
            " whether or not the proxy strips it. A trusted proxy may send X-Forwarded-Prefix"
            " instead. Needed for /docs, the document's `servers`, and the page without a trailing"
            " slash."
        ),
    )
    cors_origins: str = Field(
        "",
        description=(
            "Origins of other web sites whose scripts may call the service, separated by commas,"
            " such as `https://example.org, http://localhost:3000`; `*` for all. Unset: none."
        ),
    )
    cors_credentials: bool = Field(
        False,
        description=(
            "Whether scripts of DIGITSCOPE_CORS_ORIGINS may send cookies and a browser's own"
            " logins, for a proxy that needs these. API keys need no such permission. Not with `*`."
        ),
    )
    access_log: bool = Field(True, description="Whether each request gets a line in the log.")
    log_format: Literal["text", "json"] = Field(
        "text", description="Form of the log: text for people, or one JSON object per line."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest severity of log lines that are written."
    )

    @field_validator("host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        if not value.strip():
            raise ValueError(
                "it is set but empty; unset it, or write 0.0.0.0 to listen on every address"
            )
        return value

    @field_validator("grpc_port")
    @classmethod
    def _check_grpc_port(cls, value: int, info: ValidationInfo) -> int:
        if value and value == info.data.get("port"):
            raise ValueError("HTTP uses this port (DIGITSCOPE_PORT); choose another one")
        return value

    @field_validator("rate_limit_per_s")
    @classmethod
    def _check_rate(cls, value: float) -> float:
        if 0 < value < MIN_RATE_PER_S:
            raise ValueError(f"expected 0 (no limit) or at least {MIN_RATE_PER_S}")
        return value

    @field_validator("api_keys")
    @classmethod
    def _check_keys(cls, value: str | None) -> str | None:
        if value is not None:
            _check_secrets(split_keys(value))
        return value

    @field_validator("admin_token")
    @classmethod
    def _check_token(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        token = value.strip()
        _check_secrets([token] if token else [])
        if len(token) < MIN_TOKEN_CHARS:
            raise ValueError(f"the token has less than {MIN_TOKEN_CHARS} characters")
        if token in split_keys(info.data.get("api_keys") or ""):
            raise ValueError("the token is also an API key, so that every client could reload")
        return token

    @field_validator("feedback_dir")
    @classmethod
    def _check_feedback(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None or "api_keys" not in info.data:  # the keys are invalid, and named
            return value
        if info.data["api_keys"] is None:
            raise ValueError("corrections need a key; set DIGITSCOPE_API_KEYS, too")
        if value == Path():
            raise ValueError("it is set but empty; unset it, or name a folder")
        return value

    @field_validator("root_path")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        return parse_prefix(value)

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: str) -> str:
        origins = split_keys(value.lower())
        if "*" in origins and len(origins) > 1:
            raise ValueError("'*' allows all origins; expected no other next to it")
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin; expected something like https://example.org, with a"
                    " port if it is unusual, and without a path"
                )
        return ",".join(origins)

    @field_validator("cors_credentials")
    @classmethod
    def _check_credentials(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("cors_origins") == "*":
            raise ValueError("with the origin '*' every web site could use its visitors' logins")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: str) -> str:
        parse_networks(value)
        return value


def split_keys(text: str) -> list[str]:
    """Return the API keys in a list that is separated by commas."""
    return [key.strip() for key in text.split(",") if key.strip()]


def _check_secrets(secrets: Sequence[str]) -> None:
    """Check that there are keys and that clients can send each of them.

    Raises:
        ValueError: The message names a key by its place, never by its text.
    """
    if not secrets:
        raise ValueError("it is set but contains no key; unset it if none is wanted")
    for place, secret in enumerate(secrets, start=1):
        key = f"key {place} of {len(secrets)}"
        if not (secret.isascii() and secret.isprintable()):
            raise ValueError(
                f"{key} has characters that no header can carry; expected printable ASCII"
            )
        if secret in secrets[: place - 1]:
            raise ValueError(f"{key} equals key {secrets.index(secret) + 1}")


def parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Parse addresses and networks that are separated by commas.

    Raises:
        ValueError: An entry is neither.
    """
    return tuple(_parse_network(entry.strip()) for entry in text.split(",") if entry.strip())


def _parse_network(entry: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(entry, strict=False)
    except ValueError as error:
        raise ValueError(
            f"{entry!r} is neither an address nor a network; expected something like 127.0.0.1,"
            " 10.0.0.0/8 or fd00::/8"
        ) from error
    if ip_address(entry.partition("/")[0]) != network.network_address:
        raise ValueError(f"{entry!r} is an address inside a network; the network is {network}")
    return network


def is_secret(name: str) -> bool:
    """Return whether a setting's value must not be printed or logged."""
    return name in Settings.model_fields and not Settings.model_fields[name].repr


def invalid_settings(error: ValidationError) -> list[str]:
    """Return a sentence on each invalid setting that names its environment variable."""
    sentences = []
    for detail in error.errors():
        name = f"DIGITSCOPE_{'_'.join(str(part) for part in detail['loc'])}".upper()
        value = "" if is_secret(str(detail["loc"][0])) else f" The value is {detail['input']!r}."
        reason = detail["msg"].removeprefix("Value error, ")
        sentences.append(f"The setting {name} is invalid: {reason}.{value}")
    return sentences
