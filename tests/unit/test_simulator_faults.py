"""Fault orders: understood whole or refused with a reason; counted down where they have a count."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from brokerpool.simulator import (
    BreakHttp,
    FaultOrder,
    Faults,
    Malformation,
    Malformed,
    Mute,
    Refuse,
)


def test_a_field_that_is_left_out_changes_nothing_and_null_clears() -> None:
    order = FaultOrder.parse(b'{"mute": null, "latency_ms": 10}')
    assert order.mute is None
    assert order.latency_ms == 10
    assert order.refuse is UNSET


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Input data was truncated"),
        (b"[]", "Expected `object`"),
        (b'{"explode": true}', "unknown field `explode`. Switches: refuse, refuse_http, http_break,"),
        (b'{"refuse": {"status": 200}}', "status"),
        (b'{"refuse": {"status": 499}}', "499 is not a registered HTTP status"),
        (b'{"refuse": {"status": 429, "count": 0}}', "count"),
        (b'{"refuse": {"status": 429, "extra": 0}}', "unknown field `extra`"),
        (b'{"refuse_http": {"status": 503, "path": "orders"}}', "path"),
        (b'{"refuse": {"status": 503, "path": "/orders"}}', "path"),
        (b'{"http_break": {"kind": "sulk"}}', "sulk"),
        (b'{"http_break": {"kind": "no-answer", "method": "PATCH"}}', "method"),
        (b'{"http_break": {"kind": "reset-before-read", "path": "/"}}', "neither a path nor a method"),
        (b'{"mute": {"sockets": "some"}}', "sockets"),
        (b'{"malformed": {"kind": "ugly"}}', "ugly"),
        (b'{"access_token": ""}', "access_token"),
        (b'{"drop_newest": 0}', "drop_newest"),
        (b'{"down": 1}', "down"),
        (b'{"latency_ms": -1}', "latency_ms"),
        (b"[" * 100_000, "Switches"),
    ],
)
def test_an_order_that_is_not_understood_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        FaultOrder.parse(body)


def test_a_refusal_with_a_count_ends_by_itself() -> None:
    faults = Faults()
    faults.refuse = Refuse(429, retry_after=7, count=2)
    assert [faults.dial_refusal() is not None for _ in range(3)] == [True, True, False]
    faults.refuse_http = Refuse(503)
    assert all(faults.http_refusal("GET", "/quote") for _ in range(10))


def test_an_http_fault_concerns_only_its_method_and_its_paths() -> None:
    faults = Faults()
    faults.refuse_http = Refuse(504, count=1, method="POST", path="/orders")
    faults.http_break = BreakHttp("no-answer", count=1, method="DELETE", path="/orders/regular")
    for method, path in (("GET", "/orders"), ("POST", "/quote"), ("DELETE", "/orders/amo/1")):
        assert faults.http_refusal(method, path) is None
        assert faults.broken_answer(method, path) is None
    assert faults.http_refusal("POST", "/orders/regular") is not None
    assert faults.broken_answer("DELETE", "/orders/regular/1") is not None
    report = faults.report()
    assert (report["refuse_http"], report["http_break"]) == (None, None)


def test_a_connection_is_reset_unread_as_often_as_ordered_and_by_no_other_break() -> None:
    faults = Faults()
    faults.http_break = BreakHttp("reset-before-read", count=2)
    assert faults.broken_answer("GET", "/quote") is None
    assert [faults.resets_unread() for _ in range(3)] == [True, True, False]
    faults.http_break = BreakHttp("reset-after-read")
    assert not faults.resets_unread()


def test_malformed_frames_are_counted_down() -> None:
    faults = Faults()
    faults.malformed = Malformed(Malformation.TRUNCATED, frames=2)
    assert [faults.malformation() for _ in range(3)] == [Malformation.TRUNCATED] * 2 + [None]


def test_a_mute_takes_all_sockets_or_the_named_ones() -> None:
    faults = Faults()
    assert not faults.muted(1)
    faults.mute = Mute([2], heartbeats=False)
    assert (faults.muted(1), faults.muted(2), faults.silent(2)) == (False, True, True)
    faults.mute = Mute()
    assert faults.muted(1)
    assert not faults.silent(1)
    faults.mute = Mute([2], tokens=[7])
    assert not faults.muted(2), "its other tokens tick on"
    assert (faults.muted_tokens(1), faults.muted_tokens(2)) == (frozenset(), frozenset({7}))


def test_the_report_shows_every_switch() -> None:
    faults = Faults(latency_ms=5)
    faults.malformed = Malformed(Malformation.UNKNOWN_TOKEN, frames=2)
    assert faults.report() == {
        "refuse": None,
        "refuse_http": None,
        "http_break": None,
        "mute": None,
        "malformed": {"kind": "unknown_token", "frames": 2},
        "token_expired": False,
        "down": False,
        "latency_ms": 5,
        "life_ms": None,
        "evict_eldest": False,
    }
