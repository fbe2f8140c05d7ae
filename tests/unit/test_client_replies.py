"""The client protocol's replies; M1 to M12 are the decisions that its page explains."""

from __future__ import annotations

import json
from typing import Any

import pytest

from brokerpool.errors import ErrorCode
from brokerpool.gateway import client_actions, client_replies
from brokerpool.gateway.client_actions import Entry, RequestError
from brokerpool.gateway.client_replies import Outcome
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode
from tests.unit.client_messages import INFY, NOPE, ask, subscribe, subscribed, told, unsubscribe, unsubscribed


def test_m2_a_refused_key_is_typed_and_reads_as_a_welcome_to_nobody() -> None:
    for text in ("No API key was sent", "The API key is wrong"):
        reply = client_replies.refused_key(text)
        assert json.loads(reply)["type"] == "auth"
        assert json.loads(reply)["status"] == "error"
        assert not any(word in reply.lower() for word in (b"success", b"authenticated", b"ok"))


def test_m2_other_errors_have_no_type() -> None:
    reply = json.loads(client_replies.error(ErrorCode.INVALID_MODE, "no"))
    assert reply == {"status": "error", "code": "INVALID_MODE", "message": "no"}


@pytest.mark.parametrize(("spelled", "echoed"), [(3, 3), ("depth", "Depth"), ("DEPTH", "Depth")])
def test_m3_the_mode_is_echoed_as_a_number_or_a_label_as_the_client_sent_it(
    spelled: int | str, echoed: int | str
) -> None:
    request = subscribe(symbols=[INFY], mode=spelled)
    reply = subscribed(request, Outcome(request.entries[0]))
    assert reply["subscriptions"] == [
        {**INFY, "status": "success", "mode": echoed, "depth": 5, "broker": "zerodha"}
    ]
    assert reply["status"] == "success"


def test_m8_a_refused_symbol_carries_code_and_mode_and_the_whole_stays_partial() -> None:
    request = subscribe(symbols=[INFY], mode=1)
    outcome = Outcome(request.entries[0], ErrorCode.SYMBOL_NOT_FOUND, "not listed")
    reply = subscribed(request, outcome)
    assert reply["status"] == "partial"
    assert reply["subscriptions"] == [
        {
            **INFY,
            "status": "error",
            "code": "SYMBOL_NOT_FOUND",
            "mode": 1,
            "message": "not listed",
            "broker": "zerodha",
        }
    ]


def test_m11_the_welcome_fits_into_one_small_read() -> None:
    assert len(client_replies.authenticated("zerodha", "default")) < 1024


def test_m12_exchanges_may_be_lower_case_and_are_echoed_as_sent() -> None:
    request = subscribe(symbols=[{"symbol": "INFY", "exchange": "nse"}])
    assert request.entries[0].instrument == Instrument("NSE", "INFY")
    reply = subscribed(request, Outcome(request.entries[0]))
    assert reply["subscriptions"][0]["exchange"] == "nse"


@pytest.mark.parametrize("request_id", [7, "a", None, {"deep": [1, 2]}, 1.5])
def test_the_request_id_is_echoed_whatever_it_is(request_id: object) -> None:
    request = subscribe(**INFY, request_id=request_id)
    assert subscribed(request)["request_id"] == request_id
    leave = unsubscribe(**INFY, request_id=request_id)
    assert unsubscribed(leave)["request_id"] == request_id
    assert "request_id" not in subscribed(subscribe(**INFY))


def test_a_ping_echoes_its_timestamp_and_id() -> None:
    ping = ask(action="ping", timestamp=5, _pingId="x")
    assert isinstance(ping, client_actions.Ping)
    assert json.loads(client_replies.pong(ping, 99)) == {
        "type": "pong",
        "status": "success",
        "server_timestamp": 99,
        "client_timestamp": 5,
        "_pingId": "x",
    }


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([Outcome(Entry("A", "NSE", None, Instrument("NSE", "A")))], "success"),
        ([], "success"),
        (
            [
                Outcome(Entry("A", "NSE", None, Instrument("NSE", "A"))),
                Outcome(Entry("B", "", None, Instrument("", "B")), ErrorCode.INVALID_PARAMETERS),
            ],
            "partial",
        ),
        ([Outcome(Entry("B", "", None, Instrument("", "B")), ErrorCode.INVALID_PARAMETERS)], "error"),
    ],
)
def test_an_unsubscribe_tells_success_partial_and_error_apart(outcomes: list[Outcome], status: str) -> None:
    assert unsubscribed(unsubscribe(**INFY), *outcomes)["status"] == status


