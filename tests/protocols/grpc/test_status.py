"""Errors become status codes and messages."""

import pytest

from app import errors
from app.protocols.grpc.status import MAX_DETAIL_BYTES, retry_metadata, status_code, status_detail


def _subclasses(kind: type) -> set[type]:
    return {kind}.union(*map(_subclasses, kind.__subclasses__()))


def test_only_faults_of_the_service_are_internal() -> None:
    """Every error that a client can cause has a code of its own."""
    for kind in _subclasses(errors.DigitscopeError):
        error = kind.__new__(kind)
        assert (status_code(error).name == "INTERNAL") == (kind.status == 500), kind


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x" * 9999, MAX_DETAIL_BYTES),
        ("%" * 9999, 1166),
        ("é" * 9999, 583),
        ("\U0001f600" * 9999, 291),
    ],
)
def test_long_messages_are_shortened(text: str, kept: int) -> None:
    """A message fits into the metadata that clients accept, whatever its characters are."""
    assert status_detail(errors.UndecodableError(text)) == f"{text[:kept]}..."
    assert status_detail(errors.UndecodableError(text[:kept])) == text[:kept]


def test_time_to_try_again() -> None:
    """Clients get the seconds, and gRPC's own retries the milliseconds."""
    error = errors.QueueFullError("The queue is full.", retry_after=3)
    assert dict(retry_metadata(error)) == {"retry-after": "3", "grpc-retry-pushback-ms": "3000"}
    assert retry_metadata(errors.UndecodableError("x")) == []
