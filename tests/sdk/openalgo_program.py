"""A strategy as a user would write it with the `openalgo` SDK; run by test_openalgo, prints JSON."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any

from openalgo import api

INFY = {"exchange": "NSE", "symbol": "INFY"}
DEADLINE_SECONDS = 15.0
MODES = ("ltp", "quote", "depth")

received: Counter[str] = Counter()


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {DEADLINE_SECONDS} s; received {dict(received)}")
        time.sleep(0.01)


def client(ws_url: str, key: str) -> Any:
    return api(api_key=key, host="http://127.0.0.1:1", ws_url=ws_url)


def counting(mode: str) -> Callable[[Any], None]:
    def callback(data: Any) -> None:
        received[mode] += 1

    return callback


def subscribe(sdk: Any) -> None:
    sdk.subscribe_ltp([INFY], on_data_received=counting("ltp"))
    sdk.subscribe_quote([INFY], on_data_received=counting("quote"))
    sdk.subscribe_depth([INFY], on_data_received=counting("depth"))


def trade(control_url: str) -> None:
    """Let the simulated market trade a hundred times."""
    request = urllib.request.Request(f"{control_url}/step", b'{"ticks": 100}', method="POST")
    urllib.request.urlopen(request, timeout=10).close()
    time.sleep(0.05)


def get(url: str, login: str) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": login})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def ticks(ws_url: str, key: str, control_url: str, quote_url: str, login: str) -> dict[str, Any]:
    sdk = client(ws_url, key)
    began = time.monotonic()
    connected = sdk.connect()
    seconds = time.monotonic() - began
    subscribe(sdk)
    while min(received[m] for m in MODES) < 5:
        trade(control_url)
    settle()
    # The market stands still now, so the last values can be compared at leisure.
    result = {
        "connected": connected,
        "connect_seconds": seconds,
        "callbacks": dict(received),
        "ltp": sdk.get_ltp()["ltp"]["NSE"]["INFY"],
        "quote": sdk.get_quotes()["quote"]["NSE"]["INFY"],
        "broker_quote": get(quote_url, login),
        "depth": sdk.get_depth()["depth"]["NSE"]["INFY"],
    }
    sdk.unsubscribe_ltp([INFY])
    sdk.unsubscribe_quote([INFY])
    sdk.unsubscribe_depth([INFY])
    settle()
    received.clear()
    trade(control_url)
    settle()
    result["after_unsubscribe"] = {mode: received[mode] for mode in MODES}
    sdk.disconnect()
    return result


def settle() -> None:
    """Return once nothing has come for a while."""
    before = -1
    while before != sum(received.values()):
        before = sum(received.values())
        time.sleep(0.3)


def wrong_key(ws_url: str, key: str) -> dict[str, Any]:
    return {"connected": client(ws_url, key + "x").connect()}


def restart(ws_url: str, key: str) -> dict[str, Any]:
    sdk = client(ws_url, key)
    sdk.connect()
    subscribe(sdk)
    wait(lambda: min(received[m] for m in MODES) >= 5)
    print("ticking", file=sys.__stdout__, flush=True)
    sys.stdin.readline()
    received.clear()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and min(received[m] for m in MODES) < 5:
        time.sleep(0.05)
    sdk.disconnect()
    return {"after_restart": {mode: received[mode] for mode in MODES}}


SCENARIOS: dict[str, Callable[..., dict[str, Any]]] = {
    "ticks": ticks,
    "wrong-key": wrong_key,
    "restart": restart,
}

if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()):  # the SDK prints what it does
        seen = SCENARIOS[sys.argv[3]](sys.argv[1], sys.argv[2], *sys.argv[4:])
    print(json.dumps(seen))
