"""The simulated OpenAlgo's WebSocket: who may come in, how long a login takes, and what is no request."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from brokerpool.simulator import FaultOrder, OpenAlgoOrder
from brokerpool.simulator.openalgo.fault_switches import OpenAlgoFaults
from brokerpool.simulator.openalgo.session import OpenAlgoSession, Server
from tests.unit.openalgo_client import DEADLINE, INFY, broker, logged_in, post, stranger, tick
from tests.unit.simulator_client import run, until


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
            await other.ask(action="subscribe_orders")
            await server.throw(OpenAlgoOrder(login_delay_ms=300, login_blocks=True))
            answer = asyncio.create_task(slow.ask(action="authenticate", api_key=server.api_key))
            await until(lambda: server.sockets()[1]["control_messages"] == 1)
            await server.step(3)
            await other.say(action="ping")
            held_up = asyncio.create_task(other.message())
            server.tell_order_update({"type": "order_update"})
            alive = asyncio.ensure_future(await other.socket.ping())
            assert (await answer)["type"] == "auth"
            assert not alive.done()
            assert (await held_up)["type"] == "order_update", "the tick of that time is lost"
            assert (await other.message())["type"] == "pong"
            await asyncio.wait_for(alive, DEADLINE)
            assert (await tick(server, other))["type"] == "market_data"

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
