"""The data calls of a strategy as a user writes them with the `openalgo` SDK; run by test_openalgo_rest."""

from __future__ import annotations

import json
import sys
from typing import Any

from openalgo import api

INFY = {"symbol": "INFY", "exchange": "NSE"}


def table(answer: Any) -> Any:
    """Return a DataFrame as rows, and an error as it is."""
    if isinstance(answer, dict):
        return answer
    if answer.index.name == "timestamp":
        answer = answer.reset_index()
        answer["timestamp"] = answer["timestamp"].astype(str)
    return answer.to_dict("records")


def main(host: str, key: str, wrong_key: str) -> dict[str, Any]:
    sdk = api(api_key=key, host=host, ws_url="ws://127.0.0.1:1")
    days = {"start_date": "2025-04-21", "end_date": "2025-04-25"}
    return {
        "quotes": sdk.quotes(**INFY),
        "multiquotes": sdk.multiquotes(symbols=[INFY, {"symbol": "NOPE", "exchange": "NSE"}]),
        "depth": sdk.depth(**INFY),
        "daily": table(sdk.history(**INFY, interval="D", **days)),
        "minutes": table(sdk.history(**INFY, interval="5m", **days)),
        "intervals": sdk.intervals(),
        "symbol": sdk.symbol(**INFY),
        "search": sdk.search(query="NIFTY", exchange="NFO"),
        "expiry": sdk.expiry(symbol="NIFTY", exchange="NFO", instrumenttype="futures"),
        "instruments": table(sdk.instruments(exchange="NSE")),
        "unknown": sdk.quotes(symbol="NOPE", exchange="NSE"),
        "wrong_key": api(api_key=wrong_key, host=host, ws_url="ws://127.0.0.1:1").quotes(**INFY),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
