"""What `openalgo_server_program` is to see of any server that speaks OpenAlgo's protocol in full."""

from __future__ import annotations

from typing import Any

import pytest


def check_ticks(sdk: dict[str, Any]) -> None:
    """Each mode ticks with the members that the SDK reads."""
    assert sdk["connected"] is True
    ltp, quote, depth = (sdk["ticks"][mode] for mode in ("ltp", "quote", "depth"))
    assert (ltp["symbol"], quote["symbol"], depth["symbol"]) == ("INFY", "SBIN", "TCS")
    assert ltp["data"]["ltp"] > 0
    assert quote["data"]["volume"] > 0
    assert quote["data"]["last_trade_quantity"] > 0
    assert depth["data"]["depth"]["buy"][0]["price"] <= depth["data"]["ltp"]


def check_order_calls(sdk: dict[str, Any]) -> None:
    """Every call of an order is answered as the SDK wants it."""
    order_id = sdk["placed"]["orderid"]
    assert sdk["modified"] == sdk["cancelled"] == {"status": "success", "orderid": order_id}
    status = sdk["status"]["data"]
    assert (status["order_status"], status["quantity"], status["price"]) == ("open", 20, 1301.0)
    assert [result["status"] for result in sdk["basket"]["results"]] == ["success"]
    assert sdk["all_cancelled"]["canceled_orders"] == [sdk["basket"]["results"][0]["orderid"]]


def check_books(sdk: dict[str, Any]) -> None:
    """The books, the funds and the quotes are those of what was traded."""
    ends = [order["order_status"] for order in sdk["orderbook"]["data"]["orders"]]
    assert ends == ["cancelled", "complete", "complete", "cancelled"]
    assert len(sdk["tradebook"]["data"]) == 2
    assert [position["quantity"] for position in sdk["positionbook"]["data"]] == [3]
    assert sdk["holdings"]["data"]["holdings"] == []
    assert float(sdk["funds"]["data"]["utiliseddebits"]) > 0
    assert sdk["quotes"]["data"]["ltp"] > 0


def check_wrong_key(sdk: dict[str, Any]) -> None:
    """A wrong key is refused over HTTP, and the right one is not on the socket."""
    assert (sdk["wrong_key"]["status"], sdk["wrong_key"]["code"]) == ("error", 403)
    assert sdk["refused"] is False


def check_order_updates(sdk: dict[str, Any]) -> None:
    """Order updates come in their order."""
    if not sdk["order_updates"]:
        pytest.skip("the 1.x SDK hears no order updates: take Python 3.12 (VENV=.venv312 PYTHON=python3.12)")
    first = sdk["placed"]["orderid"]
    states = [status for status, _ in sdk["updates"]]
    assert states == ["open", "open", "cancelled", "complete", "complete", "open", "cancelled"]
    assert [order_id for _, order_id in sdk["updates"]][:3] == [first] * 3
