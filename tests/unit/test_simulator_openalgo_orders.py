"""The simulated OpenAlgo's orders: each that was accepted is there once, whatever its client saw."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from brokerpool.simulator import BreakHttp, FaultOrder, OpenAlgoSimulator, Refuse
from tests.unit.openalgo_client import INFY, ORDER, post
from tests.unit.simulator_client import run


def broker(**options: Any) -> OpenAlgoSimulator:
    return OpenAlgoSimulator(**{"symbols": 100, "rate": 0, "http_rates": {}, **options})


async def placed(server: OpenAlgoSimulator, **changed: Any) -> str:
    status, answer = await post(server, "placeorder", **{**ORDER, **changed})
    assert (status, answer["status"]) == (200, "success"), answer
    return str(answer["orderid"])


async def status_of(server: OpenAlgoSimulator, order_id: str) -> dict[str, Any]:
    answer = (await post(server, "orderstatus", orderid=order_id, strategy="mine"))[1]
    told: dict[str, Any] = answer["data"]
    return told


def test_an_order_is_placed_changed_and_cancelled_and_told_as_it_stands() -> None:
    async def main() -> None:
        async with broker(clock=lambda: 1_790_000_000.0) as server:
            order_id = await placed(server)
            assert await status_of(server, order_id) == {
                "action": "BUY",
                "average_price": 0.0,
                "exchange": "NSE",
                "order_status": "open",
                "orderid": order_id,
                "price": 1300.0,
                "pricetype": "LIMIT",
                "product": "MIS",
                "quantity": 10,
                "symbol": "INFY",
                "timestamp": "21-Sep-2026 19:43:20",
                "trigger_price": 0.0,
            }
            change = {**ORDER, "orderid": order_id, "quantity": "20", "price": "1301.5"}
            assert await post(server, "modifyorder", **change) == (
                200,
                {"status": "success", "orderid": order_id},
            )
            told = await status_of(server, order_id)
            assert (told["quantity"], told["price"]) == (20, 1301.5)
            assert (await post(server, "cancelorder", orderid=order_id))[1]["orderid"] == order_id
            assert (await status_of(server, order_id))["order_status"] == "cancelled"
            book = (await post(server, "orderbook"))[1]["data"]
            assert [order["orderid"] for order in book["orders"]] == [order_id]
            assert book["statistics"] == {
                "total_buy_orders": 1,
                "total_sell_orders": 0,
                "total_completed_orders": 0,
                "total_open_orders": 0,
                "total_rejected_orders": 0,
            }

    run(main)


@pytest.mark.parametrize(
    ("call", "changed", "status"),
    [
        ("placeorder", {"symbol": "NOPE"}, 400),
        ("placeorder", {"price": "0"}, 400),
        ("placeorder", {"price": "-1"}, 400),
        ("placeorder", {"price": "nan"}, 400),
        ("placeorder", {"quantity": "none"}, 400),
        ("placeorder", {"quantity": "0"}, 400),
        ("placeorder", {"action": "HOLD"}, 400),
        ("placeorder", {"symbol": None}, 400),
        ("modifyorder", {"orderid": "1"}, 404),
        ("cancelorder", {"orderid": "1"}, 404),
        ("orderstatus", {"orderid": "1"}, 404),
        ("orderstatus", {}, 400),
        ("basketorder", {"orders": [{"symbol": "INFY"}]}, 400),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_nothing(
    call: str, changed: dict[str, Any], status: int
) -> None:
    async def main() -> None:
        async with broker() as server:
            answered, answer = await post(server, call, **{**ORDER, **changed})
            assert (answered, answer["status"]) == (status, "error")
            assert server.orders.accepted() == []

    run(main)


def test_an_order_that_is_done_is_neither_changed_nor_cancelled() -> None:
    async def main() -> None:
        async with broker() as server:
            order_id = await placed(server, pricetype="MARKET")
            assert (await post(server, "cancelorder", orderid=order_id))[0] == 400
            assert (await post(server, "modifyorder", **ORDER, orderid=order_id))[0] == 400
            other = await placed(server)
            change = {**ORDER, "symbol": "SBIN", "orderid": other}
            assert (await post(server, "modifyorder", **change))[0] == 400

    run(main)


def test_what_traded_is_in_the_books_and_moves_the_money() -> None:
    async def main() -> None:
        async with broker() as server:
            market = server.market.quotes[server.listings[1].token].ltp / 100
            funds = (await post(server, "funds"))[1]["data"]
            assert (funds["availablecash"], funds["utiliseddebits"]) == ("1000000.00", "0.00")
            bought = await placed(server, pricetype="MARKET")
            trades = (await post(server, "tradebook"))[1]["data"]
            assert [(trade["orderid"], trade["average_price"]) for trade in trades] == [(bought, market)]
            position = {**INFY, "product": "MIS", "quantity": 10, "average_price": f"{market:.2f}"}
            assert (await post(server, "positionbook"))[1]["data"] == [position]
            funds = (await post(server, "funds"))[1]["data"]
            assert funds["utiliseddebits"] == f"{10 * market:.2f}"
            await server.step(1_000)
            later = server.market.quotes[server.listings[1].token].ltp / 100
            assert later != market
            await placed(server, pricetype="MARKET", quantity="30")
            position = (await post(server, "positionbook"))[1]["data"][0]
            assert (position["quantity"], position["average_price"]) == (
                40,
                f"{(market + 3 * later) / 4:.2f}",
            )
            await placed(server, pricetype="MARKET", action="SELL", quantity="45")
            position = (await post(server, "positionbook"))[1]["data"][0]
            assert (position["quantity"], position["average_price"]) == (-5, f"{later:.2f}"), (
                "it turned round"
            )
            holdings = (await post(server, "holdings"))[1]["data"]
            assert (holdings["holdings"], holdings["statistics"]["totalpnlpercentage"]) == ([], 0.0)

    run(main)


def test_a_smart_order_trades_what_is_missing_to_the_position() -> None:
    async def main() -> None:
        async with broker() as server:
            smart = {**ORDER, "pricetype": "MARKET", "quantity": "0"}
            first = (await post(server, "placesmartorder", **smart, position_size="5"))[1]["orderid"]
            assert (await status_of(server, first))["quantity"] == 5
            same = (await post(server, "placesmartorder", **smart, position_size="5"))[1]
            assert "orderid" not in same
            turned = (await post(server, "placesmartorder", **smart, position_size="-2"))[1]["orderid"]
            told = await status_of(server, turned)
            assert (told["action"], told["quantity"]) == ("SELL", 7)

    run(main)


def test_a_basket_answers_for_each_and_everything_that_works_is_cancelled_at_once() -> None:
    async def main() -> None:
        async with broker() as server:
            each = {name: value for name, value in ORDER.items() if name != "strategy"}
            orders = [each, {**each, "symbol": "NOPE"}, {**each, "price": "1301"}]
            results = (await post(server, "basketorder", strategy="basket", orders=orders))[1]["results"]
            assert [result["status"] for result in results] == ["success", "error", "success"]
            assert server.orders.report()["by_tag"] == {"basket": 2}
            cancelled = (await post(server, "cancelallorder", strategy="basket"))[1]
            assert cancelled["canceled_orders"] == [results[0]["orderid"], results[2]["orderid"]]
            assert cancelled["failed_cancellations"] == []
            assert server.orders.report()["by_status"] == {"CANCELLED": 2}

    run(main)


def test_the_ledger_has_what_each_accepted_call_sent_and_counts_it_by_tag_or_strategy() -> None:
    async def main() -> None:
        async with (
            broker(clock=lambda: 1_790_000_000.5) as server,
            aiohttp.ClientSession(server.control_url) as control,
        ):
            first = await placed(server, note="mine alone")
            await placed(server, tag="t7")
            await placed(server)
            async with control.get("/orders/accepted") as answer:
                accepted = await answer.json()
            assert accepted[0] == {
                "order_id": first,
                "at": 1_790_000_000.5,
                "tag": "mine",
                "sent": {**ORDER, "note": "mine alone"},
            }
            async with control.get("/orders") as answer:
                assert (await answer.json())["by_tag"] == {"mine": 2, "t7": 1}
            assert server.api_key not in str(accepted)

    run(main)


@pytest.mark.parametrize(
    ("fault", "orders"),
    [
        (FaultOrder(http_break=BreakHttp("reset-before-read", count=1)), 0),
        (FaultOrder(http_break=BreakHttp("reset-after-read", count=1)), 1),
        (FaultOrder(http_break=BreakHttp("close-after-read", count=1)), 1),
        (FaultOrder(http_break=BreakHttp("no-answer", count=1)), 1),
        (FaultOrder(refuse_http=Refuse(502, carried_out=True, count=1)), 1),
        (FaultOrder(refuse_http=Refuse(502, count=1)), 0),
        (FaultOrder(refuse_http=Refuse(429, retry_after=1, count=1)), 0),
    ],
)
def test_whether_a_call_without_a_good_answer_was_accepted_stands_in_the_ledger(
    fault: FaultOrder, orders: int
) -> None:
    async def main() -> None:
        async with broker() as server:
            await server.throw(fault)
            timeout = aiohttp.ClientTimeout(total=0.5)
            body = {"apikey": server.api_key, **ORDER}
            async with aiohttp.ClientSession(server.http_url, timeout=timeout) as http:
                try:
                    # aiohttp sends an idempotent call again, which a POST is not.
                    async with http.post("/api/v1/placeorder", json=body) as answer:
                        assert answer.status in (429, 502)
                except (TimeoutError, aiohttp.ClientError):
                    pass
            assert server.orders.report()["orders"] == orders
            await placed(server)
            assert server.orders.report()["by_tag"] == {"mine": orders + 1}

    run(main)
