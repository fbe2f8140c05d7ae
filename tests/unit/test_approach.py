"""Which way a request came: host names, web pages and addresses."""

from __future__ import annotations

import pytest

from brokerpool.errors import AccessError, ErrorCode
from brokerpool.gateway.approach import Approach

HOST, ORIGIN = ErrorCode.HOST_NOT_ALLOWED, ErrorCode.ORIGIN_NOT_ALLOWED


def verdict(approach: Approach, **headers: str) -> ErrorCode | None:
    try:
        approach.check(headers)
    except AccessError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:5000", None),
        ("LOCALHOST", None),
        ("localhost.:5000", None),
        ("127.0.0.1:5000", None),
        ("[::1]:5000", None),
        ("192.168.1.7", None),
        ("gateway.lan:5000", None),
        ("trading.example", None),
        ("evil.example", HOST),
        ("localhost.evil.example:5000", HOST),
        ("127.0.0.1.evil.example", HOST),
        ("evil.example@localhost", HOST),
        ("localhost:port", HOST),
        ("localhost/x", HOST),
        ("localhost evil.example", HOST),
    ],
)
def test_only_names_of_the_gateway_are_answered_and_addresses_which_nobody_can_rebind(
    host: str, expected: ErrorCode | None
) -> None:
    assert verdict(Approach("gateway.lan", hosts=["Trading.example"]), host=host) is expected
    assert verdict(Approach("0.0.0.0", hosts=["*"]), host="any.example") is None
    assert verdict(Approach("127.0.0.1")) is None, "no browser leaves it out"


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:5000", None),
        ("https://localhost", None),
        ("https://desk.example", None),
        ("https://desk.example:8443", ORIGIN),
        ("http://evil.example", ORIGIN),
        ("http://localhost.evil.example", ORIGIN),
        ("http://evil.example/localhost", ORIGIN),
        ("null", ORIGIN),
        ("", ORIGIN),
        ("file://", ORIGIN),
        ("chrome-extension://localhost", ORIGIN),
    ],
)
def test_pages_of_the_own_host_and_allowed_ones_may_call_and_no_others(
    origin: str, expected: ErrorCode | None
) -> None:
    approach = Approach("127.0.0.1", origins=["https://Desk.example/"])
    assert verdict(approach, host="localhost:8765", origin=origin) is expected
    assert verdict(Approach("127.0.0.1", origins=["*"]), host="localhost", origin=origin) is None
    assert verdict(approach, host="localhost:8765") is None, "a program, not a browser"


@pytest.mark.parametrize(
    ("bound", "peer", "headers", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", {}, ("127.0.0.1", True)),
        ("localhost", "127.0.0.1", {}, ("127.0.0.1", True)),
        ("::1", "::1", {}, ("::1", True)),
        ("127.0.0.1", "127.0.0.1", {"x-forwarded-for": "8.8.8.8"}, ("127.0.0.1", False)),
        ("127.0.0.1", "127.0.0.1", {"via": "1.1 proxy"}, ("127.0.0.1", False)),
        ("0.0.0.0", "127.0.0.1", {}, ("127.0.0.1", False)),
        ("::", "::ffff:127.0.0.1", {}, ("127.0.0.1", False)),
        ("0.0.0.0", "192.168.1.9", {"x-forwarded-for": "127.0.0.1"}, ("192.168.1.9", False)),
        ("127.0.0.1", "", {}, ("", False)),
    ],
)
def test_here_is_only_what_began_on_this_machine_at_a_listener_for_this_machine(
    bound: str, peer: str, headers: dict[str, str], expected: tuple[str, bool]
) -> None:
    assert Approach(bound).came(peer, headers) == expected


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("1.1.1.1, 8.8.8.8", "8.8.8.8"),
        ("1.1.1.1, 8.8.8.8, 10.1.2.3", "8.8.8.8"),
        ("127.0.0.1", "127.0.0.1"),
        ("made up, 10.1.2.3", "10.1.2.3"),
        ("", "127.0.0.1"),
    ],
)
def test_a_trusted_proxy_tells_the_address_and_nothing_behind_it_is_here(
    forwarded: str, expected: str
) -> None:
    approach = Approach("127.0.0.1", proxies=["127.0.0.1", "10.0.0.0/8"])
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    assert approach.came("127.0.0.1", headers) == (expected, False)
