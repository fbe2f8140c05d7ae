"""What a passed call is and what its client is answered, for any path, body and end."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.errors import (
    BrokerpoolError,
    CallFailedError,
    CallRefusedError,
    ErrorCode,
    OutcomeUnknown,
    PoolClosedError,
)
from brokerpool.gateway.orders.api_key import KeyedBody, KeyedQuery
from brokerpool.gateway.orders.order_paths import (
    PREFIX,
    OrderCall,
    answer,
    order_call,
    unanswered,
    well_formed,
)
from brokerpool.gateway.rest.failures import FaultyRequestError
from brokerpool.http.call_queue import Lane

NAMES = st.from_regex(r"[a-zA-Z0-9_:-]{1,20}(/[a-zA-Z0-9_:-]{1,20}){0,2}", fullmatch=True)
METHODS = st.sampled_from(["GET", "POST"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def call(name: str, method: str = "POST") -> OrderCall:
    return order_call(method, f"{PREFIX}/{name}")


@pytest.mark.parametrize(
    ("lane", "names"),
    [
        (Lane.CANCEL, ["cancelorder", "cancelallorder", "closeposition", "cancelgttorder"]),
        (
            Lane.PLACE,
            [
                *("placeorder", "placesmartorder", "basketorder", "splitorder", "modifyorder"),
                *("optionsorder", "optionsmultiorder", "placegttorder", "modifygttorder"),
            ],
        ),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_orders_go_by_their_lane_and_are_sent_once(lane: Lane, names: list[str], method: str) -> None:
    for name in names:
        found = call(name, method)
        assert (found.lane, found.asks) == (lane, False), name
        assert found.look_up


@pytest.mark.parametrize(
    "name",
    [
        *("funds", "orderbook", "tradebook", "positionbook", "holdings", "openposition", "orderstatus"),
        *("margin", "optionchain", "optiongreeks", "market/holidays", "gttorderbook", "analyzer"),
    ],
)
def test_known_questions_may_be_repeated(name: str) -> None:
    assert call(name)[2:5] == (Lane.QUERY, "other", True)


@given(NAMES)
def test_what_is_not_known_is_sent_once_unless_it_is_a_get(name: str) -> None:
    posted, got = call(f"x{name}", "POST"), call(f"x{name}", "GET")
    assert not posted.asks
    assert posted.look_up
    assert got.asks is (got.lane is Lane.QUERY)


@given(NAMES, METHODS)
def test_a_call_that_is_no_query_is_never_one_that_only_asks(name: str, method: str) -> None:
    found = call(name, method)
    assert found.lane is Lane.QUERY or not found.asks
    assert bool(found.look_up) is not found.asks


@given(NAMES)
def test_paths_of_plain_words_are_well_formed(name: str) -> None:
    assert well_formed(f"{PREFIX}/{name}")


@given(st.text())
def test_no_other_path_is(tail: str) -> None:
    path = f"{PREFIX}/{tail}"
    if well_formed(path):
        assert path.isascii()
        assert not set(path) & set(".%\\?# ;\n")
        assert "//" not in path
        assert not path.endswith("/")
        assert len(path) <= 128


@given(st.dictionaries(st.text(), JSON, max_size=5), st.text(min_size=1, max_size=256), st.text(min_size=1))
def test_only_the_key_of_a_body_changes(members: dict[str, Any], theirs: str, ours: str) -> None:
    body = json.dumps({**members, "apikey": theirs}).encode()
    keyed = KeyedBody(body)
    assert keyed.key == theirs
    sent = keyed.with_key(ours)
    assert json.loads(sent) == {**members, "apikey": ours}
    raw, was = (msgspec.json.decode(text, type=dict[str, msgspec.Raw]) for text in (sent, body))
    assert {name: bytes(text) for name, text in raw.items() if name != "apikey"} == {
        name: bytes(text) for name, text in was.items() if name != "apikey"
    }, "the very text of every other value"
    assert theirs not in repr(keyed) or len(theirs) < 5


@given(st.binary(max_size=200))
def test_any_other_body_is_refused_and_never_raises_anything_else(body: bytes) -> None:
    with pytest.raises(FaultyRequestError):
        KeyedBody(body)


NUMBERS = ["1.10", "1e2", "100000000000000000001", "0.1000000000000000055511151231257827", "-0", "1E-7"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_keeps_its_text(number: str) -> None:
    sent = KeyedBody(b'{"price":' + number.encode() + b',"apikey":"k"}').with_key("o")
    assert sent == b'{"price":' + number.encode() + b',"apikey":"o"}'


@given(st.dictionaries(st.text(min_size=1), st.lists(st.text(), min_size=1, max_size=3), max_size=5))
def test_only_the_key_of_a_query_changes(members: dict[str, list[str]]) -> None:
    members.pop("apikey", None)
    query = urlencode({**members, "apikey": "theirs"}, doseq=True).encode()
    keyed = KeyedQuery(query)
    assert keyed.key == "theirs"
    assert keyed.with_key("ours") == {**members, "apikey": ["ours"]}


@given(st.binary(max_size=80))
def test_any_query_without_one_key_is_refused_and_never_raises_anything_else(query: bytes) -> None:
    if query.count(b"apikey") != 1:
        with pytest.raises(FaultyRequestError):
            KeyedQuery(query)
    with pytest.raises(FaultyRequestError):
        KeyedQuery(b"apikey=a&apikey=b&" + query)


ERRORS = st.one_of(
    st.sampled_from(ErrorCode).map(lambda code: CallRefusedError("x", code=code, retry_after=1.5)),
    st.tuples(st.sampled_from(ErrorCode), st.booleans()).map(
        lambda given: CallFailedError("x", code=given[0], sent=given[1])
    ),
    st.builds(lambda: PoolClosedError("x")),
    st.sampled_from(ErrorCode).map(lambda code: BrokerpoolError("x", code=code)),
)


@given(ERRORS, NAMES, METHODS)
def test_504_is_an_unknown_outcome_and_nothing_else_is(
    error: BrokerpoolError, name: str, method: str
) -> None:
    status, told = answer(error, call(name, method), "call-1", 5)
    assert status != HTTPStatus.GATEWAY_TIMEOUT
    assert status >= HTTPStatus.BAD_REQUEST
    assert json.loads(msgspec.json.encode(told))["status"] == "error"
    assert unanswered(error) in ("failed", "not sent")


@given(NAMES, st.integers(0, 2**53))
def test_an_unknown_outcome_has_all_that_is_needed_to_look_it_up(name: str, sent_at: int) -> None:
    found = call(f"place{name}order")
    status, told = answer(OutcomeUnknown("x", tag="call-1"), found, "call-1", sent_at)
    assert status == HTTPStatus.GATEWAY_TIMEOUT
    members = json.loads(msgspec.json.encode(told))
    assert members == {
        "status": "error",
        "code": "OUTCOME_UNKNOWN",
        "message": f"{found.label} was sent and has no clear answer: it may have been carried out, or not."
        " Do not send it again.",
        "endpoint": found.path,
        "sent_at": sent_at,
        "look_up": found.look_up,
        "tag": "call-1",
    }
    assert unanswered(OutcomeUnknown("x", tag=None)) == "unknown"
