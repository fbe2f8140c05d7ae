"""Order updates from a simulated Kite to the gateway's clients: who gets them, in which order, and holes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from brokerpool.db.pool import DatabasePool
from brokerpool.gateway.order_updates import LONGEST_UPDATE, MOST_WAITING, OrderUpdates
from brokerpool.simulator.zerodha.broker import KiteSimulator
from brokerpool.store.gateway_store import Store
from brokerpool.store.keys import Scope
from tests.gateway_client import Client, client, gateway
from tests.rehearsal import until

ORDERS = {"BROKERPOOL_API_KEY_ORDERS": "yes"}


async def heard(session: Client, count: int, *kinds: str) -> list[dict[str, Any]]:
    """Return the next frames of these types."""
    frames: list[dict[str, Any]] = []
    async with asyncio.timeout(5):
        while len(frames) < count:
            frame = json.loads(await session.connection.recv())
            if (frame.get("type") in kinds and "symbols_down" not in frame and "symbol" not in frame) or (
                frame.get("type") == "order_update" and "order_update" in kinds
            ):
                frames.append(frame)
    return frames


@asynccontextmanager
async def kite(broker: KiteSimulator) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"token {broker.api_key}:{broker.access_token}"}
    async with aiohttp.ClientSession(broker.http_url, headers=headers) as http:
        yield http


async def place(http: aiohttp.ClientSession, **more: Any) -> str:
    order = {"exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "quantity": 5}
    form = {**order, "product": "CNC", "order_type": "MARKET", **more}
    async with http.post("/orders/regular", data=form) as answer:
        return str((await answer.json())["data"]["order_id"])


def test_who_asked_and_may_gets_each_update_in_order_and_others_get_none() -> None:
    async def main() -> None:
        async with (
            gateway(**ORDERS) as (broker, served_by),
            kite(broker) as http,
            client(served_by) as session,
            client(served_by) as other,
        ):
            await session.subscribe("INFY")
            await until(lambda: served_by.upstream.connected)
            reply = await session.ask(action="subscribe_orders", request_id=5)
            assert (reply["type"], reply["status"], reply["request_id"]) == ("subscribe_orders", "success", 5)
            filled = await place(http)
            resting = await place(http, order_type="LIMIT", price=1)
            async with http.delete(f"/orders/regular/{resting}") as answer:
                assert answer.status == 200
            updates = await heard(session, 3, "order_update")
            assert [(u["orderid"], u["order_status"]) for u in updates] == [
                (filled, "complete"),
                (resting, "open"),
                (resting, "cancelled"),
            ]
            first = updates[0]
            assert (first["symbol"], first["exchange"], first["broker"]) == ("INFY", "NSE", "zerodha")
            assert (first["quantity"], first["filled_quantity"], first["pending_quantity"]) == (5, 5, 0)
            assert (first["action"], first["pricetype"], first["product"]) == ("BUY", "MARKET", "CNC")
            assert (await session.ask(action="unsubscribe_orders"))["type"] == "unsubscribe_orders"
            await place(http)
            for each in (session, other):
                await each.ask(action="ping")  # would come behind an update
            assert served_by.stats()["orders"]["updates_delivered"] == 3
            assert served_by.stats()["orders"]["update_clients"] == 0

    asyncio.run(main())


def test_updates_come_though_nobody_wants_a_symbol_and_the_connection_closes_when_nobody_wants_them() -> None:
    async def main() -> None:
        async with (
            gateway(BROKERPOOL_LINGER_SECONDS="0.2", **ORDERS) as (broker, served_by),
            kite(broker) as http,
            client(served_by) as session,
            client(served_by) as other,
        ):
            for each in (session, other):
                await each.ask(action="subscribe_orders")
            stale, gap = await heard(session, 2, "feed_status")
            assert (stale["status"], gap["status"]) == ("orders_stale", "orders_gap"), "it is open now"
            order = await place(http)
            (update,) = await heard(session, 1, "order_update")
            assert update["orderid"] == order
            assert len(broker.sockets()) == 1
            await other.ask(action="unsubscribe_orders")
            await session.connection.close()
            await until(lambda: served_by.stats()["orders"]["update_clients"] == 0)
            await until(lambda: not broker.sockets())

    asyncio.run(main())


def test_a_key_without_the_scope_is_told_so_and_gets_nothing() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by), kite(broker) as http, client(served_by) as session:
            await session.subscribe("INFY")
            await until(lambda: served_by.upstream.connected)
            reply = await session.ask(action="subscribe_orders", request_id="a")
            assert (reply["type"], reply["status"]) == ("subscribe_orders", "error")
            assert (reply["code"], reply["request_id"]) == ("SCOPE_MISSING", "a")
            await place(http)
            assert (await session.ask(action="ping"))["type"] == "pong"
            assert served_by.stats()["orders"]["updates_delivered"] == 0

    asyncio.run(main())


def test_a_hole_in_the_updates_is_told_when_it_begins_and_with_both_edges_when_it_is_over() -> None:
    async def main() -> None:
        async with (
            gateway(**ORDERS) as (broker, served_by),
            kite(broker) as http,
            client(served_by) as session,
        ):
            await session.ask(action="subscribe_orders")
            (stale,) = await heard(session, 1, "feed_status")
            assert (stale["status"], stale["broker"]) == ("orders_stale", "zerodha"), "nothing is open yet"
            await session.connection.send(
                json.dumps({"action": "subscribe", "symbol": "INFY", "exchange": "NSE", "mode": 1})
            )
            (gap,) = await heard(session, 1, "feed_status")
            assert gap["status"] == "orders_gap"
            assert gap["from"] == stale["from"] <= gap["to"]
            broker.kill(broker.sockets()[0]["id"])
            stale, gap = await heard(session, 2, "feed_status")
            assert (stale["status"], gap["status"]) == ("orders_stale", "orders_gap")
            assert "zerodha-1" in stale["message"]
            assert stale["from"] == gap["from"] <= gap["to"]
            order = await place(http)
            (update,) = await heard(session, 1, "order_update")
            assert update["orderid"] == order

    asyncio.run(main())


class Outlet:
    """Where a client's frames go; what was written is kept, by message."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def send_frames(self, frames: bytes) -> None:
        while frames:
            length, begin = frames[1], 2
            if length == 126:
                length, begin = int.from_bytes(frames[2:4]), 4
            self.messages.append(json.loads(frames[begin : begin + length]))
            frames = frames[begin + length :]