def answered(request: client_actions.Request, *, good: bool = True) -> dict[str, Any]:
    """Return the gateway's reply, with one good entry and, unless all is good, one that was refused."""
    if isinstance(request, client_actions.Authenticate):
        return json.loads(client_replies.authenticated("zerodha", "default"))  # type: ignore[no-any-return]
    if isinstance(request, client_actions.Ping):
        return json.loads(client_replies.pong(request, 1_790_000_000_123))  # type: ignore[no-any-return]
    if isinstance(request, client_actions.SupportedBrokers):
        return json.loads(client_replies.supported_brokers(("zerodha",)))  # type: ignore[no-any-return]
    if isinstance(request, client_actions.BrokerInfo):
        return json.loads(client_replies.broker_info("zerodha", "default", connected=good))  # type: ignore[no-any-return]
    if isinstance(request, client_actions.Orders):
        return json.loads(client_replies.orders(request))  # type: ignore[no-any-return]
    names = [INFY] if good else [INFY, NOPE]
    outcomes = [
        Outcome(Entry(name["symbol"], "NSE", None, Instrument("NSE", name["symbol"]))) for name in names
    ]
    if not good:
        outcomes[1] = Outcome(outcomes[1].entry, ErrorCode.SYMBOL_NOT_FOUND, "not listed")
    if isinstance(request, client_actions.Subscribe):
        return subscribed(request, *outcomes)
    assert isinstance(request, client_actions.Unsubscribe | client_actions.UnsubscribeAll)
    return told(client_replies.Unsubscribed(request, "zerodha"), outcomes)


MS, TEXT = 1_790_000_000_123, "<any text>"


ACK = {**INFY, "status": "success", "broker": "zerodha"}


NACK = {**NOPE, "status": "error", "message": "not listed", "broker": "zerodha"}


GONE = {"type": "unsubscribe", "message": TEXT, "broker": "zerodha"}


