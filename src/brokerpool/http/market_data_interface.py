"""MarketDataApi: one account's market data over HTTP, whoever makes the calls to its broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from brokerpool.brokers.rest import Candle, Ohlc
from brokerpool.http.broker_api import Quoted
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick


class MarketDataApi(Protocol):
    """What a gateway asks of an account besides its feed; `BrokerApi` says what each returns and raises."""

    @property
    def intervals(self) -> Mapping[str, int]:
        """The candles that can be had -> the longest days in one call."""
        ...

    async def ltp(self, instruments: Sequence[Instrument]) -> dict[Instrument, Tick]: ...

    async def ohlc(self, instruments: Sequence[Instrument]) -> dict[Instrument, Ohlc]: ...

    async def quotes(self, instruments: Sequence[Instrument]) -> dict[Instrument, Quoted]: ...

    async def depth(self, instrument: Instrument) -> Quoted | None: ...

    async def history(
        self, instrument: Instrument, interval: str, start: datetime, end: datetime
    ) -> list[Candle]: ...

    def breakers(self) -> dict[str, str]:
        """Return how each breaker of the calls made here stands, by host and group."""
        ...

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the calls made here."""
        ...

    async def warm_up(self, most: int) -> None:
        """Make what spares the first question its wait, with `most` connections."""
        ...

    def keep_warm(self, when: Callable[[], bool]) -> None:
        """Keep connections open while that is the case."""
        ...

    async def drain(self, seconds: float) -> None:
        """End all calls; those on their way have so many seconds."""
        ...
