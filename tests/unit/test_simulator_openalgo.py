"""The simulated OpenAlgo's WebSocket, over real sockets: what its server answers, oddities included."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import get_args

import pytest

from brokerpool.simulator import FaultOrder, Malformation, Malformed, Mute, OpenAlgoOrder, OpenAlgoSimulator
from brokerpool.simulator.openalgo.fault_switches import Variety
from brokerpool.simulator.recording import Header, TapeWriter
from tests.unit.openalgo_client import (
    INFY,
    ORDER,
    SBIN,
    broker,
    logged_in,
    post,
    tick,
)
from tests.unit.simulator_client import run, until


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
