"""Traces: the id of the current trace, and spans for the stages of a prediction.

FastAPI starts a span for each request. Without a collector, nothing here is called.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import context, trace

_TRACER = trace.get_tracer("digitscope")


def trace_field() -> Mapping[str, str]:
    """Return the field of the log that names the current trace; nothing outside a trace."""
    span = trace.get_current_span().get_span_context()
    return {"trace_id": f"{span.trace_id:032x}"} if span.is_valid else {}


def start_queue_span() -> Callable[[], Any]:
    """Start a span for the time in a queue; return the function that ends it, in any thread.

    That function also makes the request's trace the current one of the thread that calls it.
    """
    current = context.get_current()
    span = _TRACER.start_span("queue")

    def end() -> None:
        span.end()
        context.attach(current)

    return end


def stage(name: str) -> AbstractContextManager[Any]:
    """Return a span for a stage, such as `inference`."""
    return _TRACER.start_as_current_span(name)
