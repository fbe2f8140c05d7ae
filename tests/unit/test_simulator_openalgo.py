"""The simulated OpenAlgo's WebSocket, over real sockets: what its server answers, oddities included."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from brokerpool.simulator import FaultOrder, Malformation, Malformed, Mute, OpenAlgoOrder, OpenAlgoSimulator
from brokerpool.simulator.openalgo.session import OpenAlgoSession, Server
from brokerpool.simulator.openalgo.switches import OpenAlgoFaults, Variety
from brokerpool.simulator.recording import Header, TapeWriter
from tests.unit.openalgo_client import DEADLINE, INFY, ORDER, SBIN, Client, logged_in, post, stranger
from tests.unit.simulator_client import run, until


def broker(**options: Any) -> OpenAlgoSimulator:
    return OpenAlgoSimulator(symbols=3, rate=0, **options)


async def tick(server: OpenAlgoSimulator, client: Client) -> dict[str, Any]:
    """Let every instrument trade once, and return the next message of the client."""
    await server.step(3)
    return await client.message()


def test_a_right_key_is_answered_with_who_is_behind_and_messages_have_pythons_spacing() -> None:
    async def main() -> None:
        async with broker(behind="dhan") as server, stranger(server, "any/path") as client:
            await client.socket.send(json.dumps({"type": "auth", "apikey": server.api_key}).encode())
            text = await client.socket.recv()
            assert isinstance(text, str)
            assert text.startswith('{"type": "auth", "status": "success", "message": "')
            assert json.loads(text)["broker"] == "dhan"
            assert json.loads(text)["user_id"] == "SIM001"
            assert json.loads(text)["supported_features"] == {"ltp": True, "quote": True, "depth": True}

    run(main)


def test_errors_have_no_type_and_a_wrong_key_closes_nothing() -> None:
    async def main() -> None:
        async with broker() as server, stranger(server) as client:
            for request, code in (
                ({"action": "subscribe", **INFY, "request_id": 1}, "NOT_AUTHENTICATED"),
                ({"action": "authenticate"}, "AUTHENTICATION_ERROR"),
                ({"action": "authenticate", "api_key": "wrong"}, "AUTHENTICATION_ERROR"),
                ({"action": "fly"}, "INVALID_ACTION"),
                ({}, "INVALID_ACTION"),
            ):
                answer = await client.ask(**request)
                assert answer.keys() == {"status", "code", "message"}
                assert (answer["status"], answer["code"]) == ("error", code)
            await client.socket.send("{")
            assert (await client.message())["code"] == "INVALID_JSON"
            await client.socket.send("[1]")
            assert (await client.message())["code"] == "SERVER_ERROR"
            assert (await client.ask(action="authenticate", api_key=server.api_key))["status"] == "success"
            for mode in (4, "1", "FULL", True, 1.0, None):
                answer = await client.ask(action="subscribe", **INFY, mode=mode)
                assert answer["code"] == "INVALID_MODE", mode
            assert (await client.ask(action="subscribe", instruments=[INFY]))["code"] == "INVALID_PARAMETERS"
            assert (await client.ask(action="subscribe", symbols=["INFY"]))["code"] == "SERVER_ERROR"
            assert server.stats()["malformed_requests"] == 15

    run(main)


def test_who_does_not_log_in_is_closed_with_4401() -> None:
    async def main() -> None:
        async with broker(login_seconds=0.05) as server, logged_in(server) as known:
            async with stranger(server) as client:
                assert (await client.ask(action="auth", api_key="wrong"))["status"] == "error"
                with pytest.raises(ConnectionClosed) as ended:
                    await asyncio.wait_for(client.socket.recv(), DEADLINE)
            assert ended.value.rcvd is not None
            assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (4401, "auth timeout")
            await known.nothing_more()

    run(main)


def test_a_server_that_stops_says_going_away() -> None:
    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(broker())
            client = await stack.enter_async_context(stranger(server))
            await client.nothing_more()
            await server.close()
            with pytest.raises(ConnectionClosed) as ended:
                await client.socket.recv()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1001

    run(main)


def test_a_slow_login_keeps_the_order_of_its_socket_and_holds_nobody_else_up() -> None:
    async def main() -> None:
        async with broker(login_delay_ms=200) as server, logged_in(server) as other, stranger(server) as slow:
            await slow.say(action="authenticate", api_key=server.api_key)
            await slow.say(action="subscribe", **INFY)
            answer = asyncio.create_task(slow.message())
            await until(lambda: server.sockets()[1]["control_messages"] == 2)
            assert (await other.ask(action="ping"))["type"] == "pong"
            assert not answer.done()
            assert (await answer)["type"] == "auth"
            assert (await slow.message())["type"] == "subscribe"

    run(main)


def test_a_login_that_blocks_holds_everybody_up_until_it_is_answered() -> None:
    async def main() -> None:
        async with broker() as server, logged_in(server) as other, stranger(server) as slow:
            await other.ask(action="subscribe", **INFY)
            await server.throw(OpenAlgoOrder(login_delay_ms=300, login_blocks=True))
            answer = asyncio.create_task(slow.ask(action="authenticate", api_key=server.api_key))
            await until(lambda: server.sockets()[1]["control_messages"] == 1)
            await server.step(3)
            await other.say(action="ping")
            held_up = asyncio.create_task(other.message())
            alive = asyncio.ensure_future(await other.socket.ping())
            assert (await answer)["type"] == "auth"
            assert not alive.done()
            assert (await held_up)["type"] == "pong", "the tick of that time is lost"
            await asyncio.wait_for(alive, DEADLINE)
            assert (await tick(server, other))["type"] == "market_data"

    run(main)


def test_a_subscribe_is_acknowledged_symbol_by_symbol_whether_they_exist_or_not() -> None:
    async def main() -> None:
        async with broker() as server, logged_in(server) as client:
            await server.throw(OpenAlgoOrder(refuse_symbols={"NSE:SBIN": "not for you"}))
            lower = {"symbol": "INFY", "exchange": "nse"}
            wanted = [INFY, SBIN, lower, {"symbol": "X"}]
            answer = await client.ask(action="subscribe", symbols=wanted, mode=" depth ", request_id=[7])
            assert (answer["type"], answer["status"], answer["request_id"]) == ("subscribe", "partial", [7])
            good = {"status": "success", "mode": "Depth", "depth": 5, "broker": "zerodha"}
            bad = {"status": "error", "message": "not for you", "broker": "zerodha"}
            assert answer["subscriptions"] == [{**INFY, **good}, {**SBIN, **bad}, {**lower, **good}]
            assert server.sockets()[0]["tokens"] == {str(server.listings[1].token): "Depth"}
            message = await tick(server, client)
            assert (message["symbol"], message["mode"]) == ("INFY", 3)
            await client.nothing_more()
            only_bad = await client.ask(action="subscribe", **SBIN, depth=20)
            assert only_bad["status"] == "partial", "never error"
            nothing = await client.ask(action="subscribe", symbols=[{"symbol": "X"}])
            assert (nothing["status"], nothing["subscriptions"]) == ("success", [])

    run(main)


def test_more_symbols_than_a_socket_may_have_are_refused_by_name_and_counted() -> None:
    async def main() -> None:
        async with broker(max_tokens=1) as server, logged_in(server) as client:
            answer = await client.ask(action="subscribe", symbols=[INFY, SBIN], mode=1)
            assert [item["status"] for item in answer["subscriptions"]] == ["success", "error"]
            assert server.stats()["violations"]["tokens"] == 1
            answer = await client.ask(action="subscribe", **INFY, mode=3)
            assert answer["status"] == "success", "it is there already"

    run(main)


def test_an_unsubscribe_of_several_ignores_the_mode_beside_them() -> None:
    async def main() -> None:
        async with broker() as server, logged_in(server) as client:
            await client.ask(action="subscribe", symbols=[INFY], mode=3)
            answer = await client.ask(action="unsubscribe", symbols=[INFY], mode=3, request_id="a")
            gone = {**INFY, "status": "success", "broker": "zerodha"}
            assert (answer["status"], answer["successful"], answer["failed"]) == ("success", [gone], [])
            assert (answer["type"], answer["request_id"]) == ("unsubscribe", "a")
            assert (await tick(server, client))["mode"] == 3, "Quote was given up, which it never had"
            wrong = {**INFY, "mode": 7}
            answer = await client.ask(action="unsubscribe", symbols=[wrong, {**SBIN, "mode": 1}])
            assert (answer["status"], len(answer["successful"]), len(answer["failed"])) == ("partial", 1, 1)
            await client.ask(action="unsubscribe", symbols=[{**INFY, "mode": "Depth"}])
            await server.step(3)
            await client.nothing_more()
            await client.ask(action="subscribe", **INFY, mode=1)
            await client.ask(action="unsubscribe", **INFY, mode=1)
            await server.step(3)
            await client.nothing_more()

    run(main)


def test_unsubscribe_all_names_what_was_held_and_ends_it() -> None:
    async def main() -> None:
        async with broker() as server, logged_in(server) as client:
            await client.ask(action="subscribe", symbols=[INFY, SBIN], mode=1)
            await client.ask(action="subscribe", **INFY, mode=2)
            answer = await client.ask(action="unsubscribe_all", request_id=0)
            assert (answer["type"], answer["request_id"]) == ("unsubscribe_all", 0)
            assert [item["symbol"] for item in answer["successful"]] == ["INFY", "INFY", "SBIN"]
            await server.step(3)
            await client.nothing_more()
            assert server.sockets()[0]["tokens"] == {}

    run(main)


def test_a_tick_goes_to_the_lower_modes_with_their_own_mode_and_all_of_its_data() -> None:
    async def main() -> None:
        async with broker() as server, logged_in(server) as low, logged_in(server) as high:
            await low.ask(action="subscribe", **INFY, mode=1)
            assert (await tick(server, low))["data"].keys() == {"symbol", "exchange", "ltp", "timestamp"}
            await high.ask(action="subscribe", **INFY, mode=1)
            await high.ask(action="subscribe", **INFY, mode=3)
            message = await tick(server, low)
            assert message["mode"] == 1
            assert "depth" in message["data"]
            await low.nothing_more()
            assert (await high.message())["mode"] == 3
            await high.nothing_more()
            await high.ask(action="unsubscribe", **INFY, mode=3)
            assert (await tick(server, high))["mode"] == 1
            assert server.stats()["duplicate_tokens"] == 1

    run(main)


def test_a_broker_that_publishes_each_mode_sends_lower_modes_every_tick_twice() -> None:
    async def main() -> None:
        async with broker() as server, logged_in(server) as low, logged_in(server) as high:
            await low.ask(action="subscribe", **INFY, mode=1)
            await high.ask(action="subscribe", **INFY, mode=3)
            await server.throw(OpenAlgoOrder(topic_per_mode=True))
            await server.step(3)
            copies = [await low.message(), await low.message()]
            assert [copy["mode"] for copy in copies] == [1, 1]
            assert ["depth" in copy["data"] for copy in copies] == [False, True]
            await low.nothing_more()
            assert (await high.message())["mode"] == 3
            await high.nothing_more()

    run(main)


def test_data_has_the_members_of_the_broker_behind() -> None:
    async def main() -> None:
        server = OpenAlgoSimulator(symbols=60, rate=0, clock=lambda: 1_790_000_000.5)
        async with server, logged_in(server) as client:
            await client.ask(action="subscribe", **INFY, mode=3)
            data = {}
            for variety in get_args(Variety):
                await server.throw(OpenAlgoOrder(variety=variety))
                await server.step(60)
                data[variety] = (await client.message())["data"]
            quote = dataclasses.replace(server.market.quotes[server.listings[1].token])
            await client.ask(action="subscribe", symbol="NIFTY", exchange="NSE_INDEX", mode=3)
            await server.step(60)
            messages = [await client.message(), await client.message()]
        assert data["plain"]["timestamp"] == 1_790_000_000_500
        assert {"last_trade_quantity", "avg_trade_price", "change", "change_percent"} < data["plain"].keys()
        assert data["seconds"]["timestamp"] == 1_790_000_000
        assert {"last_quantity", "average_price", "open_interest"} < data["aliases"].keys()
        assert not {"last_trade_quantity", "avg_trade_price", "oi"} & data["aliases"].keys()
        assert data["sparse"].keys() == {"symbol", "exchange", "ltp", "volume", "depth"}
        assert (data["sparse"]["volume"], type(data["sparse"]["volume"])) == (quote.volume, int)
        best = data["sparse"]["depth"]["buy"][0]
        assert best == {"price": quote.depth[1] / 100, "quantity": quote.depth[0], "orders": quote.depth[2]}
        index = next(message for message in messages if message["symbol"] == "NIFTY")
        assert index["data"]["depth"] == {"buy": [], "sell": []}

    run(main)


def test_it_tells_of_itself() -> None:
    async def main() -> None:
        async with broker(behind="fyers", clock=lambda: 1_790_000_000.25) as server:
            async with stranger(server) as client:
                answer = await client.ask(action="ping", timestamp="t", _pingId=9)
                echoed = {"client_timestamp": "t", "_pingId": 9}
                now = {"type": "pong", "status": "success", "server_timestamp": 1_790_000_000_250}
                assert answer == {**now, **echoed}
                assert await client.ask(type="ping") == now
                answer = await client.ask(action="get_supported_brokers")
                assert answer["type"] == "supported_brokers"
                assert (answer["brokers"], answer["count"]) == (["fyers"], 1)
                assert (await client.ask(action="get_broker_info"))["code"] == "NOT_AUTHENTICATED"
            async with logged_in(server) as client:
                info = {"type": "broker_info", "status": "success", "broker": "fyers", "user_id": "SIM001"}
                assert await client.ask(action="get_broker_info") == {**info, "adapter_status": "connected"}
                server.faults.broker_gone = True
                answer = await client.ask(action="get_broker_info")
                assert answer["adapter_status"] == "disconnected"

    run(main)


def test_without_its_broker_it_lets_in_and_does_nothing() -> None:
    async def main() -> None:
        async with broker() as server, logged_in(server) as known, stranger(server) as client:
            await known.ask(action="subscribe", **INFY)
            await server.throw(OpenAlgoOrder(broker_gone=True))
            answer = await client.ask(action="authenticate", api_key=server.api_key)
            assert answer["code"] == "BROKER_CONNECTION_ERROR"
            assert (await client.ask(action="subscribe", **INFY))["code"] == "BROKER_ERROR"
            assert (await client.ask(action="unsubscribe_all"))["code"] == "BROKER_ERROR"
            await server.step(3)
            await known.nothing_more()

    run(main)


def test_order_updates_come_to_those_who_asked_as_often_as_ordered() -> None:
    async def main() -> None:
        async with broker() as server, logged_in(server) as deaf, logged_in(server) as client:
            answer = await client.ask(action="subscribe_orders", request_id=3)
            assert (answer["type"], answer["request_id"]) == ("subscribe_orders", 3)
            _, placed = await post(server, "placeorder", **ORDER)
            update = await client.message()
            assert update == {
                "type": "order_update",
                "user_id": "SIM001",
                "mode": "live",
                "broker": "zerodha",
                "orderid": placed["orderid"],
                **INFY,
                "action": "BUY",
                "quantity": 10,
                "price": 1300.0,
                "trigger_price": 0.0,
                "pricetype": "LIMIT",
                "product": "MIS",
                "order_status": "open",
                "filled_quantity": 0,
                "pending_quantity": 10,
                "average_price": 0.0,
                "rejection_reason": "",
            }
            await server.throw(OpenAlgoOrder(repeat_updates=2))
            await post(server, "cancelorder", orderid=placed["orderid"])
            first = await client.message()
            assert first["order_status"] == "cancelled"
            assert await client.message() == first
            server.tell_order_update({"type": "order_update", "order_status": "amo received"})
            assert (await client.message())["order_status"] == "amo received"
            assert (await client.message())["order_status"] == "amo received"
            answer = await client.ask(action="unsubscribe_orders")
            assert answer["type"] == "unsubscribe_orders"
            await post(server, "placeorder", **ORDER)
            await client.nothing_more()
            await deaf.nothing_more()

    run(main)


def test_a_mute_socket_gets_no_ticks_and_one_without_heartbeats_no_answers() -> None:
    async def main() -> None:
        async with broker() as server, logged_in(server) as client:
            await client.ask(action="subscribe", **INFY)
            await client.ask(action="subscribe_orders")
            await server.throw(FaultOrder(mute=Mute()))
            await server.step(3)
            await post(server, "placeorder", **ORDER)
            await client.nothing_more()
            await server.throw(FaultOrder(mute=Mute(heartbeats=False)))
            await client.say(action="ping")
            await until(lambda: server.sockets()[0]["control_messages"] == 5)
            await server.throw(FaultOrder(mute=None))
            assert (await tick(server, client))["type"] == "market_data"

    run(main)


@pytest.mark.parametrize("kind", Malformation)
def test_spoilt_frames_are_spoilt(kind: Malformation) -> None:
    async def main() -> None:
        async with broker() as server, logged_in(server) as client:
            await client.ask(action="subscribe", **INFY)
            await server.throw(FaultOrder(malformed=Malformed(kind)))
            await server.step(3)
            text = await client.socket.recv()
            if kind is Malformation.TRUNCATED:
                with pytest.raises(ValueError, match="Unterminated"):
                    json.loads(text)
            elif kind is Malformation.UNKNOWN_TOKEN:
                assert json.loads(text)["symbol"] == "NOBODY"
            else:
                assert isinstance(json.loads(text)["data"], list)
            assert (await tick(server, client))["symbol"] == "INFY"

    run(main)


def test_the_key_can_die_and_be_another_from_now_on() -> None:
    async def main() -> None:
        async with broker(api_key="old") as server, logged_in(server) as client:
            server.expire_token()
            async with stranger(server) as late:
                answer = await late.ask(action="authenticate", api_key="old")
                assert answer["code"] == "AUTHENTICATION_ERROR"
            assert (await post(server, "quotes", **INFY))[0] == 403
            await server.throw(FaultOrder(access_token="new"))
            assert server.credentials() == {"api_key": "new"}
            assert (await post(server, "quotes", key="old", **INFY))[0] == 403
            assert (await post(server, "quotes", key="new", **INFY))[0] == 200
            async with logged_in(server):
                pass
            await client.nothing_more()

    run(main)


def test_a_tape_is_played_in_the_mode_of_each_client(tmp_path: Path) -> None:
    frame = {"type": "market_data", **INFY, "mode": 3, "data": {**INFY, "ltp": 1.5}, "broker": "x"}
    tape = tmp_path / "openalgo.tape"
    token = broker().listings[1].token
    with TapeWriter(tape, Header(broker="openalgo", instruments=[(token, "NSE", "INFY")])) as writer:
        for recorded in (b"\xff", b"[]", json.dumps(frame).encode()):
            writer.write(1.0, recorded)

    async def main() -> None:
        async with broker(replay=tape) as server, logged_in(server) as client:
            await client.say(action="subscribe", **INFY, mode=1)
            while (message := await client.message())["type"] != "market_data":
                pass
            assert message == {**frame, "mode": 1}

    run(main)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.text(max_size=5)
            | st.sampled_from(["subscribe", "unsubscribe", "authenticate", "ping", "key", "NSE"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["action", "type", "symbols", "symbol", "exchange", "mode", "api_key", "request_id"]
                    ),
                    inner,
                    max_size=5,
                )
            ),
            max_leaves=12,
        ),
    )
)
def test_no_message_is_more_than_it_can_take(message: Any) -> None:
    server = Server(OpenAlgoFaults(), lambda key: key == "key", "zerodha", {("NSE", "INFY"): 1}, lambda: 0.0)
    session = OpenAlgoSession(server, 10)
    session.logged_in = True
    outcome = session.handle(message if isinstance(message, str | bytes) else json.dumps(message))
    assert outcome.error or outcome.answers
