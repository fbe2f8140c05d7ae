"""A strategy that trades with the `openalgo` SDK; run by test_openalgo_server, prints JSON.

Its server is OpenAlgo itself as far as the SDK can tell.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from openalgo import api

DEADLINE_SECONDS = 15.0
INFY, SBIN, TCS = ({"exchange": "NSE", "symbol": symbol} for symbol in ("INFY", "SBIN", "TCS"))

received: dict[str, list[dict[str, Any]]] = {"ltp": [], "quote": [], "depth": [], "orders": []}


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {DEADLINE_SECONDS} s; received {received}")
        time.sleep(0.01)


def trade(control_url: str) -> None:
    """Let the simulated market trade each symbol once."""
    request = urllib.request.Request(f"{control_url}/step", b'{"ticks": 5}', method="POST")
    urllib.request.urlopen(request, timeout=10).close()


def main(ws_url: str, http_url: str, control_url: str, key: str) -> dict[str, Any]:
    sdk = api(api_key=key, host=http_url, ws_url=ws_url)
    result: dict[str, Any] = {"connected": sdk.connect()}
    sdk.subscribe_ltp([INFY], on_data_received=received["ltp"].append)
    sdk.subscribe_quote([SBIN], on_data_received=received["quote"].append)
    sdk.subscribe_depth([TCS], on_data_received=received["depth"].append)
    result["order_updates"] = hasattr(sdk, "subscribe_orders")  # from 2.x on
    if result["order_updates"]:
        sdk.subscribe_orders(received["orders"].append)
    while not all(received[mode] for mode in ("ltp", "quote", "depth")):
        trade(control_url)
        time.sleep(0.05)
    result["ticks"] = {mode: received[mode][-1] for mode in ("ltp", "quote", "depth")}

    order = {**INFY, "strategy": "sdk", "action": "BUY", "product": "MIS"}
    placed = sdk.placeorder(**order, price_type="LIMIT", quantity=10, price=1300)
    order_id = placed.get("orderid", "none")
    result["placed"] = placed
    result["modified"] = sdk.modifyorder(
        **order, order_id=order_id, price_type="LIMIT", quantity=20, price=1301
    )
    result["status"] = sdk.orderstatus(order_id=order_id, strategy="sdk")
    result["cancelled"] = sdk.cancelorder(order_id=order_id, strategy="sdk")
    result["bought"] = sdk.placeorder(**order, price_type="MARKET", quantity=1)
    result["smart"] = sdk.placesmartorder(**order, price_type="MARKET", quantity=1, position_size=3)
    basket = [
        {**INFY, "action": "SELL", "quantity": 1, "pricetype": "LIMIT", "product": "MIS", "price": 1800}
    ]
    result["basket"] = sdk.basketorder(strategy="sdk", orders=basket)
    result["all_cancelled"] = sdk.cancelallorder(strategy="sdk")
    for call in ("orderbook", "tradebook", "positionbook", "holdings", "funds"):
        result[call] = getattr(sdk, call)()
    result["quotes"] = sdk.quotes(**INFY)
    result["wrong_key"] = api(api_key="wrong", host=http_url, ws_url=ws_url).funds()
    if result["order_updates"]:
        wait(lambda: len(received["orders"]) == 7)
    result["updates"] = [[update["order_status"], update["orderid"]] for update in received["orders"]]
    sdk.disconnect()
    result["refused"] = api(api_key="wrong", host=http_url, ws_url=ws_url).connect()
    return result


if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()):  # the SDK prints what it does
        seen = main(*sys.argv[1:])
    print(json.dumps(seen))