@pytest.mark.parametrize(
    ("asked", "good", "theirs", "ours"),
    [
        (
            {"action": "authenticate", "api_key": "k"},
            True,
            {
                "type": "auth",
                "status": "success",
                "message": TEXT,
                "broker": "zerodha",
                "user_id": "default",
                "supported_features": {"ltp": True, "quote": True, "depth": True},
            },
            {},
        ),
        ({"action": "ping"}, True, {"type": "pong", "status": "success", "server_timestamp": MS}, {}),
        (
            {"action": "ping", "timestamp": 5, "_pingId": "x", "request_id": 9},
            True,
            {
                "type": "pong",
                "status": "success",
                "server_timestamp": MS,
                "client_timestamp": 5,
                "_pingId": "x",
            },
            {},
        ),
        (
            {"action": "get_supported_brokers"},
            True,
            {"type": "supported_brokers", "status": "success", "brokers": ["zerodha"], "count": 1},
            {},
        ),
        *(
            (
                {"action": "get_broker_info"},
                connected,
                {
                    "type": "broker_info",
                    "status": "success",
                    "broker": "zerodha",
                    "adapter_status": "connected" if connected else "disconnected",
                    "user_id": "default",
                },
                {},
            )
            for connected in (True, False)
        ),
        (
            {"action": "subscribe", "symbols": [INFY], "mode": "LTP", "request_id": 7},
            True,
            {
                "type": "subscribe",
                "status": "success",
                "subscriptions": [{**ACK, "mode": "LTP", "depth": 5}],
                "message": TEXT,
                "broker": "zerodha",
                "request_id": 7,
            },
            {},
        ),
        (
            {"action": "subscribe", "symbols": [INFY, NOPE], "mode": "LTP"},
            False,
            {
                "type": "subscribe",
                "status": "partial",
                "subscriptions": [{**ACK, "mode": "LTP", "depth": 5}, NACK],
                "message": TEXT,
                "broker": "zerodha",
            },
            {"subscriptions": {"code": "SYMBOL_NOT_FOUND", "mode": "LTP"}},
        ),
        *(
            (
                {"action": action, "symbols": [INFY], "request_id": 7},
                True,
                {**GONE, "status": "success", "successful": [ACK], "failed": [], "request_id": 7},
                {},
            )
            for action in ("unsubscribe", "unsubscribe_all")
        ),
        (
            {"action": "unsubscribe", "symbols": [INFY, NOPE]},
            False,
            {**GONE, "status": "partial", "successful": [ACK], "failed": [NACK]},
            {"failed": {"code": "SYMBOL_NOT_FOUND"}},
        ),
        (
            {"action": "unsubscribe_orders", "request_id": 7},
            True,
            {"type": "unsubscribe_orders", "status": "success", "message": TEXT, "request_id": 7},
            {},
        ),
    ],
)
def test_every_reply_has_openalgos_members_and_no_others_but_those_that_are_told(
    asked: dict[str, Any], good: bool, theirs: dict[str, Any], ours: dict[str, dict[str, Any]]
) -> None:
    """`ours` is what the last item of a list has besides."""
    reply = answered(ask(**asked), good=good)
    if "message" in reply:
        assert isinstance(reply["message"], str)
        reply["message"] = TEXT
    expected = dict(theirs)
    for name, more in ours.items():
        expected[name] = [*theirs[name][:-1], theirs[name][-1] | more]
    assert reply == expected


@pytest.mark.parametrize(
    "message", ["{", "[]", '{"action":"what","request_id":1}', '{"action":"subscribe","request_id":1}']
)
def test_an_error_has_neither_type_nor_request_id(message: str) -> None:
    with pytest.raises(RequestError) as caught:
        client_actions.parse(message)
    reply = json.loads(client_replies.error(caught.value.code, caught.value.message))
    assert sorted(reply) == ["code", "message", "status"]


def test_what_a_client_holds_is_told_in_entries_that_can_be_given_up() -> None:
    request = ask(action="list_subscriptions", request_id=4)
    assert isinstance(request, client_actions.ListSubscriptions)
    reply = client_replies.SubscriptionList(request, "zerodha")
    infy = Instrument("NSE", "INFY")
    reply.add([(infy, Mode.LTP, None), (infy, Mode.DEPTH, 20)])
    answer = json.loads(reply.reply())
    assert answer == {
        "type": "list_subscriptions",
        "status": "success",
        "subscriptions": [{**INFY, "mode": 1}, {**INFY, "mode": 3, "depth": 20}],
        "count": 2,
        "broker": "zerodha",
        "request_id": 4,
    }
    entries = unsubscribe(symbols=answer["subscriptions"]).entries
    assert [(entry.instrument, entry.mode) for entry in entries] == [
        (Instrument("NSE", "INFY"), Mode.LTP),
        (Instrument("NSE", "INFY"), Mode.DEPTH),
    ]


def test_a_wish_for_order_updates_is_answered_by_its_type_also_where_the_key_does_not_allow_it() -> None:
    wish = ask(action="subscribe_orders", request_id=3)
    assert isinstance(wish, client_actions.Orders)
    for reply, status in (
        (client_replies.orders(wish), "success"),
        (client_replies.orders_refused(wish), "error"),
    ):
        told = json.loads(reply)
        assert (told["type"], told["status"], told["request_id"]) == ("subscribe_orders", status, 3)
    assert told["code"] == "SCOPE_MISSING"
    leave = ask(action="unsubscribe_orders")
    assert isinstance(leave, client_actions.Orders)
    assert json.loads(client_replies.orders(leave))["status"] == "success"
