"""A tick as the official smartapi-python 1.5.5 tells it: a dictionary of what stands in the packet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brokerpool.brokers.angel.segments import parts
from brokerpool.ticks import DepthTick, Mode, QuoteTick, Tick

_MODES = {Mode.LTP: "LTP", Mode.QUOTE: "QUOTE", Mode.DEPTH: "SNAP_QUOTE"}
_UNTOLD = frozenset(
    {
        "sequence_number",
        "open_interest_change_percentage",
        "upper_circuit_limit",
        "lower_circuit_limit",
        "52_week_high_price",
        "52_week_low_price",
    }
)
_CURRENCIES = 13


def told(by_sdk: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the client told, without what a tick does not tell."""
    return {key: value for key, value in by_sdk.items() if key not in _UNTOLD}


def as_sdk(tick: Tick, token: str) -> dict[str, Any]:
    """Return the dictionary that `SmartWebSocketV2` hands out for this tick."""
    segment, number = parts(token)
    unit = 10_000_000 if segment == _CURRENCIES else 100

    def units(price: float) -> int:
        return round(price * unit)

    data: dict[str, Any] = {
        "subscription_mode": int(tick.mode),
        "subscription_mode_val": _MODES[tick.mode],
        "exchange_type": segment,
        "token": number,
        "exchange_timestamp": tick.timestamp,
        "last_traded_price": units(tick.ltp),
    }
    if isinstance(tick, QuoteTick):
        data |= {
            "last_traded_quantity": tick.last_trade_quantity,
            "average_traded_price": units(tick.avg_trade_price),
            "volume_trade_for_the_day": tick.volume,
            "total_buy_quantity": float(tick.total_buy_quantity),
            "total_sell_quantity": float(tick.total_sell_quantity),
            "open_price_of_the_day": units(tick.open),
            "high_price_of_the_day": units(tick.high),
            "low_price_of_the_day": units(tick.low),
            "closed_price": units(tick.close),
        }
    if isinstance(tick, DepthTick):
        data |= {"last_traded_timestamp": tick.last_trade_time // 1000, "open_interest": tick.oi}
        sides = {"buy": (1, tick.buy), "sell": (0, tick.sell)}
        for name, (flag, levels) in sides.items():
            data[f"best_5_{name}_data"] = [
                _level(flag, level.quantity, units(level.price), level.orders) for level in levels
            ]
        if not tick.buy and not tick.sell:  # of what has no book the client reads ten empty levels
            data["best_5_sell_data"] = [_level(0, 0, 0, 0)] * 10
    return data


def _level(flag: int, quantity: int, price: int, orders: int) -> dict[str, int]:
    return {"flag": flag, "quantity": quantity, "price": price, "no of orders": orders}
