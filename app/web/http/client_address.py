"""Who sent a request: the address of the client, also behind reverse proxies.

A proxy writes the address of its client into `X-Forwarded-For`, behind what that client may have
written there itself. So the header is read from its end, and only as far as trusted proxies wrote
it. Knows addresses and headers; knows nothing of limits.
"""

import logging
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

log = logging.getLogger(__name__)
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
MAX_PROXIES = 16  # proxies in a row that are looked through; no real chain is longer
MAX_ADDRESS_CHARS = 64  # of an entry of the header; an IPv6 address with a port has at most 47
CLIENT_PREFIX_BITS = 64  # of an IPv6 address; providers give each client a whole network of these
ADDRESS_CACHE_SIZE = 4096  # addresses of recent peers
SCHEMES = ("http", "https")


class TrustedProxies:
    """The reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        """Trust the addresses in these networks; none by default."""
        self._networks = tuple(networks)
        self._is_trusted = lru_cache(maxsize=ADDRESS_CACHE_SIZE)(self._find_network)
        self._has_hinted = False

    def __contains__(self, address: str) -> bool:
        """Return whether an address, as a socket or a header gives it, is a trusted proxy's."""
        return bool(self._networks) and self._is_trusted(address)

    def resolve(self, scope: Scope) -> bool:
        """Set `client` and `scheme` of an ASGI scope to those of the client behind the proxies.

        Changes nothing unless the peer is a trusted proxy. The log says once that another peer
        behaves like a proxy.

        Returns:
            Whether the peer is a trusted proxy.
        """
        peer = peer_address(scope)
        if peer not in self:
            if not self._has_hinted and b"x-forwarded-for" in dict(scope["headers"]):
                self._has_hinted = True
                log.warning(
                    "%s sends X-Forwarded-For. If it is your reverse proxy, add it to"
                    " DIGITSCOPE_TRUSTED_PROXIES; until then all its clients count as one",
                    peer,
                )
            return False
        values = header_values(scope, b"x-forwarded-for")
        scope["client"] = (self._client_behind(peer, values), 0)
        schemes = header_values(scope, b"x-forwarded-proto")
        if schemes and schemes[-1].lower() in SCHEMES:
            scope["scheme"] = schemes[-1].lower()
        return True

    def _client_behind(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the last address that is not a trusted proxy's.

        Args:
            peer: Address of the connection.
            forwarded: Entries of `X-Forwarded-For`, the newest last.

        Returns:
            If a proxy wrote no address, the proxy's own, because a client may have invented the
            entries before it.
        """
        client = peer
        for entry in reversed(forwarded[-MAX_PROXIES:]):
            address = parse_entry(entry)
            if address is None:
                break
            client = str(address)
            if client not in self:
                break
        return client

    def _find_network(self, text: str) -> bool:
        address = parse_entry(text)
        return address is not None and any(address in network for network in self._networks)


def peer_address(scope: Scope) -> str:
    """Return the address of a scope's client; empty if it has none, as on a Unix socket."""
    return (scope.get("client") or ("",))[0]


def client_group(address: str) -> str:
    """Return the name under which limits count a client's address.

    All addresses of an IPv6 network of 64 bits count as one client, because a client can use each
    of them.
    """
    if ":" not in address:
        return address
    parsed = parse_entry(address)
    if not isinstance(parsed, IPv6Address):
        return str(parsed or address)
    return str(IPv6Network((int(parsed), CLIENT_PREFIX_BITS), strict=False))


def parse_entry(text: str) -> Address | None:
    """Parse an address with or without a port: `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]:80`.

    Returns:
        The address without its zone, and IPv4 if it is an IPv4 address in IPv6; None if the text
        is no address.
    """
    if len(text) > MAX_ADDRESS_CHARS:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Return the entries of all header lines of a name, in their order."""
    lines = [value for key, value in scope["headers"] if key == name]
    entries = (entry.strip() for entry in b",".join(lines).decode("latin-1").split(","))
    return [entry for entry in entries if entry]
