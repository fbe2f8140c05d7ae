"""One socket's requests: Kite's limit and its error texts, and what is assumed where Kite is silent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.simulator.broker_interface import Outcome
from brokerpool.simulator.zerodha.subscriptions import KiteSubscriptions
from brokerpool.ticks import Mode


def subscriptions(limit: int = 5) -> KiteSubscriptions:
    return KiteSubscriptions(limit, range(1, 100).__contains__)


def ask(socket: KiteSubscriptions, action: str, value: object) -> Outcome:
    return socket.handle(json.dumps({"a": action, "v": value}))


def test_a_subscribe_begins_in_quote_mode() -> None:
    socket = subscriptions()
    assert ask(socket, "subscribe", [1, 2]).added == [1, 2]
    assert socket.modes == {1: Mode.QUOTE, 2: Mode.QUOTE}


def test_the_mode_changes_only_for_subscribed_tokens() -> None:
    socket = subscriptions()
    ask(socket, "subscribe", [1, 2])
    assert ask(socket, "mode", ["full", [1, 3]]).remoded == [1]
    assert ask(socket, "mode", ["full", [1]]).remoded == []
    assert ask(socket, "mode", ["ltp", [2]]).remoded == [2]
    assert socket.modes == {1: Mode.DEPTH, 2: Mode.LTP}


def test_a_batch_that_would_cross_the_limit_is_refused_whole() -> None:
    socket = subscriptions()
    ask(socket, "subscribe", [1, 2, 3])
    refused = ask(socket, "subscribe", [4, 5, 6])
    assert refused.error == "Can't subscribe to more than 5 instruments."
    assert refused.over_limit
    assert set(socket.modes) == {1, 2, 3}
    assert ask(socket, "subscribe", [4, 5]).added == [4, 5]


def test_a_duplicate_counts_against_the_limit_and_is_served_once() -> None:
    socket = subscriptions()
    assert ask(socket, "subscribe", [1, 1, 1]).added == [1]
    ask(socket, "mode", ["full", [1]])
    assert ask(socket, "subscribe", [1]).added == []
    assert socket.modes == {1: Mode.DEPTH}
    assert socket.entries == 4
    assert ask(socket, "subscribe", [2, 3]).over_limit
    assert ask(socket, "unsubscribe", [1]).removed == [1]
    assert socket.entries == 0


def test_tokens_that_the_broker_does_not_list_are_ignored() -> None:
    socket = subscriptions()
    assert ask(socket, "subscribe", [1, 1000, -5, 2**70]) == Outcome(added=[1])
    assert ask(socket, "unsubscribe", [1000]) == Outcome()
    assert socket.entries == 1
    assert socket.largest_batch == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "null",
        "{}",
        '{"a": 1}',
        '{"a": "subscribe"}',
        '{"a": "subscribe", "v": 1}',
        '{"a": "subscribe", "v": ["1"]}',
        '{"a": "subscribe", "v": [true]}',
        '{"a": "subscribe", "v": [1.5]}',
        '{"a": "mode", "v": ["full"]}',
        '{"a": "mode", "v": ["huge", [1]]}',
        '{"a": "mode", "v": [[1], "full"]}',
        '{"a": "dance", "v": [1]}',
        "[" * 100_000,
    ],
)
def test_a_malformed_request_gets_an_error_and_changes_nothing(text: str) -> None:
    socket = subscriptions()
    outcome = socket.handle(text)
    assert outcome.error
    assert not outcome.over_limit
    assert not socket.modes


@given(st.text() | st.builds(json.dumps, st.recursive(st.none() | st.integers() | st.text(), st.lists)))
def test_no_text_makes_it_raise(text: str) -> None:
    subscriptions().handle(text)


_TOKENS = st.lists(st.integers(1, 20), max_size=6)
_REQUESTS = st.one_of(
    st.tuples(st.sampled_from(["subscribe", "unsubscribe"]), _TOKENS),
    st.tuples(st.just("mode"), st.tuples(st.sampled_from(["ltp", "quote", "full"]), _TOKENS)),
)


@given(st.lists(_REQUESTS, max_size=30))
def test_the_limit_holds_and_the_outcomes_tell_every_change(requests: list[tuple[str, object]]) -> None:
    socket = subscriptions(limit=10)
    mirror: set[int] = set()
    for action, value in requests:
        outcome = ask(socket, action, value)
        mirror |= set(outcome.added)
        mirror -= set(outcome.removed)
        assert set(socket.modes) == mirror
        assert len(socket.modes) <= socket.entries <= 10
        assert bool(socket.modes) == bool(socket.entries)
