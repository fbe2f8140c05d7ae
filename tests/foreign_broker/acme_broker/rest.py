"""Acme's HTTP API: one address for all quotes, and candles; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from brokerpool.brokers.login import Credentials, Login
from brokerpool.brokers.rest import Candle, Ohlc, RestAnswer, RestCodec, RestLimits, RestRequest
from brokerpool.errors import BrokerError
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.ticks import DepthTick, Tick

from .calls import fault, read
from .prices import Price, depth_tick


class AcmeRest(RestCodec):
    """The HTTP API of one account; `repr` shows no secret."""

    name = "acme"
    limits = RestLimits.load(__package__)
    intervals: Mapping[str, int] = {"1m": 10, "D": 1000}

    def __init__(self, login: Login, book: Callable[[], TokenBook], http_url: str) -> None:
        """`book` gives the instrument list of the day."""
        self.login = login
        self.http_url = http_url
        self._book = book

    def proof(self, credentials: Credentials) -> dict[str, str]:
        return {"Authorization": f"Bearer {credentials.access_token}"}

    def key(self, instrument: Instrument) -> str:
        """Return Acme's id; that of an instrument which it does not list is none of its own."""
        return str(self._book().token(instrument) or instrument)

    def ltp(self, keys: Sequence[str]) -> RestRequest:
        return self.quotes(keys)

    def read_ltp(self, answer: RestAnswer, received_ms: int) -> dict[str, Tick]:
        return {p.id: Tick(i, p.last, p.at) for p, i in self._listed(answer)}

    def ohlc(self, keys: Sequence[str]) -> RestRequest:
        return self.quotes(keys)

    def read_ohlc(self, answer: RestAnswer, received_ms: int) -> dict[str, Ohlc]:
        return {
            p.id: Ohlc(i, p.last, p.at, p.day.open, p.day.high, p.day.low, p.day.close)
            for p, i in self._listed(answer)
            if p.day is not None
        }

    def quotes(self, keys: Sequence[str]) -> RestRequest:
        return RestRequest("/quotes", {"ids": ",".join(keys)}, "data")

    def read_quotes(self, answer: RestAnswer, received_ms: int) -> dict[str, DepthTick]:
        return {p.id: depth_tick(i, p) for p, i in self._listed(answer)}

    def history(self, instrument: Instrument, interval: str, start: datetime, end: datetime) -> RestRequest:
        span = {"from": int(start.timestamp()), "to": int(end.timestamp())}
        return RestRequest("/candles", {"id": self.key(instrument), "interval": interval, **span}, "data")

    def read_history(self, answer: RestAnswer) -> list[Candle]:
        return [Candle(*row) for row in read(answer, list[tuple[int, float, float, float, float, int]])]

    def refuses(self, answer: RestAnswer) -> bool:
        return answer.status == 401

    def too_fast(self, answer: RestAnswer) -> bool:
        return False

    def fault(self, answer: RestAnswer) -> BrokerError | None:
        return fault(answer)

    def _listed(self, answer: RestAnswer) -> list[tuple[Price, Instrument]]:
        prices = read(answer, list[Price])
        return [(p, i) for p in prices if (i := self._book().instrument(p.id)) is not None]