def update(order: int, status: str) -> str:
    return json.dumps({"type": "order_update", "orderid": str(order), "order_status": status})


def with_updates(scenario: Any) -> None:
    async def main() -> None:
        async with gateway() as (_, served_by):
            updates = OrderUpdates(served_by.upstream, wall_clock=lambda: 5.0)
            updates.connection_changed("a-1", "live", "")
            outlet = Outlet()
            updates.subscribe(outlet)
            scenario(updates, outlet)
            updates.close()

    asyncio.run(main())


def test_a_client_that_does_not_read_gets_the_newest_of_each_order_and_how_many_were_dropped() -> None:
    def scenario(updates: OrderUpdates, outlet: Outlet) -> None:
        updates.order_updated(update(1, "open"))
        updates.pause(outlet)
        for order in (1, 2, 1):
            for status in ("open", "complete"):
                updates.order_updated(update(order, status))
        assert len(outlet.messages) == 1
        updates.resume(outlet)
        dropped, *rest = outlet.messages[1:]
        assert (dropped["type"], dropped["status"], dropped["dropped"]) == (
            "feed_status",
            "orders_dropped",
            4,
        )
        assert [(m["orderid"], m["order_status"]) for m in rest] == [("2", "complete"), ("1", "complete")]
        updates.order_updated(update(3, "open"))
        assert outlet.messages[-1]["orderid"] == "3"
        assert updates.stats()["updates_dropped"] == 4
        assert updates.stats()["updates_delivered"] == 4

    with_updates(scenario)


