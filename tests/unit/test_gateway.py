"""The gateway over real sockets: an independent client library in front, the simulated broker behind."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from itertools import permutations

import aiohttp
from websockets.asyncio.client import connect

from brokerpool import Instrument, Mode
from brokerpool.simulator.fault_switches import Refuse
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.gateway_client import KEY, Client, client, gateway, pool_of, raw_client, told, trade
from tests.rehearsal import served, until


def test_requests_behind_a_long_one_are_answered_in_order() -> None:
    async def main() -> None:
        async with gateway({"symbols": 1500}) as (broker, served_by), client(served_by) as session:
            rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
            await session.connection.send(json.dumps({"action": "subscribe", "symbols": rows, "mode": 1}))
            await session.connection.send(json.dumps({"action": "unsubscribe", "symbols": rows[:700]}))
            await session.connection.send(json.dumps({"action": "ping"}))
            await session.connection.send(json.dumps({"action": "unsubscribe_all"}))
            replies = [await session.reply() for _ in range(4)]
            assert [r["type"] for r in replies] == ["subscribe", "unsubscribe", "pong", "unsubscribe"]
            assert len(replies[0]["subscriptions"]) == 1500
            assert [len(replies[n]["successful"]) for n in (1, 3)] == [700, 800]
            await until(lambda: served(broker) == {})

    asyncio.run(main())


def test_a_client_that_leaves_in_the_middle_of_a_long_request_holds_nothing() -> None:
    async def main() -> None:
        async with gateway({"symbols": 3000}) as (broker, served_by):
            rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
            for _ in range(5):
                _, writer = await raw_client(served_by.ws_url, rows)
                await until(lambda: len(served_by.upstream.demand) > 0)
                writer.transport.abort()
                await until(lambda: len(served_by.upstream.demand) == 0)
            await asyncio.sleep(0.05)  # a slice that was still to come would have come
            assert len(served_by.upstream.demand) == 0
            assert served_by.stats()["gateway"]["symbols"] == 0

    asyncio.run(main())


def test_ticks_reach_the_client_in_its_mode_and_stop_when_it_unsubscribes() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by), client(served_by) as session:
            await session.subscribe("INFY", mode=1)
            await session.subscribe("INFY", mode=3)
            token = pool_of(served_by).feed.book.token
            await until(lambda: list(served(broker).values()) == [Mode.DEPTH])
            await trade(broker, served_by, 0)
            await session.drain()  # a first value may have come before the second subscribe
            await trade(broker, served_by, 300)
            ticks = await session.drain()
            modes = [tick["mode"] for tick in ticks if "snapshot" not in tick]
            assert modes.count(1) == modes.count(3) > 0
            assert token is not None
            reply = await session.ask(
                action="unsubscribe", symbols=[{"symbol": "INFY", "exchange": "NSE"}], request_id=9
            )
            assert (reply["status"], reply["request_id"]) == ("success", 9)
            await trade(broker, served_by, 300)
            assert await session.drain() == []
            await until(lambda: served(broker) == {})

    asyncio.run(main())


def test_a_newcomer_gets_the_last_value_at_once_marked_as_a_snapshot() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by), client(served_by) as first:
            await first.subscribe("INFY", mode=2)
            await until(lambda: served(broker))
            await trade(broker, served_by, 300)
            newest = (await first.drain())[-1]
            async with client(served_by) as second:
                await second.subscribe("INFY", mode=2)
                (snapshot,) = await second.drain()
                assert snapshot["data"] == newest["data"]
                assert snapshot["snapshot"] is True

    asyncio.run(main())


def test_five_clients_on_one_symbol_leave_in_every_order_and_each_keeps_what_it_holds() -> None:
    held: list[tuple[int, ...]] = [(1,), (2,), (3,), (1, 3), (1, 2)]

    async def main() -> None:
        async with gateway({"symbols": 1, "snapshot": False}) as (broker, served_by):
            (row,) = broker.listings
            for order in list(permutations(range(5)))[::8]:
                sessions = []
                for modes in held:
                    connection = await connect(served_by.ws_url, compression=None, max_queue=None)
                    session = Client(connection)
                    await session.ask(action="authenticate", api_key=KEY)
                    for mode in modes:
                        await session.ask(
                            action="subscribe", symbol=row.tradingsymbol, exchange=row.exchange, mode=mode
                        )
                    sessions.append(session)
                present = list(range(5))
                for leaver in order:
                    highest = max(mode for n in present for mode in held[n])
                    await until(partial(_serves, broker, highest))
                    for session in sessions:
                        session.ticks.clear()
                    await broker.step(3)
                    for n in present:
                        ticks = await sessions[n].take(3 * len(held[n]))
                        assert sorted(t["mode"] for t in ticks) == sorted(held[n] * 3)
                    await sessions[leaver].connection.close()
                    present.remove(leaver)
                await until(lambda: served(broker) == {})

    asyncio.run(main())


def _serves(broker: KiteSimulator, mode: int) -> bool:
    return list(served(broker).values()) == [mode]


def test_m10_clients_are_told_when_symbols_lose_their_feed_and_when_it_is_back() -> None:
    async def main() -> None:
        limits = {"MAX_SYMBOLS_PER_WEBSOCKET": "2"}
        async with gateway(**limits) as (broker, served_by), client(served_by) as session:
            await session.subscribe("INFY", "SBIN", "TCS")
            await until(lambda: len(served(broker)) == 3 and told(served_by))
            assert (await session.ask(action="ping"))["type"] == "pong", "a first connect is no news"
            broker.faults.refuse = Refuse(503)
            broker.kill(next(s["id"] for s in broker.sockets() if len(s["tokens"]) == 2))
            lost = await session.news()
            assert (lost["status"], lost["symbols_down"]) == ("degraded", 2)
            assert "waiting" in lost["message"]
            for socket in broker.sockets():
                broker.kill(socket["id"])
            gone = await session.news()
            assert (gone["status"], gone["symbols_down"]) == ("down", 3)
            async with client(served_by, key=None) as stranger:
                broker.faults.refuse = None
                while (back := await session.news())["status"] != "live":
                    pass
                assert back["symbols_down"] == 0
                assert (await stranger.ask(action="ping"))["type"] == "pong", "strangers are told nothing"

    asyncio.run(main())


def test_each_symbol_whose_data_stops_is_told_as_stale_and_its_gap_once_to_those_who_hold_it() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by), client(served_by) as one, client(served_by) as two:
            await one.subscribe("INFY", "SBIN")
            await one.subscribe("INFY", mode=3)
            await two.subscribe("TCS")
            await until(lambda: len(served(broker)) == 3)
            await broker.step(60)
            before = {frame["symbol"] for frame in await one.take(4)}
            assert before == {"INFY", "SBIN"}
            broker.faults.refuse = Refuse(503)
            broker.kill(broker.sockets()[0]["id"])
            await one.news()
            await one.drain()
            assert [(f["status"], f["symbol"]) for f in one.symbol_news] == [
                ("stale", "INFY"),
                ("stale", "SBIN"),
            ]
            async with client(served_by) as late:
                await late.subscribe("INFY")
                (snapshot,) = await late.drain()
                assert snapshot["snapshot"] is snapshot["stale"] is True
                assert [f["status"] for f in late.symbol_news] == ["stale"]
                broker.faults.refuse = None
                while (await one.news())["status"] != "live":
                    pass
                ticks = await one.take(3)
                assert not any("stale" in frame for frame in ticks)
                gaps = [f for f in one.symbol_news if f["status"] == "gap"]
                assert sorted(gap["symbol"] for gap in gaps) == ["INFY", "SBIN"], "once, though held twice"
                for gap in gaps:
                    assert gap["from"] < gap["to"]
                    assert gap["filled"] is False
                    assert "1006" in gap["message"]
                await two.drain()
                assert {f["symbol"] for f in two.symbol_news} == {"TCS"}

    asyncio.run(main())


def test_a_client_can_ask_what_it_holds_and_an_operator_what_everybody_does() -> None:
    async def told(http: aiohttp.ClientSession, query: str = "") -> list[dict[str, object]]:
        async with http.get(f"/subscriptions{query}") as answer:
            assert answer.status == 200
            body = await answer.json()
        assert body["status"] == "success"
        return sorted(body["subscriptions"], key=str)

    async def main() -> None:
        async with (
            gateway({"symbols": 1200}) as (broker, served_by),
            aiohttp.ClientSession(served_by.http_url) as http,
            client(served_by) as one,
            client(served_by) as two,
        ):
            assert await told(http) == []
            assert (await one.ask(action="list_subscriptions", request_id=1))["subscriptions"] == []
            await one.subscribe("INFY", mode=1)
            await one.subscribe("SBIN", "INFY", mode=3)
            held = await one.ask(action="list_subscriptions", request_id=2)
            assert (held["type"], held["status"], held["request_id"]) == ("list_subscriptions", "success", 2)
            assert [(s["exchange"], s["symbol"], s["mode"]) for s in held["subscriptions"]] == [
                ("NSE", "INFY", 1),
                ("NSE", "INFY", 3),
                ("NSE", "SBIN", 3),
            ]
            (number,) = {s["client"] for s in await told(http)}
            assert [(s["symbol"], s["modes"]) for s in await told(http)] == [
                ("INFY", ["LTP", "Depth"]),
                ("SBIN", ["Depth"]),
            ]
            rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
            await two.ask(action="subscribe", symbols=rows, mode=2)
            many = await two.ask(action="list_subscriptions")
            assert [(s["symbol"], s["mode"]) for s in many["subscriptions"]] == [
                (r["symbol"], 2) for r in rows
            ]
            assert many["count"] == 1200
            assert len(await told(http)) == 1202, "in pieces, and whole"
            assert len(await told(http, f"?client={number}")) == 2
            assert await told(http, "?client=999999") == []
            await one.ask(action="unsubscribe", symbols=held["subscriptions"])
            assert (await one.ask(action="list_subscriptions"))["count"] == 0

    asyncio.run(main())


def test_a_client_may_say_which_symbols_come_first_and_nonsense_is_refused() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by), client(served_by) as session:
            infy = {"symbol": "INFY", "exchange": "NSE"}
            reply = await session.ask(action="subscribe", symbols=[infy], mode=1, priority=7)
            assert reply["status"] == "success"
            assert served_by.upstream.demand.priority(Instrument("NSE", "INFY")) == 7
            for wrong in (10, "high", True, 1.5):
                reply = await session.ask(action="subscribe", symbols=[infy], mode=1, priority=wrong)
                assert reply["code"] == "INVALID_PARAMETERS"

    asyncio.run(main())
