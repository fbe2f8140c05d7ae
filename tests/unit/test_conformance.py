"""The adapters of the project pass the conformance kit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from random import Random
from typing import Any

from brokerpool.brokers.limits import FeedLimits
from brokerpool.brokers.wire import SignalKind
from brokerpool.brokers.zerodha.account import ZerodhaFeed
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.simulator.exchange import Quote as KiteQuote
from brokerpool.simulator.zerodha.wire import HEARTBEAT, frame, record
from brokerpool.testing.conformance import AdapterConformance
from brokerpool.testing.scripted_feed import ScriptedFeed
from brokerpool.testing.wire_dialect import Dialect, Heard, Message, Quote
from brokerpool.ticks import Mode

_KITE_MODES = {"ltp": Mode.LTP, "quote": Mode.QUOTE, "full": Mode.DEPTH}


class KiteDialect(Dialect):
    """Kite's side, with what the simulator writes."""

    samples: Mapping[SignalKind, Message] = {
        SignalKind.ORDER_UPDATE: '{"type": "order", "data": {"order_id": "1"}}',
        SignalKind.REFUSED: '{"type": "error", "data": "no"}',
        SignalKind.TOLD: '{"type": "message", "data": "maintenance at 8"}',
    }

    def read(self, message: Message) -> Heard:
        said: Any = json.loads(message)
        value = said["v"]
        match said["a"]:
            case "unsubscribe":
                return Heard(drop=value)
            case "subscribe":
                return Heard(add=dict.fromkeys(value, Mode.QUOTE))
            case "mode":
                return Heard(remode=dict.fromkeys(value[1], _KITE_MODES[value[0]]))
        raise ValueError(said)

    def ticks(self, quotes: Sequence[Quote], at_ms: int) -> list[bytes]:
        return [frame([record(_kite_quote(quote, at_ms), quote.mode) for quote in quotes])]

    def heartbeat(self) -> bytes:
        return HEARTBEAT


def _kite_quote(quote: Quote, at_ms: int) -> KiteQuote:
    paise = quote.price * 100
    return KiteQuote(int(quote.token), ltp=paise, close=paise, exchange_time=at_ms // 1000)


class TestZerodha(AdapterConformance):
    secrets = ("the-api-key",)

    def account(self) -> ZerodhaFeed:
        book = TokenBook((Instrument("NSE", f"S{n}"), n << 8 | 1) for n in range(1, 13))
        book.add(Instrument("NSE_INDEX", "NIFTY"), 13 << 8 | 9)
        return ZerodhaFeed("the-api-key", "conformance-token", book=book)

    def dialect(self) -> Dialect:
        return KiteDialect()


class TestScripted(AdapterConformance):
    greets = False
    heartbeat_seconds = 0.0

    def account(self) -> ScriptedFeed:
        return ScriptedFeed(
            12, random=Random(1), greets=self.greets, heartbeat_seconds=self.heartbeat_seconds
        )

    def dialect(self) -> Dialect:
        return self.account().dialect()

    def limits_table(self) -> Mapping[str, Mapping[str, Any]]:
        limits = self.account().limits
        return {
            figure.name: {
                "value": _plain(getattr(limits, figure.name)),
                "source": "ours: the broker is made up",
                "date": date(2026, 11, 29),
            }
            for figure in fields(FeedLimits)
            if figure.name != "modes"  # of a table of its own
        }


class TestScriptedThatGreets(TestScripted):
    greets = True
    heartbeat_seconds = 4.0


def _plain(value: object) -> object:
    return [list(window) for window in value] if isinstance(value, tuple) else value