def test_what_waits_is_bounded_and_one_that_kept_up_is_told_of_no_loss() -> None:
    def scenario(updates: OrderUpdates, outlet: Outlet) -> None:
        updates.pause(outlet)
        updates.order_updated(update(-1, "open"))
        updates.resume(outlet)
        assert [m["type"] for m in outlet.messages] == ["order_update"]
        updates.pause(outlet)
        for order in range(MOST_WAITING + 7):
            updates.order_updated(update(order, "open"))
        updates.resume(outlet)
        assert outlet.messages[1]["dropped"] == 7
        assert [m["orderid"] for m in outlet.messages[2:]] == [str(n) for n in range(7, MOST_WAITING + 7)]

    with_updates(scenario)


def test_copies_are_passed_as_they_come_and_what_is_no_update_is_not() -> None:
    def scenario(updates: OrderUpdates, outlet: Outlet) -> None:
        for _ in range(2):
            updates.order_updated(b'{"type":"order_update","orderid":"1","price":1.10,"extra":{"a":[1]}}')
        updates.order_updated('{"orderid":"2"}')
        for wrong in ("", "[]", "nonsense", "\ud800", b"\xff", '{"type":', "[" * 100_000, "1"):
            updates.order_updated(wrong)
        updates.order_updated(json.dumps({"orderid": "x" * LONGEST_UPDATE}))
        assert outlet.messages == [
            {"type": "order_update", "orderid": "1", "price": 1.10, "extra": {"a": [1]}},
            {"type": "order_update", "orderid": "1", "price": 1.10, "extra": {"a": [1]}},
            {"type": "order_update", "orderid": "2"},
        ]
        assert updates.stats()["updates_unreadable"] == 9
        news = {"type": "feed_status", "status": "orders_gap", "broker": "dhan", "from": 1, "to": 2}
        updates.order_updated(json.dumps(news))
        assert outlet.messages[-1] == news, "what a gateway further up says of its updates"

    with_updates(scenario)


def test_only_a_loss_is_a_hole_and_it_is_over_when_all_that_were_lost_are_back_or_gone() -> None:
    def scenario(updates: OrderUpdates, outlet: Outlet) -> None:
        def statuses() -> list[str]:
            return [m["status"] for m in outlet.messages]

        assert statuses() == []
        updates.connection_changed("a-2", "live", "")
        updates.connection_changed("a-1", "closed", "rotated")
        assert statuses() == [], "the other one goes on"
        updates.connection_changed("a-3", "live", "")
        for name in ("a-2", "a-3"):
            updates.connection_changed(name, "waiting", "lost")
        assert statuses() == ["orders_stale"]
        updates.connection_changed("a-2", "dialling", "")
        updates.connection_changed("a-2", "live", "")
        assert statuses() == ["orders_stale"]
        updates.connection_changed("a-3", "closed", "no symbols")
        assert statuses() == ["orders_stale", "orders_gap"]
        assert (outlet.messages[1]["from"], outlet.messages[1]["to"]) == (5000, 5000)
        updates.connection_changed("a-2", "closed", "no symbols")
        assert statuses() == ["orders_stale", "orders_gap", "orders_stale"], "none is left"

    with_updates(scenario)


def test_a_client_that_leaves_or_shows_a_key_without_the_scope_gets_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path / 'keys.db'}"
        async with Store(DatabasePool(url)) as store:
            trader = await store.create_key("trader", [Scope.DATA, Scope.ORDERS])
            reader = await store.create_key("reader", [Scope.DATA])
            async with gateway(DATABASE_URL=url) as (_, served_by):

                def subscribed() -> int:
                    return int(served_by.stats()["orders"]["update_clients"])

                async with client(served_by, key=trader) as session:
                    assert (await session.ask(action="subscribe_orders"))["status"] == "success"
                    assert subscribed() == 1
                    await session.connection.send(json.dumps({"action": "auth", "api_key": reader}))
                    await heard(session, 1, "auth")
                    assert subscribed() == 0
                    assert (await session.ask(action="subscribe_orders"))["code"] == "SCOPE_MISSING"
                async with client(served_by, key=trader) as session:
                    await session.ask(action="subscribe_orders")
                    assert subscribed() == 1
                await until(lambda: not subscribed())

    asyncio.run(main())
