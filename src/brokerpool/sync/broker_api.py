"""The blocking twin of a broker's market data over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from brokerpool import argument_checks
from brokerpool.argument_checks import Instruments
from brokerpool.brokers.rest import Candle, Ohlc, RestCodec
from brokerpool.http import broker_api as asynchronous
from brokerpool.http.broker_api import Quoted
from brokerpool.instruments import Instrument
from brokerpool.sync.shutdown import Twin
from brokerpool.ticks import Tick


class BrokerApi(Twin):
    """`brokerpool.BrokerApi` with blocking methods; safe to use from any number of threads.

    Takes the same arguments; `live` and other hooks run on the loop. The login of the codec belongs to this
    loop: a `WebSocketPool` beside it needs a feed, and so a codec, of its own.
    """

    def __init__(self, codec: RestCodec, *, timeout: float = 10.0, **options: Any) -> None:  # noqa: ANN401  (BrokerApi's)
        self._timeout = timeout
        self._api = asynchronous.BrokerApi(codec, timeout=timeout, **options)
        super().__init__(f"client {self._api.client.name}", self._api.client.drain)

    @property
    def intervals(self) -> Mapping[str, int]:
        """The candles that can be had, in OpenAlgo's spelling -> the longest days in one call."""
        return self._api.intervals

    def ltp(self, instruments: Instruments) -> dict[Instrument, Tick]:
        """Return last prices; raises as the asynchronous method does, like all of these."""
        return self._loop.run(self._api.ltp(argument_checks.instruments(instruments)), self._timeout)

    def ohlc(self, instruments: Instruments) -> dict[Instrument, Ohlc]:
        """Return the day's prices."""
        return self._loop.run(self._api.ohlc(argument_checks.instruments(instruments)), self._timeout)

    def quotes(self, instruments: Instruments) -> dict[Instrument, Quoted]:
        """Return all that is known, the order book included."""
        return self._loop.run(self._api.quotes(argument_checks.instruments(instruments)), self._timeout)

    def depth(self, instrument: Instrument | str) -> Quoted | None:
        """Return one instrument's quote with its order book, None where the broker does not know it."""
        return self._loop.run(self._api.depth(argument_checks.instrument(instrument)), self._timeout)

    def history(
        self, instrument: Instrument | str, interval: str, start: datetime, end: datetime
    ) -> list[Candle]:
        """Return the candles that begin from `start` to `end`, the oldest first."""
        for name, given in (("start", start), ("end", end)):
            argument_checks.instance(name, given, datetime)
        calls = (end - start).days // self.intervals.get(interval, 1) + 1
        return self._loop.run(
            self._api.history(instrument, interval, start, end), max(1, calls) * self._timeout
        )

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the client."""
        return self._loop.call(self._api.stats)

    def __repr__(self) -> str:
        return repr(self._api)
