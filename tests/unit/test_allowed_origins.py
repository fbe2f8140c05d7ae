"""Which way a request came: host names, web pages and addresses."""

from __future__ import annotations

import time

import pytest
from multidict import CIMultiDict

from brokerpool.errors import AccessError, ErrorCode
from brokerpool.gateway.allowed_origins import RequestOrigin

HERE, ELSEWHERE = ("127.0.0.1", True), ("127.0.0.1", False)
HOST, ORIGIN = ErrorCode.HOST_NOT_ALLOWED, ErrorCode.ORIGIN_NOT_ALLOWED


def verdict(origin_rules: RequestOrigin, **headers: str) -> ErrorCode | None:
    try:
        origin_rules.check(headers)
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
    assert verdict(RequestOrigin("gateway.lan", hosts=["Trading.example"]), host=host) is expected
    assert verdict(RequestOrigin("0.0.0.0", hosts=["*"]), host="any.example") is None
    assert verdict(RequestOrigin("127.0.0.1")) is None, "no browser leaves it out"


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
    origin_rules = RequestOrigin("127.0.0.1", origins=["https://Desk.example/"])
    assert verdict(origin_rules, host="localhost:8765", origin=origin) is expected
    assert verdict(RequestOrigin("127.0.0.1", origins=["*"]), host="localhost", origin=origin) is None
    assert verdict(origin_rules, host="localhost:8765") is None, "a program, not a browser"


