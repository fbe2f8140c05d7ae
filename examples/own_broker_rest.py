"""The HTTP half of the made-up broker "Acme": quotes and candles; `own_broker.py` is its feed.

Acme answers GET with JSON, all prices in paise:

    /prices?id=1&id=2                       {"prices": {"1": price}}; unknown ids are left out
    /days?id=1&id=2                         {"days": {"1": [price, open, high, low, previous close, volume]}}
    /candles?id=1&seconds=60&from=..&to=..  {"candles": [[epoch, open, high, low, close, volume], ..]}

A complaint is `{"error": text, "kind": "login" | "speed" | "request"}` with a status of 400 or above.

    ACME_TOKEN=... python examples/own_broker_rest.py https://api.acme.example NSE:INFY
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from brokerpool import (
    BrokerApi,
    BrokerError,
    Candle,
    Credentials,
    DepthTick,
    ErrorCode,
    Instrument,
    Login,
    Ohlc,
    RateWindow,
    Tick,
    TokenBook,
)
from brokerpool.brokers.rest import RestAnswer, RestCodec, RestLimits, RestRequest

# As in the feed: each figure with where it comes from and the day on which it was looked up.
LIMITS = RestLimits(
    windows={"data": (RateWindow(5, 1.0),)},  # Acme API guide, "Rates", 2026-11-25
    batch={"ltp": 200, "ohlc": 50, "quote": 50},  # Acme API guide, "Market data": ids in a call, 2026-11-25
)

_SECONDS = {"1m": 60, "D": 86_400}
_PAISE = 100
_LONGEST_COMPLAINT = 200

Shape = TypeVar("Shape")
Day = tuple[int, int, int, int, int, int]


class _Prices(msgspec.Struct):
    prices: dict[str, int]


class _Days(msgspec.Struct):
    days: dict[str, Day]


class _Candles(msgspec.Struct):
    candles: list[tuple[int, int, int, int, int, int]]


class _Complaint(msgspec.Struct):
    error: str = ""
    kind: str = ""


class AcmeRest(RestCodec):
    """The HTTP API of one account; give it the `login` of the account's feed."""

    name = "acme"
    limits = LIMITS
    #: The longest days in one call: Acme API guide, "Candles", 2026-11-25.
    intervals: Mapping[str, int] = {"1m": 7, "D": 365}

    def __init__(self, http_url: str, login: Login, book: TokenBook) -> None:
        self.http_url = http_url
        self.login = login
        self._book = book

    def proof(self, credentials: Credentials) -> dict[str, str]:
        """Return the headers of every request."""
        return {"Authorization": f"Bearer {credentials.access_token}"}

    def key(self, instrument: Instrument) -> str:
        """Return the id; an instrument that is not listed has none, and the broker leaves it out."""
        token = self._book.token(instrument)
        return str(instrument if token is None else token)

    def ltp(self, keys: Sequence[str]) -> RestRequest:
        """Ask for last prices."""
        return RestRequest("/prices", {"id": keys}, "data")

    def read_ltp(self, answer: RestAnswer, received_ms: int) -> dict[str, Tick]:
        """Return last prices by id."""
        prices = _read(answer, _Prices).prices
        return {key: Tick(i, prices[key] / _PAISE, received_ms) for key, i in self._listed(prices)}

    def ohlc(self, keys: Sequence[str]) -> RestRequest:
        """Ask for the day's prices."""
        return RestRequest("/days", {"id": keys}, "data")

    def read_ohlc(self, answer: RestAnswer, received_ms: int) -> dict[str, Ohlc]:
        """Return the day's prices by id."""
        days = {}
        for key, quote in self.read_quotes(answer, received_ms).items():
            prices = (quote.open, quote.high, quote.low, quote.close)
            days[key] = Ohlc(quote.instrument, quote.ltp, received_ms, *prices)
        return days

    def quotes(self, keys: Sequence[str]) -> RestRequest:
        """Ask for everything that there is: the same call."""
        return self.ohlc(keys)

    def read_quotes(self, answer: RestAnswer, received_ms: int) -> dict[str, DepthTick]:
        """Return quotes by id; without an order book, because Acme has none."""
        quotes = {}
        days = _read(answer, _Days).days
        for key, instrument in self._listed(days):
            *prices, volume = days[key]
            last, open_, high, low, close = (price / _PAISE for price in prices)
            quotes[key] = DepthTick(instrument, last, received_ms, open_, high, low, close, volume)
        return quotes

    def history(self, instrument: Instrument, interval: str, start: datetime, end: datetime) -> RestRequest:
        """Ask for candles; raises BrokerError (SYMBOL_NOT_FOUND) for an instrument that is not listed."""
        token = self._book.token(instrument)
        if token is None:
            raise BrokerError(f"{instrument} is not in Acme's list.", code=ErrorCode.SYMBOL_NOT_FOUND)
        span = {"from": int(start.timestamp()), "to": int(end.timestamp())}
        return RestRequest("/candles", {"id": token, "seconds": _SECONDS[interval], **span}, "data")

    def read_history(self, answer: RestAnswer) -> list[Candle]:
        """Return candles, the oldest first."""
        rows = _read(answer, _Candles).candles
        return [
            Candle(at, open_ / _PAISE, high / _PAISE, low / _PAISE, close / _PAISE, volume)
            for at, open_, high, low, close, volume in rows
        ]

    def refuses(self, answer: RestAnswer) -> bool:
        """Tell a dead login from anything else that is answered with 401."""
        return answer.status == 401 and _complaint(answer).kind == "login"

    def too_fast(self, answer: RestAnswer) -> bool:
        """Acme says "too fast" with a 503."""
        return answer.status == 503 and _complaint(answer).kind == "speed"

    def fault(self, answer: RestAnswer) -> BrokerError | None:
        """Return Acme's complaint under our code, with its words."""
        if answer.status < 400:
            return None
        complaint = _complaint(answer)
        code = {
            "login": ErrorCode.BROKER_REFUSED_CREDENTIALS,
            "speed": ErrorCode.RATE_LIMITED,
            "request": ErrorCode.BROKER_REFUSED_CALL,
        }.get(complaint.kind, ErrorCode.BROKER_UNREACHABLE)
        said = complaint.error[:_LONGEST_COMPLAINT]
        return BrokerError(f"Acme answered {answer.status}. {said}".rstrip(), code=code)

    def _listed(self, keys: Mapping[str, object]) -> list[tuple[str, Instrument]]:
        found = ((key, self._book.instrument(int(key))) for key in keys if key.isdecimal())
        return [(key, instrument) for key, instrument in found if instrument is not None]


def _read(answer: RestAnswer, shape: type[Shape]) -> Shape:
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (ValueError, RecursionError):
        raise BrokerError(
            f"Acme's answer of {len(answer.body)} bytes is not as documented.",
            code=ErrorCode.BROKER_UNREACHABLE,
        ) from None


def _complaint(answer: RestAnswer) -> _Complaint:
    try:
        return msgspec.json.decode(answer.body, type=_Complaint)
    except (ValueError, RecursionError):
        return _Complaint()  # an error page of something between us and the broker


async def show(url: str, token: str, symbols: Sequence[str]) -> None:
    """Print the day's prices of the symbols."""
    book = TokenBook((Instrument.parse(symbol), number) for number, symbol in enumerate(symbols, 1))
    async with BrokerApi(AcmeRest(url, Login(Credentials(token)), book)) as api:
        for instrument, day in (await api.ohlc(book)).items():
            print(f"{instrument} {day.ltp:.2f}, {day.low:.2f} to {day.high:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("symbols", nargs="+", metavar="EXCHANGE:SYMBOL")
    arguments = parser.parse_args()
    asyncio.run(show(arguments.url, os.environ["ACME_TOKEN"], arguments.symbols))
