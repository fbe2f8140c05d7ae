"""BrokerApi: a broker's market data over HTTP in few calls, whichever broker it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from brokerpool import argument_checks
from brokerpool.argument_checks import Instruments
from brokerpool.brokers.rest import Candle, Ohlc, RestCodec, RestRequest
from brokerpool.callback_isolation import check_plain, name_of
from brokerpool.errors import BrokerError, BrokerpoolError, ErrorCode
from brokerpool.http.client import BrokerClient
from brokerpool.http.coalesce import Batcher, Keys
from brokerpool.http.ratelimit import RateLimits
from brokerpool.http.response import Response
from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthTick, Tick

T = TypeVar("T")

#: Gives an instrument's tick from the feed while it is fresh enough to answer for the broker, else None.
Live = Callable[[Instrument], Tick | None]


class Quoted(NamedTuple):
    """A quote, and whether it is the feed's last tick instead of an answer of the broker."""

    tick: DepthTick
    live: bool


class BrokerApi:
    """Asks one account's broker for quotes and candles, typed and under its published limits.

    Quotes that are asked for within a few milliseconds, or while the rate limit makes them wait, leave as one
    call for all. All methods raise what `BrokerClient.request` raises, and BrokerError for what the broker
    complains of. Instruments may be given as in a `WebSocketPool`; a wrong argument raises TypeError or
    ValueError before anything is asked. A caller who is cancelled leaves the others their call.
    """

    def __init__(
        self,
        codec: RestCodec,
        *,
        live: Live = lambda instrument: None,
        share: float = 1.0,
        wall_clock: Callable[[], float] = time.time,
        **options: Any,  # noqa: ANN401  (those of BrokerClient)
    ) -> None:
        """`share` is the part of the account's rate limits that is used; `options` go to the `client`."""
        if not all(hasattr(codec, name) for name in ("http_url", "login", "limits", "key")):
            what = f"a {type(codec).__name__}"
            raise TypeError(f"BrokerApi needs a broker's HTTP API, such as feed.rest(), and this is {what}")
        check_plain(live=live)
        self._codec = codec
        self._live = live
        self._wall_clock = wall_clock
        self.client = BrokerClient(
            codec.http_url,
            **{
                "name": codec.name,
                "limits": RateLimits(codec.limits.windows, share=share),
                "login": codec.login,
                "proof": codec.proof,
                "refuses": codec.refuses,
                "too_fast": codec.too_fast,
                **options,
            },
        )
        batch = codec.limits.batch
        self._ltp = self._batcher(codec.ltp, codec.read_ltp, batch["ltp"])
        self._ohlc = self._batcher(codec.ohlc, codec.read_ohlc, batch["ohlc"])
        self._quotes = self._batcher(codec.quotes, codec.read_quotes, batch["quote"])

    @property
    def intervals(self) -> Mapping[str, int]:
        """The candles that can be had, in OpenAlgo's spelling -> the longest days in one call."""
        return self._codec.intervals

    async def ltp(self, instruments: Instruments) -> dict[Instrument, Tick]:
        """Return last prices; an instrument that the broker does not know is left out."""
        wanted = {self._codec.key(i): i for i in argument_checks.instruments(instruments)}
        found = {i: tick for i in wanted.values() if (tick := self._fresh(i)) is not None}
        asked = await self._ltp.get_many(key for key, i in wanted.items() if i not in found)
        return found | {wanted[key]: tick for key, tick in asked.items()}

    async def ohlc(self, instruments: Instruments) -> dict[Instrument, Ohlc]:
        """Return the day's prices; an instrument that the broker does not know is left out."""
        wanted = {self._codec.key(i): i for i in argument_checks.instruments(instruments)}
        found = await self._ohlc.get_many(wanted)
        return {wanted[key]: day for key, day in found.items()}

    async def quotes(self, instruments: Instruments) -> dict[Instrument, Quoted]:
        """Return all that is known, the order book included; what the broker does not know is left out.

        A fresh tick of the feed in depth mode answers without a call, and `live` says so.
        """
        wanted = {self._codec.key(i): i for i in argument_checks.instruments(instruments)}
        found = {}
        for instrument in wanted.values():
            tick = self._fresh(instrument)
            if isinstance(tick, DepthTick):
                found[instrument] = Quoted(tick, live=True)
        asked = await self._quotes.get_many(key for key, i in wanted.items() if i not in found)
        found.update((wanted[key], Quoted(tick, live=False)) for key, tick in asked.items())
        return found

    async def depth(self, instrument: Instrument | str) -> Quoted | None:
        """Return one instrument's quote with its order book, None where the broker does not know it.

        It is one of `quotes`, but at brokers whose quotes have no book: there it is a call of its own.
        """
        instrument = argument_checks.instrument(instrument)
        ask = partial(self._codec.depth, self._codec.key(instrument))
        if isinstance(self._fresh(instrument), DepthTick) or (kind := ask()) is None:
            return (await self.quotes(instrument)).get(instrument)
        answer = await self._asked(lambda: ask() or kind, share=True)
        received_ms = int(self._wall_clock() * 1000)
        tick = self._understood(self._codec.read_depth, answer, instrument, received_ms)
        return None if tick is None else Quoted(tick, live=False)

    async def history(
        self, instrument: Instrument | str, interval: str, start: datetime, end: datetime
    ) -> list[Candle]:
        """Return the candles that begin from `start` to `end`, the oldest first; several calls if need be.

        Raises BrokerError: INTERVAL_NOT_SUPPORTED, SYMBOL_NOT_FOUND; ValueError when `end` is before `start`.
        """
        instrument = argument_checks.instrument(instrument)
        if argument_checks.text("interval", interval) not in self._codec.intervals:
            known = ", ".join(self._codec.intervals)
            raise BrokerError(
                f"{self._codec.name} has no candles of {interval!r}, but of {known}.",
                code=ErrorCode.INTERVAL_NOT_SUPPORTED,
            )
        for name, given in (("start", start), ("end", end)):
            argument_checks.instance(name, given, datetime)
        if (start.tzinfo is None) is not (end.tzinfo is None):
            raise ValueError("one of start and end has a time zone and the other has none")
        if end < start:
            raise ValueError("history ends before it starts")
        candles: dict[int, Candle] = {}
        while start <= end:
            last = max(start, self._codec.span(interval, start, end))
            answer = await self._asked(
                partial(self._codec.history, instrument, interval, start, last), share=True
            )
            # In a thread, for a full answer has 20,000 candles and would hold up the loop for 35 ms.
            read = await asyncio.to_thread(self._understood, self._codec.read_history, answer)
            candles.update((candle.timestamp, candle) for candle in read)
            start = last + timedelta(seconds=1)
        return [candles[at] for at in sorted(candles)]

    async def ask(self, request: RestRequest, *, timeout: float | None = None) -> Response:
        """Return the answer to a call of an adapter's own, as an account's for the address of its next dial.

        It is made under the account's login and rates like any other, and shared with nobody. An open breaker
        does not refuse it: dials have a pacing of their own, and the first that succeeds is to be the first.
        """
        return await self._asked(lambda: request, paced=True, timeout=timeout)

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the client."""
        return self.client.stats()

    def breakers(self) -> dict[str, str]:
        """Return how each breaker of the client stands, by host and group."""
        return self.client.breakers()

    async def warm_up(self, most: int) -> None:
        """Open so many of the client's connections, which spares the first question a handshake."""
        await self.client.warm_up(most=most)

    def keep_warm(self, when: Callable[[], bool]) -> None:
        """Keep the client's connections open while that is the case."""
        self.client.keep_warm(when=when)

    async def drain(self, seconds: float) -> None:
        """End the client's calls; those on their way have so many seconds."""
        await self.client.drain(seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.drain()

    def __repr__(self) -> str:
        return f"<BrokerApi {self.client!r}>"

    # -- inside -------------------------------------------------------------------------------------------

    def _fresh(self, instrument: Instrument) -> Tick | None:
        """Return the feed's tick; the broker is asked where `live` raises or gives something else."""
        tick = self.client.fence.call(self._live, instrument, otherwise=None, name="live")
        return tick if isinstance(tick, Tick) else None

    def _understood(self, read: Callable[..., T], *args: object) -> T:
        """Return what the codec makes of an answer. Raises BrokerError, whatever the codec raises."""
        try:
            return read(*args)
        except BrokerpoolError:
            raise
        except BaseException as error:
            name = name_of(read)
            self.client.fence.caught(name, error, secret=True)
            text = f"{self._codec.name}'s answer was not understood: {name} raised {type(error).__name__}."
            raise BrokerError(text, code=ErrorCode.BROKER_UNREACHABLE) from None

    def _batcher(
        self,
        ask: Callable[[tuple[str, ...]], RestRequest],
        read: Callable[[Response, int], Mapping[str, T]],
        most: int,
    ) -> Batcher[T]:
        async def call(keys: Keys) -> Mapping[str, T]:
            # The keys are settled when the request leaves; until then others may join.
            answer = await self._asked(lambda: ask(keys()), kind=ask(()))
            return self._understood(read, answer, int(self._wall_clock() * 1000))

        return self.client.batcher(call, most=most)

    async def _asked(
        self,
        ask: Callable[[], RestRequest],
        *,
        kind: RestRequest | None = None,
        paced: bool = False,
        share: bool = False,
        timeout: float | None = None,
    ) -> Response:
        """Return the answer to what is asked when the call leaves; `kind` is like it in all but that."""
        kind = ask() if kind is None else kind
        answer = await self.client.request(
            "GET" if kind.body is None else "POST",
            kind.path,
            params=lambda: ask().params,
            json=None if kind.body is None else lambda: ask().body,
            group=kind.group,
            weight=kind.weight,
            reads=kind.body is not None,
            paced=paced,
            share=share,
            timeout=timeout,
        )
        fault = self._understood(self._codec.fault, answer)
        if fault is not None:
            if fault.code is ErrorCode.RATE_LIMITED:
                fault.retry_after = self.client.held(kind.group)
            raise fault
        return answer