@pytest.mark.parametrize(
    ("bound", "peer", "headers", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", {}, ("127.0.0.1", True)),
        ("localhost", "127.0.0.1", {}, ("127.0.0.1", True)),
        ("::1", "::1", {}, ("::1", True)),
        ("127.0.0.1", "127.0.0.1", {"x-forwarded-for": "8.8.8.8"}, ("127.0.0.1", False)),
        ("127.0.0.1", "127.0.0.1", {"via": "1.1 proxy"}, ("127.0.0.1", False)),
        ("127.0.0.1", "127.0.0.1", {"X-Forwarded-Proto": "https"}, ("127.0.0.1", False)),
        ("127.0.0.1", "127.0.0.1", {"host": "localhost:5000", "origin": "http://localhost:5000"}, HERE),
        ("127.0.0.1", "127.0.0.1", {"host": "localhost:5000", "origin": "http://localhost:3000"}, ELSEWHERE),
        ("127.0.0.1", "127.0.0.1", {"host": "localhost:5000", "origin": "https://desk.example"}, ELSEWHERE),
        ("::1", "fe80::1%eth0", {}, ("fe80::1", False)),
        ("0.0.0.0", "127.0.0.1", {}, ("127.0.0.1", False)),
        ("::", "::ffff:127.0.0.1", {}, ("127.0.0.1", False)),
        ("0.0.0.0", "192.168.1.9", {"x-forwarded-for": "127.0.0.1"}, ("192.168.1.9", False)),
        ("127.0.0.1", "", {}, ("", False)),
    ],
)
def test_here_is_only_what_began_on_this_machine_at_a_listener_for_this_machine(
    bound: str, peer: str, headers: dict[str, str], expected: tuple[str, bool]
) -> None:
    assert RequestOrigin(bound).came(peer, headers) == expected


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("1.1.1.1, 8.8.8.8", "8.8.8.8"),
        ("1.1.1.1, 8.8.8.8, 10.1.2.3", "8.8.8.8"),
        ("127.0.0.1", "127.0.0.1"),
        ("made up, 10.1.2.3", "10.1.2.3"),
        ("8.8.8.8:4711", "8.8.8.8"),
        ("[2001:DB8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ('"8.8.8.8"', "8.8.8.8"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("1.1.1.1,8.8.8.8 ,\t::ffff:10.1.2.3, ,", "8.8.8.8"),
        ("8.8.8.8, unknown, 10.1.2.3", "10.1.2.3"),
        ("8.8.8.8, 10.1.2.3:http:80", "127.0.0.1"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_a_trusted_proxy_tells_the_address_and_nothing_behind_it_is_here(
    forwarded: str, expected: str
) -> None:
    origin_rules = RequestOrigin("127.0.0.1", proxies=["127.0.0.1", "10.0.0.0/8"])
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    assert origin_rules.came("127.0.0.1", headers) == (expected, False)


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("for=8.8.8.8", "8.8.8.8"),
        ('For="[2001:db8::1]:4711";proto=https;by=203.0.113.43', "2001:db8::1"),
        ('proto=http; host="a,b;c"; for="8.8.8.8:_x"', "8.8.8.8"),
        ("for=[2001:db8::1]:80", "2001:db8::1"),
        ('for="8.8\\.8.8"', "8.8.8.8"),
        ("for=1.1.1.1, for=8.8.8.8,for=10.1.2.3", "8.8.8.8"),
        (",, for=8.8.8.8 ,", "8.8.8.8"),
        ("for=1.1.1.1, proto=https", "127.0.0.1"),
        ("for=_hidden", "127.0.0.1"),
        ("for=unknown, for=10.1.2.3", "10.1.2.3"),
        ("for=1.1.1.1;for=8.8.8.8", "127.0.0.1"),
        ('for=1.1.1.1;x=", for="[2001:db8::1]"', "127.0.0.1"),
        ('for="8.8.8.8', "127.0.0.1"),
        ("8.8.8.8", "127.0.0.1"),
        ("for=1.1.1.1, " + "x" * 9000 + "=y;for=8.8.8.8", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_forwarded_is_read_as_its_standard_says_and_what_is_no_address_is_not_believed(
    forwarded: str, expected: str
) -> None:
    origin_rules = RequestOrigin("127.0.0.1", proxies=["127.0.0.1", "10.0.0.0/8"])
    assert origin_rules.came("::ffff:127.0.0.1", {"Forwarded": forwarded}) == (expected, False)


def test_of_several_lines_the_last_is_the_nearest_proxys() -> None:
    origin_rules = RequestOrigin("127.0.0.1", proxies=["127.0.0.1", "10.0.0.0/8"])
    for name, spell in (("X-Forwarded-For", "{}"), ("Forwarded", "for={}")):
        lines = CIMultiDict((name, spell.format(hop)) for hop in ("6.6.6.6", "8.8.8.8", "10.1.2.3"))
        assert origin_rules.came("127.0.0.1", lines).address == "8.8.8.8"


def test_of_two_headers_neither_is_believed_unless_they_agree() -> None:
    origin_rules = RequestOrigin("127.0.0.1", proxies=["127.0.0.1"])
    both = {"X-Forwarded-For": "8.8.8.8", "Forwarded": "for=6.6.6.6"}
    assert origin_rules.came("127.0.0.1", both).address == "127.0.0.1"
    assert origin_rules.came("127.0.0.1", {**both, "Forwarded": 'for="8.8.8.8:1"'}).address == "8.8.8.8"


def test_proxies_may_be_named_as_networks_of_both_families_and_of_the_one_inside_the_other() -> None:
    origin_rules = RequestOrigin("::", proxies=["::ffff:192.0.2.0/120", "fe80::/10", "2001:db8::/32"])
    for proxy in ("192.0.2.9", "::ffff:192.0.2.9", "fe80::5%eth0", "2001:db8::5"):
        assert origin_rules.came(proxy, {"x-forwarded-for": "8.8.8.8"}).address == "8.8.8.8", proxy
    for stranger in ("192.0.3.9", "2001:db9::5"):
        assert origin_rules.came(stranger, {"x-forwarded-for": "8.8.8.8"}).address == stranger


def test_the_longest_line_of_blanks_and_quotes_costs_no_more_than_its_length() -> None:
    origin_rules = RequestOrigin("127.0.0.1", proxies=["127.0.0.1"])
    began = time.thread_time()
    for rubbish in (" " * 8000 + "x", "for=" + '"\\' * 2700, ";" * 8000, "a" * 8000, "for=1.1.1.1," * 680):
        origin_rules.came("127.0.0.1", {"forwarded": rubbish, "x-forwarded-for": rubbish})
    assert time.thread_time() - began < 0.1


@pytest.mark.parametrize("name", ["Host", "Origin"])
def test_two_lines_that_name_the_host_or_the_page_are_not_for_choosing_the_better_one(name: str) -> None:
    origin_rules = RequestOrigin("127.0.0.1", origins=["http://localhost"])
    lines = CIMultiDict([("Host", "localhost"), ("Origin", "http://localhost")])
    origin_rules.check(lines)
    lines.add(name, "evil.example")
    with pytest.raises(AccessError):
        origin_rules.check(lines)
