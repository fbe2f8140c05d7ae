"""The client protocol's requests; M1 to M12 are the decisions that its page explains."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brokerpool.errors import ErrorCode
from brokerpool.gateway import client_actions, client_replies
from brokerpool.gateway.client_actions import RequestError, Subscribe
from brokerpool.ticks import Mode
from tests.unit.client_messages import INFY, subscribe, unsubscribe


@pytest.mark.parametrize(
    ("members", "depth"),
    [
        ({}, 0),
        ({"depth": 5}, 5),
        ({"depth": 20}, 20),
        ({"depth_level": 20}, 20),
        ({"depth": 5, "depth_level": 20}, 5),
        ({"depth": "20"}, 0),
        ({"depth": True}, 0),
        ({"depth": 20.0}, 0),
        ({"depth": None}, 0),
        ({"depth": []}, 0),
    ],
)
def test_the_levels_are_a_whole_number_and_anything_else_says_nothing(
    members: dict[str, Any], depth: int
) -> None:
    assert subscribe(symbol="INFY", exchange="NSE", mode=3, **members).depth == depth


@pytest.mark.parametrize(
    ("spelled", "mode"), [(1, 1), (2, 2), (3, 3), ("LTP", 1), (" quote ", 2), ("Depth", 3)]
)
def test_every_spelling_of_a_mode_is_understood(spelled: int | str, mode: int) -> None:
    assert subscribe(**INFY, mode=spelled).mode == mode


@pytest.mark.parametrize("spelled", [0, 4, "1", "FULL", True, 1.0, None, [], {}])
def test_any_other_mode_is_refused(spelled: object) -> None:
    with pytest.raises(RequestError) as caught:
        subscribe(**INFY, mode=spelled)
    assert caught.value.code is ErrorCode.INVALID_MODE


def test_the_mode_defaults_to_quote() -> None:
    assert subscribe(**INFY).mode is Mode.QUOTE


def test_type_serves_as_action_when_there_is_no_action() -> None:
    assert client_actions.parse('{"type":"auth","apikey":"k"}') == client_actions.Authenticate("k")


def test_m1_an_entry_without_a_mode_takes_the_one_beside_the_list() -> None:
    request = unsubscribe(symbols=[INFY, {**INFY, "mode": 1}], mode=3)
    assert [entry.mode for entry in request.entries] == [Mode.DEPTH, Mode.LTP]


def test_m1_an_unsubscribe_without_any_mode_gives_up_all_modes() -> None:
    assert [entry.mode for entry in unsubscribe(symbols=[INFY]).entries] == [None]
    assert [entry.mode for entry in unsubscribe(**INFY).entries] == [None]


def test_m5_instruments_is_another_name_for_symbols() -> None:
    assert list(subscribe(instruments=[INFY]).entries) == list(subscribe(symbols=[INFY]).entries)


def test_symbols_win_over_symbol_and_an_empty_list_counts_as_absent() -> None:
    both = subscribe(symbols=[{"symbol": "TCS", "exchange": "BSE"}], **INFY)
    assert [entry.symbol for entry in both.entries] == ["TCS"]
    assert [entry.symbol for entry in subscribe(symbols=[], **INFY).entries] == ["INFY"]


@pytest.mark.parametrize(
    "entry",
    [
        "NSE:INFY",
        5,
        None,
        [],
        {},
        {"symbol": "INFY"},
        {"symbol": "", "exchange": "NSE"},
        {"symbol": 1, "exchange": 2},
    ],
)
def test_an_entry_that_names_no_symbol_is_refused_alone(entry: object) -> None:
    entries = subscribe(symbols=[entry, INFY]).entries
    assert entries[0].fault
    assert entries[1].fault is None


@pytest.mark.parametrize(
    "members", [{}, {"symbol": "INFY"}, {"exchange": "NSE"}, {"symbols": "INFY"}, {"symbols": {"a": 1}}]
)
def test_a_request_without_symbols_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        subscribe(**members)
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS


@pytest.mark.parametrize(
    ("message", "most"),
    [
        ({"action": "subscribe", "symbols": [INFY] * 11}, 10),
        ({"action": "unsubscribe", "instruments": [INFY] * 11}, 10),
        ({"action": "subscribe", "symbols": [1] * 100}, 10),
        ({"action": "ping", "timestamp": [[]] * 100}, 10),
        ({"action": "ping", "timestamp": [{"a": 1}] * 31}, 10),
    ],
)
def test_a_request_with_more_parts_than_so_many_symbols_have_is_refused_with_the_limit(
    message: dict[str, Any], most: int
) -> None:
    for form in (json.dumps(message), json.dumps(message).encode()):
        with pytest.raises(RequestError) as caught:
            client_actions.parse(form, most)
        assert caught.value.code is ErrorCode.REQUEST_TOO_LARGE
        assert str(most) in caught.value.message


def test_as_many_symbols_as_allowed_fit_with_all_members_that_clients_send() -> None:
    sent = [{**INFY, "mode": 1, "depth": 5}] * 10
    request = client_actions.parse(
        json.dumps({"action": "subscribe", "symbols": sent, "mode": 1, "depth": 5}), 10
    )
    assert isinstance(request, Subscribe)
    assert len(request.entries) == 10


def test_a_name_that_is_too_long_to_be_one_is_refused_alone() -> None:
    entries = subscribe(symbols=[{"symbol": "X" * 257, "exchange": "NSE"}, INFY]).entries
    assert "256" in (entries[0].fault or "")
    assert entries[1].fault is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


actions = st.sampled_from(["authenticate", "ping", "subscribe", "unsubscribe", "unsubscribe_all", "nonsense"])


members = ["action", "type", "symbols", "instruments", "symbol", "exchange", "mode", "request_id", "api_key"]


@given(
    st.binary(max_size=200).map(lambda b: b)
    | st.text(max_size=200)
    | json_values.map(json.dumps)
    | st.dictionaries(st.sampled_from(members), actions | json_values).map(json.dumps)
)
@example("[" * 100_000)
@example('{"action":"ping","timestamp":' + "[" * 5_000 + "]" * 5_000 + "}")
@example('{"action":"\\ud800"}')
def test_whatever_a_client_sends_becomes_a_request_or_a_coded_error(message: str | bytes) -> None:
    try:
        request = client_actions.parse(message)
    except RequestError as error:
        json.loads(client_replies.error(error.code, error.message))
    else:
        assert isinstance(request, client_actions.Request)
