"""Our ticks of Dhan in the words of the official dhanhq 2.3.0, whose parser hands out texts."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from typing import Any

from brokerpool.ticks import DepthTick, QuoteTick, Tick

_INDIA = timedelta(seconds=19_800)


def price(rupees: float) -> str:
    """A price as the client prints it, out of the wire's 32 bits."""
    return f"{struct.unpack('<f', struct.pack('<f', rupees))[0]:.2f}"


def clock(milliseconds: int) -> str:
    """A time as the client prints it: India's wall clock."""
    return (datetime.fromtimestamp(milliseconds / 1000, UTC) + _INDIA).strftime("%H:%M:%S")


def as_sdk(tick: Tick, token: int, close: float | None = None) -> dict[str, Any]:
    """The dictionary that `MarketFeed.process_data` hands out for this tick.

    Its close is that of the packet, 0 while the market is open; ours is that of the session before.
    """
    told: dict[str, Any] = {
        "exchange_segment": token & 0xFF,
        "security_id": token >> 8,
        "LTP": price(tick.ltp),
        "LTT": clock(tick.timestamp),
    }
    if not isinstance(tick, QuoteTick):
        return {"type": "Ticker Data", **told}
    told |= {
        "LTQ": tick.last_trade_quantity,
        "avg_price": price(tick.avg_trade_price),
        "volume": tick.volume,
        "total_sell_quantity": tick.total_sell_quantity,
        "total_buy_quantity": tick.total_buy_quantity,
        "open": price(tick.open),
        "close": price(tick.close if close is None else close),
        "high": price(tick.high),
        "low": price(tick.low),
    }
    if not isinstance(tick, DepthTick):
        return {"type": "Quote Data", **told}
    depth = [
        {
            "bid_quantity": bid.quantity,
            "ask_quantity": ask.quantity,
            "bid_orders": bid.orders,
            "ask_orders": ask.orders,
            "bid_price": price(bid.price),
            "ask_price": price(ask.price),
        }
        for bid, ask in zip(tick.buy, tick.sell, strict=True)
    ]
    more = {"OI": tick.oi, "oi_day_high": tick.oi_day_high, "oi_day_low": tick.oi_day_low, "depth": depth}
    return {"type": "Full Data", **told, **more}
