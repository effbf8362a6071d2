"""The definitions of all metrics and their labels; docs/metrics.md is generated from them."""

from dataclasses import dataclass
from typing import Literal

Lane = Literal[
    "fast", "slow", "explanations", "quick", "parsing", "reloads", "scrapes", "corrections"
]
InputKind = Literal["pixels", "28x28", "image", "page"]
Rejection = Literal[
    "busy",
    "client-gone",
    "connections",
    "deadline",
    "key",
    "memory",
    "not-ready",
    "rate-limit",
    "slow-body",
    "wait",
]

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_STAGE_SECONDS = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_PROBABILITIES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
# Of the committed models, 98 % of the held-out digits have a score of 3 to 21. No bound is at 0,
# which all scores of an imported network without logits are next to.
_SCORES = (-10, -5, -2, *(value + 0.5 for value in range(-1, 18)), 20, 25, 30, 40)


@dataclass(frozen=True)
class Metric:
    """The definition of one metric.

    Attributes:
        name: Its name; Prometheus appends `_total` to that of a counter.
        kind: Its type.
        meaning: What it counts or measures, and its unit.
        labels: Its labels, which `LABELS` explains.
        buckets: Upper bounds of a histogram's buckets.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


@dataclass(frozen=True)
class Label:
    """The meaning of a label.

    Attributes:
        meaning: What the label says.
        values: Its values and what each means; empty if they are not a fixed set.
    """

    meaning: str
    values: dict[str, str]


REQUESTS = Metric(
    "digitscope_requests", "counter", "Requests with a response.", ("route", "method", "status")
)
REQUEST_SECONDS = Metric(
    "digitscope_request_seconds",
    "histogram",
    "Seconds from a request's first byte to the end of its response.",
    ("route", "status"),
    _SECONDS,
)
REJECTIONS = Metric(
    "digitscope_rejections",
    "counter",
    "Requests that were refused, and requests whose client left before the response.",
    ("reason",),
)
CLOSED_CONNECTIONS = Metric(
    "digitscope_closed_connections",
    "counter",
    "Idle connections that were closed because a client, or all together, had too many.",
)
QUEUE_SECONDS = Metric(
    "digitscope_queue_seconds",
    "histogram",
    "Seconds that work waited in a queue.",
    ("lane",),
    _SECONDS,
)
STAGE_SECONDS = Metric(
    "digitscope_stage_seconds",
    "histogram",
    "Seconds per image in one stage; the mean over images that ran together.",
    ("stage",),
    _STAGE_SECONDS,
)
BATCH_SIZE = Metric(
    "digitscope_batch_size",
    "histogram",
    "Images of one request; with DIGITSCOPE_MAX_BATCH above 1, images of one run of the network.",
    buckets=_SIZES,
)
VERDICTS = Metric("digitscope_verdicts", "counter", "Digits recognised.", ("model", "verdict"))
CONFIDENCE = Metric(
    "digitscope_confidence",
    "histogram",
    "Largest probability of each recognised digit, 0 to 1.",
    ("model",),
    _PROBABILITIES,
)
INPUTS = Metric(
    "digitscope_inputs",
    "counter",
    "Images of one digit that were read, and digits of pages; with several workers, up to a second"
    " old.",
    ("input",),
)
SCORE = Metric(
    "digitscope_score",
    "histogram",
    "How much each image of one digit looks like a digit: the logarithm of the sum of the"
    " exponentials of the logits. Without the digits of pages, many of which are other marks; with"
    " several workers, up to a second old.",
    ("model", "input"),
    _SCORES,
)
HELD_OUT_SCORES = Metric(
    "digitscope_held_out_score_share",
    "gauge",
    "Share of the model's held-out digits with at most this score, 0 to 1; `digitscope_score` is"
    " compared with it.",
    ("model", "le"),
)
HELD_OUT_CONFIDENCES = Metric(
    "digitscope_held_out_confidence_share",
    "gauge",
    "Share of the model's held-out digits with at most this largest probability, 0 to 1;"
    " `digitscope_confidence` is compared with it.",
    ("model", "le"),
)
HELD_OUT_VERDICTS = Metric(
    "digitscope_held_out_verdict_share",
    "gauge",
    "Share of the model's held-out digits with this verdict, 0 to 1; `digitscope_verdicts_total` is"
    " compared with it.",
    ("model", "verdict"),
)
MODEL_VERSION = Metric(
    "digitscope_model_version",
    "gauge",
    "Version of the model that is served, 0 for none; the lowest of all workers.",
    ("model",),
)
MODEL_VERSION_MAX = Metric(
    "digitscope_model_version_max",
    "gauge",
    "The highest version of all workers; if it stays above `digitscope_model_version`, a worker"
    " cannot load the model that others serve.",
    ("model",),
)
LOG_LINES_LOST = Metric(
    "digitscope_log_lines_lost",
    "counter",
    "Log lines that were lost, because nobody read the log or because it could not be written.",
)
IN_FLIGHT = Metric(
    "digitscope_requests_in_flight",
    "gauge",
    "Requests that are being answered; with several workers, up to a second old.",
)
QUEUED = Metric(
    "digitscope_queued",
    "gauge",
    "Work that waits in a queue; with several workers, up to a second old.",
    ("lane",),
)
METRICS = (
    IN_FLIGHT,
    QUEUED,
    REQUESTS,
    REQUEST_SECONDS,
    REJECTIONS,
    CLOSED_CONNECTIONS,
    QUEUE_SECONDS,
    STAGE_SECONDS,
    BATCH_SIZE,
    VERDICTS,
    CONFIDENCE,
    INPUTS,
    SCORE,
    HELD_OUT_SCORES,
    HELD_OUT_CONFIDENCES,
    HELD_OUT_VERDICTS,
    MODEL_VERSION,
    MODEL_VERSION_MAX,
    LOG_LINES_LOST,
)
LABELS = {
    "route": Label(
        "Path of the route, such as `/predict`, or of the gRPC method, such as"
        " `/inference.GRPCInferenceService/ModelInfer`; `other` if there is none.",
        {},
    ),
    "method": Label("HTTP method; `gRPC` for messages over gRPC; `other` for unknown ones.", {}),
    "status": Label(
        "HTTP status, also of the same error over gRPC; 499 if the client left before the"
        " response.",
        {},
    ),
    "reason": Label(
        "Why there was no regular response.",
        {
            "busy": "a queue was full (503)",
            "client-gone": "the client left before the response (499)",
            "connections": "too many connections were open (503)",
            "deadline": "the deadline passed (504)",
            "memory": "the body or the response did not fit in the memory budget (503)",
            "slow-body": "the body arrived too slowly (408)",
            "key": "the API key or the admin token was missing or wrong (401)",
            "not-ready": "the model was not loaded, or the service was shutting down (503)",
            "rate-limit": "the client sent more requests than its rate allows (429)",
            "wait": "the expected wait in the queue was too long for the deadline (503)",
        },
    ),
    "lane": Label(
        "The queue.",
        {
            "fast": "predictions that run in threads",
            "slow": "pages and inspections",
            "explanations": "explanations and ablations",
            "quick": "28x28 images for fast networks, in the micro-batcher",
            "parsing": "large bodies that are parsed",
            "reloads": "loading of models",
            "scrapes": "responses of /metrics",
            "corrections": "corrections that are stored or deleted",
        },
    ),
    "stage": Label(
        "The stage.",
        {
            "preparation": "decoding and preparation of the image",
            "inference": "the run of the network",
        },
    ),
    "model": Label("Name of the model.", {}),
    "input": Label(
        "The kind of image.",
        {
            "pixels": "28x28 numbers: JSON, arrays, tensors of the protocols",
            "28x28": "an image file of 28x28",
            "image": "an image file of another size: a photo, a scan",
            "page": "a digit that `/read` found on a page",
        },
    ),
    "le": Label("Upper bound, as in the histogram that is compared.", {}),
    "verdict": Label(
        "The verdict on the image.",
        {
            "digit": "a digit",
            "unsure": "a digit that is not certain",
            "not-a-digit": "something else",
        },
    ),
}
