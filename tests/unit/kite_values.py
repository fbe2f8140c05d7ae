"""A tick as the official kiteconnect hands it out: a dictionary of what stands in the packet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from brokerpool.ticks import DepthTick, Mode, QuoteTick, Tick

MODES = {Mode.LTP: "ltp", Mode.QUOTE: "quote", Mode.DEPTH: "full"}
_INDICES = 9


def as_sdk(tick: Tick, token: int, time: Callable[[int], object]) -> dict[str, Any]:
    """Return the dictionary of `KiteTicker`; `time` writes epoch milliseconds as the test compares them."""
    tradable = token & 0xFF != _INDICES
    told: dict[str, Any] = {
        "tradable": tradable,
        "mode": MODES[tick.mode],
        "instrument_token": token,
        "last_price": tick.ltp,
    }
    if not isinstance(tick, QuoteTick):
        return told
    told["ohlc"] = {"open": tick.open, "high": tick.high, "low": tick.low, "close": tick.close}
    told["change"] = tick.change_percent
    if isinstance(tick, DepthTick):
        told["exchange_timestamp"] = time(tick.timestamp)
    if not tradable:
        return told
    told |= {
        "last_traded_quantity": tick.last_trade_quantity,
        "average_traded_price": tick.avg_trade_price,
        "volume_traded": tick.volume,
        "total_buy_quantity": tick.total_buy_quantity,
        "total_sell_quantity": tick.total_sell_quantity,
    }
    if isinstance(tick, DepthTick):
        told |= {
            "last_trade_time": time(tick.last_trade_time),
            "oi": tick.oi,
            "oi_day_high": tick.oi_day_high,
            "oi_day_low": tick.oi_day_low,
            "depth": {
                side: [{"quantity": v.quantity, "price": v.price, "orders": v.orders} for v in levels]
                for side, levels in (("buy", tick.buy), ("sell", tick.sell))
            },
        }
    return told
