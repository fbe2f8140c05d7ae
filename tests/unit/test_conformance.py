"""The adapters of the project pass the conformance kit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from random import Random
from typing import Any

from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.openalgo import OpenAlgoBook, OpenAlgoFeed
from brokerpool.brokers.wire import SignalKind
from brokerpool.brokers.zerodha.account import ZerodhaFeed
from brokerpool.instruments import Instrument, Token, TokenBook
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


class OpenAlgoDialect(Dialect):
    """An OpenAlgo's side: a subscription for each mode of a symbol, of which the newest counts here."""

    logged_out_code = 4403
    samples: Mapping[SignalKind, Message] = {
        SignalKind.ORDER_UPDATE: '{"type": "order_update", "orderid": "1", "order_status": "complete"}',
        SignalKind.REFUSED: '{"status": "error", "code": "BROKER_ERROR", "message": "no adapter"}',
        SignalKind.TOLD: '{"type": "feed_status", "status": "degraded", "message": "socket closed"}',
        SignalKind.UNKNOWN: '{"type": "hoopla"}',
    }

    def __init__(self) -> None:
        self._modes: dict[Token, list[Mode]] = {}

    def read(self, message: Message) -> Heard:
        said: Any = json.loads(message)
        named: dict[Token, Any] = {
            f"{e['exchange']}:{e['symbol']}": e.get("mode") for e in said.get("symbols", [])
        }
        match said["action"]:
            case "authenticate":
                return Heard(login=said["api_key"])
            case "ping":
                return Heard(heartbeat=True)
            case "subscribe":
                mode = Mode(said["mode"])
                add = dict.fromkeys([token for token in named if token not in self._modes], mode)
                remode = {token: mode for token in named if token in self._modes}
                for token in named:
                    self._modes.setdefault(token, []).append(mode)
                return Heard(add=add, remode=remode)
            case "unsubscribe":
                for entry in said["symbols"]:
                    token = f"{entry['exchange']}:{entry['symbol']}"
                    self._modes[token] = [m for m in self._modes[token] if m != entry["mode"]]
                gone = [token for token in named if not self._modes[token]]
                for token in gone:
                    del self._modes[token]
                return Heard(drop=gone, remode={t: self._modes[t][-1] for t in named if t in self._modes})
        raise ValueError(said)

    def ticks(self, quotes: Sequence[Quote], at_ms: int) -> list[str]:
        return [_market_data(quote, at_ms) for quote in quotes]

    def ready(self) -> str:
        return '{"type": "auth", "status": "success", "message": "Authentication successful"}'

    def login_refused(self) -> str:
        return '{"status": "error", "code": "AUTHENTICATION_ERROR", "message": "Invalid API key"}'

    def refused(self, tokens: Sequence[Token], reason: str) -> str:
        items = [
            {**dict(zip(("exchange", "symbol"), str(token).split(":"), strict=True)), "status": "error"}
            for token in tokens
        ]
        subscriptions = [{**item, "message": reason} for item in items]
        return json.dumps({"type": "subscribe", "status": "partial", "subscriptions": subscriptions})


def _market_data(quote: Quote, at_ms: int) -> str:
    exchange, symbol = str(quote.token).split(":")
    data: dict[str, Any] = {"symbol": symbol, "exchange": exchange, "ltp": quote.price, "timestamp": at_ms}
    if quote.mode >= Mode.QUOTE:
        data |= {"open": 1.0, "high": 2.0, "low": 1.0, "close": 1.5, "volume": 100}
    if quote.mode >= Mode.DEPTH:
        data |= {"depth": {"buy": [{"price": 1.0, "quantity": 5, "orders": 1}], "sell": []}}
    frame = {"type": "market_data", "symbol": symbol, "exchange": exchange, "mode": int(quote.mode)}
    return json.dumps({**frame, "data": data, "broker": "dhan"})


class TestOpenAlgo(AdapterConformance):
    def account(self) -> OpenAlgoFeed:
        names = [f"NSE:S{n}" for n in range(1, 12)] + ["NSE_INDEX:NIFTY"]
        return OpenAlgoFeed("conformance-key", book=OpenAlgoBook((name, name) for name in names))

    def dialect(self) -> Dialect:
        return OpenAlgoDialect()


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
