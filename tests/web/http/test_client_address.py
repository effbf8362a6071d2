"""The client's address behind reverse proxies, and what counts as one client."""

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings, parse_networks
from app.web.http.client_address import MAX_PROXIES, TrustedProxies, client_group

SLOW_RATE = 0.001  # requests per second: none is saved up while a test runs
PROXIES = TrustedProxies(parse_networks("127.0.0.1, 10.0.0.0/8, ::1, fd00::/8"))


def _resolved(peer: str, *headers: tuple[str, str], proxies: TrustedProxies = PROXIES) -> dict:
    """Return the scope of a request after its proxies are resolved."""
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": "http", "client": (peer, 5000), "scheme": "http", "headers": raw}
    proxies.resolve(scope)
    return scope


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["1.1.1.1, 203.0.113.7"], "203.0.113.7"),  # the client invented 1.1.1.1
        (["1.1.1.1, 203.0.113.7, 10.1.1.1"], "203.0.113.7"),  # through a second proxy
        (["1.1.1.1", "203.0.113.7", "10.1.1.1"], "203.0.113.7"),  # one header line each
        (["203.0.113.7:4711"], "203.0.113.7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["[2001:DB8:0::7]"], "2001:db8::7"),
        (["fe80::1%eth0"], "fe80::1"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["::ffff:10.0.0.1"], "10.0.0.1"),
        (["1.1.1.1, unknown"], "127.0.0.1"),
        (["1.1.1.1, 203.0.113.7.9"], "127.0.0.1"),
        (["1.1.1.1, \x1b[31m"], "127.0.0.1"),
        (["1.1.1.1, " + "9" * 5000], "127.0.0.1"),
        (["1.1.1.1, \xff\xfe, 10.0.0.3"], "10.0.0.3"),
        ([" , ,203.0.113.7, ,"], "203.0.113.7"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # all are proxies: the first is the client
        ([""], "127.0.0.1"),
        ([], "127.0.0.1"),
    ],
)
def test_header_is_read_from_its_end(forwarded: list[str], client: str) -> None:
    """The client is the last address that is not a proxy's; text that is none ends the search."""
    lines = [("X-Forwarded-For", line) for line in forwarded]
    assert _resolved("127.0.0.1", *lines)["client"][0] == client


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::1", "testclient", "::ffff:192.0.2.1"])
def test_headers_of_others_are_ignored(peer: str) -> None:
    """A peer that is no trusted proxy stays the client, whatever it sends."""
    headers = (("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"))
    for proxies in (PROXIES, TrustedProxies()):
        scope = _resolved(peer, *headers, proxies=proxies)
        assert (scope["client"], scope["scheme"]) == ((peer, 5000), "http")


def test_no_proxy_is_trusted_by_default() -> None:
    """Without the setting, not even a program on the same machine is believed."""
    for peer in ("127.0.0.1", "::1"):
        scope = _resolved(peer, ("X-Forwarded-For", "1.1.1.1"), proxies=TrustedProxies())
        assert scope["client"][0] == peer


def test_log_names_a_proxy_that_is_not_trusted(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever forgets the setting finds it in the log, once and not for each request."""
    proxies = TrustedProxies()
    _resolved("10.0.0.1", proxies=proxies)
    assert not caplog.messages
    for _ in range(3):
        _resolved("10.0.0.1", ("X-Forwarded-For", "1.1.1.1"), proxies=proxies)
    (message,) = caplog.messages
    assert message.startswith("10.0.0.1 sends X-Forwarded-For")
    assert "DIGITSCOPE_TRUSTED_PROXIES" in message


def test_connection_without_an_address_has_no_client() -> None:
    """A Unix socket has no address; nothing is believed from there."""
    scope = {"type": "http", "client": None, "scheme": "http", "headers": []}
    PROXIES.resolve(scope)
    assert scope["client"] is None


@pytest.mark.parametrize("peer", ["::1", "::ffff:10.2.3.4", "fd12::9", "10.255.0.1"])
def test_proxies_may_be_networks_of_both_versions(peer: str) -> None:
    """Proxies are recognised in IPv4, IPv6 and IPv4 inside IPv6."""
    assert peer in PROXIES
    assert _resolved(peer, ("X-Forwarded-For", "1.1.1.1"))["client"][0] == "1.1.1.1"


@pytest.mark.parametrize(
    ("values", "scheme"),
    [
        (["https"], "https"),
        (["HTTPS"], "https"),
        (["http, https"], "https"),
        (["https", "http"], "http"),
        (["javascript"], "http"),
        ([""], "http"),
    ],
)
def test_scheme_is_what_the_last_proxy_saw(values: list[str], scheme: str) -> None:
    """The last entry of X-Forwarded-Proto counts, if it is a scheme of the web."""
    lines = [("X-Forwarded-Proto", value) for value in values]
    assert _resolved("10.0.0.1", *lines)["scheme"] == scheme


def test_number_of_proxies_in_a_row_is_bounded() -> None:
    """A header of thousands of proxies is not read to its start."""
    entries = ["1.1.1.1", "10.0.0.9", *["10.0.0.1"] * (MAX_PROXIES - 1)]
    scope = _resolved("10.0.0.1", ("X-Forwarded-For", ",".join(entries)))
    assert scope["client"][0] == "10.0.0.9"


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_network_of_an_ipv6_client_is_one_client(address: str, group: str) -> None:
    """A client that takes another address of its IPv6 network has the same limits."""
    assert client_group(address) == group


def test_clients_behind_a_proxy_have_their_own_rates() -> None:
    """Behind a trusted proxy each client has its rate, and cannot invent an address."""
    app = create_app(Settings(rate_limit_per_s=SLOW_RATE, trusted_proxies="10.0.0.0/8"))
    with TestClient(app, client=("10.0.0.1", 5000)) as proxy:

        def ask(forwarded: str) -> int:
            return proxy.get("/version", headers={"X-Forwarded-For": forwarded}).status_code

        assert [ask("203.0.113.7"), ask("203.0.113.7")] == [200, 429]
        assert ask("1.1.1.1, 203.0.113.7") == 429
        assert ask("203.0.113.8") == 200
        assert [ask("2001:db8::1"), ask("2001:db8::2")] == [200, 429]


def test_header_evades_no_rate_without_a_proxy() -> None:
    """A client that sends X-Forwarded-For itself keeps one rate, also from this machine."""
    app = create_app(Settings(rate_limit_per_s=SLOW_RATE))
    with TestClient(app, client=("127.0.0.1", 5000)) as client:
        statuses = [
            client.get("/version", headers={"X-Forwarded-For": f"203.0.113.{index}"}).status_code
            for index in range(3)
        ]
    assert statuses == [200, 429, 429]
