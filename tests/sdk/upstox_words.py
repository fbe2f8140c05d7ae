"""What the official Upstox client tells of a row, and our tick in the same words; without greeks."""

from __future__ import annotations

from typing import Any

from brokerpool.ticks import DepthTick, Tick


def of_ours(tick: Tick) -> dict[str, Any]:
    """Return all that a tick says but its time and what is reckoned from the rest."""
    if not isinstance(tick, DepthTick):
        return {"ltp": tick.ltp}
    return {
        "ltp": tick.ltp,
        "cp": tick.close,
        "ltt": tick.last_trade_time,
        "ltq": tick.last_trade_quantity,
        "day": (tick.open, tick.high, tick.low),
        "atp": tick.avg_trade_price,
        "vtt": tick.volume,
        "oi": tick.oi,
        "tbq": tick.total_buy_quantity,
        "tsq": tick.total_sell_quantity,
        "buy": [(level.price, level.quantity) for level in tick.buy],
        "sell": [(level.price, level.quantity) for level in tick.sell],
    }


def of_theirs(row: dict[str, Any]) -> dict[str, Any]:
    """Return the same of a row of `MessageToDict`: numbers of 64 bits are texts, and zeros are missing."""
    if "ltpc" in row:
        return {"ltp": row["ltpc"]["ltp"]}
    full = row["fullFeed"].get("marketFF") or row["fullFeed"]["indexFF"]
    bars = {bar["interval"]: bar for bar in full.get("marketOHLC", {}).get("ohlc", ())}
    day, book = bars.get("1d", {}), full.get("marketLevel", {}).get("bidAskQuote", ())
    return {
        "ltp": full["ltpc"]["ltp"],
        "cp": full["ltpc"]["cp"],
        "ltt": int(full["ltpc"]["ltt"]),
        "ltq": int(full["ltpc"].get("ltq", 0)),
        "day": tuple(day.get(name, 0.0) for name in ("open", "high", "low")),
        "atp": full.get("atp", 0.0),
        "vtt": int(full.get("vtt", 0)),
        "oi": int(full.get("oi", 0)),
        "tbq": int(full.get("tbq", 0)),
        "tsq": int(full.get("tsq", 0)),
        "buy": [(level.get("bidP", 0.0), int(level.get("bidQ", 0))) for level in book],
        "sell": [(level.get("askP", 0.0), int(level.get("askQ", 0))) for level in book],
    }
