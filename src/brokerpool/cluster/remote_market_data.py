"""One account's market data over HTTP as a cluster's gateway has it: asked of whoever holds the account."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from brokerpool.brokers.rest import Candle, Ohlc
from brokerpool.cluster import market_data_requests as messages
from brokerpool.cluster.bus import Bus, BusError
from brokerpool.cluster.messages import FORMAT, encode
from brokerpool.http.broker_api import Quoted
from brokerpool.http.call_queue import Lane
from brokerpool.http.counters import Tally
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick

_ticks = msgspec.msgpack.Decoder(list[Tick])
_days = msgspec.msgpack.Decoder(list[Ohlc])
_quotes = msgspec.msgpack.Decoder(list[Quoted])
_quote = msgspec.msgpack.Decoder(Quoted | None)
_candles = msgspec.msgpack.Decoder(list[Candle])
_intervals = msgspec.msgpack.Decoder(dict[str, int])


class RemoteMarketData:
    """A `MarketDataApi` that makes no call itself; it raises BusError where nobody holds the account."""

    def __init__(self, bus: Bus, subject: str, *, timeout: float) -> None:
        """`timeout` is how many seconds one question has, the wait for the broker's rate limit included."""
        self._bus = bus
        self._subject = subject
        self._timeout = timeout
        self._tally = Tally()
        self._known: dict[str, int] = {}

    @property
    def intervals(self) -> Mapping[str, int]:
        """The candles that can be had, none before they were asked for."""
        return self._known

    async def ltp(self, instruments: Sequence[Instrument]) -> dict[Instrument, Tick]:
        """Return last prices; see `BrokerApi.ltp`."""
        return {tick.instrument: tick for tick in _ticks.decode(await self._ask("ltp", instruments))}

    async def ohlc(self, instruments: Sequence[Instrument]) -> dict[Instrument, Ohlc]:
        """Return the day's prices; see `BrokerApi.ohlc`."""
        return {day.instrument: day for day in _days.decode(await self._ask("ohlc", instruments))}

    async def quotes(self, instruments: Sequence[Instrument]) -> dict[Instrument, Quoted]:
        """Return all that is known; see `BrokerApi.quotes`."""
        found = _quotes.decode(await self._ask("quotes", instruments))
        return {quoted.tick.instrument: quoted for quoted in found}

    async def depth(self, instrument: Instrument) -> Quoted | None:
        """Return a quote with its order book; see `BrokerApi.depth`."""
        quoted: Quoted | None = _quote.decode(await self._ask("depth", [instrument]))
        return quoted

    async def history(
        self, instrument: Instrument, interval: str, start: datetime, end: datetime
    ) -> list[Candle]:
        """Return candles; see `BrokerApi.history`."""
        asked = await self._ask("history", [instrument], interval=interval, start=start, end=end)
        return _candles.decode(asked)

    def breakers(self) -> dict[str, str]:
        """Return nothing: the breakers are where the calls are made."""
        return {}

    def stats(self) -> dict[str, Any]:
        """Return the numbers of a client that has no connection; its requests are the questions."""
        return {
            "name": self._subject,
            "pool_size": 0,
            "active_connections": 0,
            "hosts": {},
            "queued": {lane.name.lower(): 0 for lane in Lane},
            "oldest_wait_seconds": 0.0,
            "holders": [],
            **self._tally.stats(),
            "breakers": {},
            "tokens_left": {},
            "coalesced": 0,
            "faults": {},
        }

    async def warm_up(self, most: int) -> None:
        """Learn which candles there are, if anybody holds the account now."""
        try:
            self._known = _intervals.decode(await self._ask("intervals"))
        except BusError:
            return

    def keep_warm(self, when: Callable[[], bool]) -> None:
        """Do nothing: the connections are where the calls are made."""

    async def drain(self, seconds: float) -> None:
        """Do nothing: a question is answered or ends by its own time."""

    async def _ask(
        self,
        call: str,
        instruments: Sequence[Instrument] = (),
        *,
        interval: str = "",
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> bytes:
        names = tuple((i.exchange, i.symbol) for i in instruments)
        question = messages.Question(FORMAT, call, names, interval, start, end)
        self._tally.requests += 1
        said = await self._bus.request(self._subject, encode(question), self._timeout)
        answer = messages.read_reply(said)
        if answer is None:
            raise BusError("The holder of the account answers in another version of brokerpool.")
        return messages.content_of(answer)
