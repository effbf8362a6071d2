"""Who calls, and within which limits: as for HTTP requests."""

from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest

from app.errors import DeadlineError
from app.protocols.grpc.call import Call, Method
from app.web.http.auth import given_keys
from app.web.http.client_address import TrustedProxies

pytestmark = pytest.mark.anyio
METHOD = Method("/x.Y/Z", "/v2", answer=None)


@pytest.fixture
def anyio_backend() -> str:
    """Tests run on asyncio."""
    return "asyncio"


def _call(peer: str, *metadata: tuple[str, Any], left: float | None = None) -> Call:
    context = SimpleNamespace(
        peer=lambda: peer, invocation_metadata=lambda: metadata, time_remaining=lambda: left
    )
    proxies = TrustedProxies([ip_network("10.0.0.0/8")])
    return Call(METHOD, None, context, proxies.resolve)


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("ipv4:192.0.2.1:4711", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:4711", "2001:db8::1"),
        ("ipv6:[2001:db8::1]:4711", "2001:db8::1"),
        ("unix:/tmp/socket", ""),
        ("", ""),
    ],
)
async def test_client_is_the_peer(peer: str, client: str) -> None:
    """The address comes from gRPC's name of the peer."""
    assert _call(peer, ("x-forwarded-for", "203.0.113.9")).client == client


async def test_trusted_proxies_name_their_client() -> None:
    """Behind a trusted proxy, the client is the one that it names."""
    forwarded = ("x-forwarded-for", "198.51.100.7, 203.0.113.9")
    assert _call("ipv4:10.1.2.3:80", forwarded).client == "203.0.113.9"


async def test_metadata_are_read_as_headers() -> None:
    """Keys and the request id come from the metadata; binary values are left out."""
    call = _call(
        "ipv4:192.0.2.1:80",
        ("authorization", "Bearer one"),
        ("authorization", "Bearer two"),
        ("x-api-key", "three"),
        ("x-request-id", "mine"),
        ("x-request-id-bin", b"\xff"),
    )
    assert given_keys(call.headers) == ["one", "three"]
    assert call.id == "mine"
    assert len(_call("", ("x-request-id", "not harmless")).id) == 32


async def test_shorter_deadline_counts() -> None:
    """A call ends at its own deadline or at that of the service."""
    assert _call("").seconds(10) == 10
    assert _call("", left=3.0).seconds(10) == 3
    assert _call("", left=30.0).seconds(10) == 10
    with pytest.raises(DeadlineError):
        _call("", left=0).seconds(10)
