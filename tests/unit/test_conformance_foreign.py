"""A broker's adapter from another package passes the conformance kit: JSON, and a feed token of its own."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brokerpool import Credentials, Instrument, Mode, TokenBook
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.registry import Access
from brokerpool.instruments import Token
from brokerpool.testing import AdapterConformance, Dialect, Heard, Quote
from tests.foreign_broker.acme_broker.account import AcmeAccount

_MODES = {"last": Mode.LTP, "day": Mode.QUOTE, "book": Mode.DEPTH}


class ForeignDialect(Dialect):
    """That broker's side, as its simulated server in `tests/foreign_broker` speaks."""

    logged_out_code = 4001

    def read(self, message: str | bytes) -> Heard:
        asked: Any = json.loads(message)
        match asked["do"]:
            case "hello":
                return Heard(login=asked["token"])
            case "alive":
                return Heard(heartbeat=True)
            case "drop":
                return Heard(drop=asked["ids"])
            case "add":
                return Heard(add=dict.fromkeys(asked["ids"], _MODES[asked["detail"]]))
        raise ValueError(asked)

    def ticks(self, quotes: Sequence[Quote], at_ms: int) -> list[str]:
        prices = [_price(quote, at_ms) for quote in quotes]
        parts = (prices[begin : begin + 100] for begin in range(0, len(prices), 100))
        return [json.dumps({"is": "prices", "prices": part}) for part in parts]

    def ready(self) -> str:
        return '{"is": "ready"}'

    def login_refused(self) -> str:
        return '{"is": "denied", "why": "this token is not of today"}'

    def refused(self, tokens: Sequence[Token], reason: str) -> str:
        return json.dumps({"is": "no", "ids": tokens, "why": reason})


def _price(quote: Quote, at_ms: int) -> dict[str, object]:
    price: dict[str, object] = {"id": quote.token, "last": float(quote.price), "at": at_ms}
    if quote.mode is not Mode.LTP:
        price["day"] = {"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 7}
    if quote.mode is Mode.DEPTH:
        price["book"] = {"buy": [[1.0, 2, 3]], "sell": []}
    return price


class TestForeign(AdapterConformance):
    secrets = ("the-api-key",)
    next_login = Credentials("next-access-token", more={"feed_token": "next-feed-token"})

    def account(self) -> AcmeAccount:
        login = Credentials("first-access-token", more={"feed_token": "first-feed-token"})
        account = AcmeAccount(Access("the-api-key", login), FeedLimits.parse(self.limits_table()))
        account.relist(TokenBook((Instrument("NSE", f"S{n}"), f"id-{n}") for n in range(1, 13)))
        return account

    def dialect(self) -> Dialect:
        return ForeignDialect()

    def said(self, credentials: Credentials) -> str:
        return credentials.more["feed_token"]

    def limits_table(self) -> Mapping[str, Mapping[str, Any]]:
        file = Path(__file__).parents[1] / "foreign_broker" / "acme_broker" / "limits.toml"
        table: Mapping[str, Mapping[str, Any]] = tomllib.loads(file.read_text("utf-8"))["websocket"]
        return table
