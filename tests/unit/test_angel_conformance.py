"""Angel's adapter passes the conformance kit, with the packets that the simulator writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from brokerpool.brokers.angel.account import AngelFeed
from brokerpool.brokers.login import Credentials
from brokerpool.brokers.wire import SignalKind
from brokerpool.instruments import Instrument, Token, TokenBook
from brokerpool.simulator.angel import wire
from brokerpool.simulator.angel.instruments import joined
from brokerpool.simulator.exchange import Quote as AngelQuote
from brokerpool.testing import AdapterConformance, Dialect, Heard, Quote
from brokerpool.ticks import Mode

_CURRENCIES = 13


class SmartStreamDialect(Dialect):
    """Angel's side; a token in two modes would be two."""

    wrong_credentials = 401
    samples: Mapping[SignalKind, str] = {
        SignalKind.REFUSED: '{"correlationID": "x", "errorCode": "E1002", "errorMessage": "limit exceeded"}',
        SignalKind.UNKNOWN: '{"news": 1}',
    }

    def __init__(self) -> None:
        self._asked: dict[Token, str] = {}

    def read(self, message: str | bytes) -> Heard:
        if message == "ping":
            return Heard(heartbeat=True)
        said: Any = json.loads(message)
        tokens = [
            f"{part['exchangeType']}|{number}"
            for part in said["params"]["tokenList"]
            for number in part["tokens"]
        ]
        if said["action"] == 0:
            return Heard(drop=tokens)
        self._asked.update(dict.fromkeys(tokens, said["correlationID"]))
        return Heard(add=dict.fromkeys(tokens, Mode(said["params"]["mode"])))

    def ticks(self, quotes: Sequence[Quote], at_ms: int) -> list[bytes]:
        return [wire.record(_quote(quote, at_ms), quote.mode) for quote in quotes]

    def heartbeat(self) -> str:
        return "pong"


def _quote(quote: Quote, at_ms: int) -> AngelQuote:
    segment, number = str(quote.token).split("|")
    token = joined(int(segment), number)
    assert token is not None
    units = quote.price * (10_000_000 if int(segment) == _CURRENCIES else 100)
    return AngelQuote(token, ltp=units, close=units, exchange_time=at_ms // 1000)


class TestAngel(AdapterConformance):
    secrets = ("the-api-key", "feed-token")
    next_login = Credentials("next-access-token", more={"feed_token": "next-feed-token"})

    def account(self) -> AngelFeed:
        book = TokenBook((Instrument("NSE", f"S{n}"), f"1|{n}") for n in range(1, 11))
        book.add(Instrument("NSE_INDEX", "NIFTY"), "1|99926000")
        book.add(Instrument("CDS", "USDINR29DEC26FUT"), "13|1")
        login = Credentials("first-access-token", more={"feed_token": "first-feed-token"})
        return AngelFeed("the-api-key", login, client_code="A1", book=book)

    def dialect(self) -> Dialect:
        return SmartStreamDialect()


class TestAngelByItsFeedToken(TestAngel):
    """What a dial says of the login is the feed token as well."""

    def said(self, credentials: Credentials) -> str:
        return credentials.more["feed_token"]
