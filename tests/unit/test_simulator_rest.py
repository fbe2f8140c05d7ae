"""The simulated Kite's account over HTTP: orders, candles and the profile, at the published rates."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from brokerpool.simulator import KiteSimulator
from tests.unit.kite_http_client import ORDER
from tests.unit.simulator_client import until

#: 2026-11-24, 12:00:30 in India, a Tuesday.
NOON = 1_795_501_830.0


class Account:
    """The owner's client, and the market's clock."""

    def __init__(self, broker: KiteSimulator, session: aiohttp.ClientSession, clock: list[float]) -> None:
        self.broker = broker
        self.session = session
        self._clock = clock

    def later(self, seconds: float) -> None:
        self._clock[0] += seconds

    async def call(self, method: str, path: str, **extra: Any) -> tuple[int, Any]:
        async with self.session.request(method, path, **extra) as response:
            return response.status, await response.json()

    async def place(self, **fields: object) -> tuple[int, Any]:
        return await self.call("POST", "/orders/regular", data={**ORDER, **fields})

    async def statuses(self, method: str, path: str, count: int) -> list[int]:
        return [(await self.call(method, path))[0] for _ in range(count)]


def with_account(scenario: Callable[[Account], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        clock = [NOON]
        async with KiteSimulator(rate=0, clock=lambda: clock[0], **options) as broker:
            headers = {"Authorization": f"token {broker.api_key}:{broker.access_token}"}
            async with aiohttp.ClientSession(broker.http_url, headers=headers) as session:
                await scenario(Account(broker, session, clock))

    asyncio.run(asyncio.wait_for(run(), 30))


def test_an_order_is_placed_modified_shown_and_cancelled() -> None:
    async def scenario(account: Account) -> None:
        status, body = await account.place(tag="s1", quantity=5)
        order_id = body["data"]["order_id"]
        assert (status, body["status"], order_id) == (200, "success", "261124000000001")
        path = f"/orders/regular/{order_id}"
        assert (await account.call("PUT", path, data={"price": "1310.5"}))[1]["data"] == {
            "order_id": order_id
        }
        ((_, book), (_, history)) = (
            await account.call("GET", "/orders"),
            await account.call("GET", f"/orders/{order_id}"),
        )
        (order,) = book["data"]
        told = {name: order[name] for name in ("status", "quantity", "pending_quantity", "price", "tag")}
        assert told == {"status": "OPEN", "quantity": 5, "pending_quantity": 5, "price": 1310.5, "tag": "s1"}
        assert (order["instrument_token"], order["order_timestamp"]) == (408065, "2026-11-24 12:00:30")
        assert [state["price"] for state in history["data"]] == [1300, 1300, 1310.5]
        assert history["data"][-1] == order
        assert (await account.call("DELETE", path))[1]["data"] == {"order_id": order_id}
        status, body = await account.call("DELETE", path)
        assert (status, body["error_type"]) == (400, "OrderException")
        status, body = await account.call("GET", "/orders/1")
        assert (status, body["error_type"]) == (404, "OrderException")

    with_account(scenario)


def test_a_market_order_trades_at_the_markets_last_price() -> None:
    async def scenario(account: Account) -> None:
        await account.broker.step(300)
        await account.place(order_type="MARKET")
        (_, book) = await account.call("GET", "/orders")
        quote = account.broker.market.quotes[408065]
        assert (book["data"][0]["status"], book["data"][0]["average_price"]) == ("COMPLETE", quote.ltp / 100)

    with_account(scenario)


def test_a_bad_order_is_an_input_error_and_makes_none() -> None:
    async def scenario(account: Account) -> None:
        for bad in ({"quantity": "many"}, {"tradingsymbol": "NOPE"}, {"price": 0}, {"tag": "x" * 21}):
            status, body = await account.place(**bad)
            assert (status, body["error_type"]) == (400, "InputException")
        status, body = await account.call("POST", "/orders/sometime", data=ORDER)
        assert (status, body["error_type"]) == (400, "InputException")
        status, _ = await account.call(
            "POST",
            "/orders/regular",
            data=b"a=b",
            headers={"Content-Type": "application/x-www-form-urlencoded; charset=no"},
        )
        assert status == 400
        assert account.broker.orders.latest() == []

    with_account(scenario)


def test_candles_are_those_of_the_history_in_rupees() -> None:
    async def scenario(account: Account) -> None:
        path = "/instruments/historical/408065/day"
        span = {"from": "2026-11-20 09:15:00", "to": "2026-11-23 15:30:00"}
        status, body = await account.call("GET", path, params=span)
        friday, monday = body["data"]["candles"]
        assert (status, len(monday)) == (200, 6)
        assert (friday[0], monday[0]) == ("2026-11-20T00:00:00+0530", "2026-11-23T00:00:00+0530")
        assert monday[4] == account.broker.market.quotes[408065].close / 100
        path = f"/instruments/historical/{(40_000 << 8) + 2}/minute"
        _, body = await account.call("GET", path, params={**span, "oi": "1", "continuous": "0"})
        assert len(body["data"]["candles"]) == 2 * 375
        assert body["data"]["candles"][0][0] == "2026-11-20T09:15:00+0530"
        assert all(len(row) == 7 and row[6] > 0 for row in body["data"]["candles"])

    with_account(scenario)


def test_candles_that_do_not_exist_are_an_input_error() -> None:
    async def scenario(account: Account) -> None:
        span = {"from": "2026-11-20", "to": "2026-11-23"}
        for path, changed in (
            ("408065/2minute", {}),
            ("7/day", {}),
            ("9" * 5_000 + "/day", {}),
            ("408065/day", {"from": "yesterday"}),
            ("408065/day", {"to": "2026-11-19"}),
            ("408065/minute", {"from": "2026-09-01"}),
            ("408065/day", {"oi": "yes"}),
        ):
            account.later(1)
            status, body = await account.call(
                "GET", f"/instruments/historical/{path}", params={**span, **changed}
            )
            assert (status, body["error_type"]) == (400, "InputException"), (path, body)

    with_account(scenario)


def test_everything_but_the_instrument_list_needs_the_credentials() -> None:
    async def scenario(account: Account) -> None:
        wrong = {"Authorization": "token nobody:nothing"}
        for method, path in (
            ("GET", "/quote?i=NSE:INFY"),
            ("GET", "/instruments/historical/408065/day?from=2026-11-20&to=2026-11-23"),
            ("GET", "/orders"),
            ("GET", "/orders/1"),
            ("POST", "/orders/regular"),
            ("PUT", "/orders/regular/1"),
            ("DELETE", "/orders/regular/1"),
            ("GET", "/user/profile"),
        ):
            # As often as one likes: a call without credentials does not count against the account.
            for _ in range(11):
                status, body = await account.call(method, path, headers=wrong)
                assert (status, body["error_type"]) == (403, "TokenException"), path
        status, body = await account.call("GET", "/user/profile")
        assert (status, body["data"]["broker"], body["data"]["exchanges"]) == (
            200,
            "ZERODHA",
            ["CDS", "NFO", "NSE"],
        )

    with_account(scenario)


def test_each_group_of_endpoints_has_its_published_rate() -> None:
    async def scenario(account: Account) -> None:
        candles = "/instruments/historical/408065/day?from=2026-11-20&to=2026-11-23"
        for second in range(2):
            assert await account.statuses("GET", "/quote?i=NSE:INFY", 1) == [200]
            assert await account.statuses("GET", "/quote/ltp?i=NSE:INFY", 2) == [429, 429]
            assert await account.statuses("GET", candles, 4) == [200] * 3 + [429]
            assert await account.statuses("GET", "/user/profile", 6) == [200] * 6
            assert await account.statuses("GET", "/orders", 5) == [200] * 4 + [429]
            orders = [(await account.place())[0] for _ in range(11)]
            assert orders == [200] * 10 + [429]
            assert len(account.broker.orders.latest()) == 10 * (second + 1), "a call too fast makes no order"
            account.later(1)
        assert account.broker.stats()["too_fast"] == {"quote": 4, "historical": 2, "other": 2, "order": 2}
        assert account.broker.stats()["http_answers"] == {"200": 48, "429": 10}

    with_account(scenario)


def test_a_call_that_is_too_fast_is_told_in_the_brokers_words() -> None:
    async def scenario(account: Account) -> None:
        await account.call("GET", "/quote?i=NSE:INFY")
        async with account.session.get("/quote?i=NSE:INFY") as response:
            assert response.status == 429
            assert "Retry-After" not in response.headers, "the broker names no time"
            assert await response.json() == {
                "status": "error",
                "message": "Too many requests",
                "error_type": "NetworkException",
            }

    with_account(scenario)


def test_orders_have_a_rate_for_the_minute_and_cancelling_counts() -> None:
    async def scenario(account: Account) -> None:
        for _ in range(40):
            (_, body) = await account.place()
            path = f"/orders/regular/{body['data']['order_id']}"
            assert await account.statuses("PUT", path, 8) == [200] * 8
            assert await account.statuses("DELETE", path, 1) == [200]
            account.later(1)
        assert (await account.place())[0] == 429
        account.later(20)
        assert (await account.place())[0] == 200

    with_account(scenario)


def test_an_order_of_a_variety_that_kite_does_not_have_is_not_made() -> None:
    async def scenario(account: Account) -> None:
        status, body = await account.call("POST", "/orders/bo", data=ORDER)
        assert (status, body["error_type"]) == (400, "InputException")
        assert body["message"] == "invalid variety: 'bo'; varieties: regular, amo, co, iceberg, auction"
        assert account.broker.orders.latest() == []

    with_account(scenario)


def test_what_does_not_exist_is_told_as_the_broker_tells_errors() -> None:
    async def scenario(account: Account) -> None:
        for method, path, expected in (("GET", "/nowhere", 404), ("DELETE", "/user/profile", 405)):
            status, body = await account.call(method, path)
            assert (status, body["status"], body["error_type"]) == (expected, "error", "GeneralException")

    with_account(scenario)


def test_the_control_endpoint_shows_orders_by_tag_and_the_connections() -> None:
    async def scenario(account: Account) -> None:
        for tag in ("a", "a", "b", ""):
            await account.place(tag=tag)
        async with aiohttp.ClientSession(account.broker.control_url) as control:
            async with control.get("/orders") as response:
                assert await response.json() == {
                    "orders": 4,
                    "by_status": {"OPEN": 4},
                    "by_tag": {"a": 2, "b": 1},
                    "untagged": 1,
                }
            async with control.get("/stats") as response:
                stats = await response.json()
        assert stats["http_connections"] == {"accepted": 1, "open": 1, "peak": 1}
        assert stats["http_requests"] == {"POST /orders/{variety}": 4}
        assert stats["http_answers"] == {"200": 4}

    with_account(scenario)


def test_the_peak_of_open_connections_stays() -> None:
    async def scenario(account: Account) -> None:
        account.broker.faults.latency_ms = 50
        await asyncio.gather(*(account.call("GET", "/user/profile") for _ in range(7)))
        await account.session.close()
        await until(lambda: account.broker.stats()["http_connections"]["open"] == 0)
        assert account.broker.stats()["http_connections"] == {"accepted": 7, "open": 0, "peak": 7}

    with_account(scenario)
