"""What a broker must provide so that its HTTP API can be asked for market data: limits, requests, answers."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from typing import Any, NamedTuple, Protocol

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.brokers.login import Credentials, Login
from brokerpool.errors import BrokerError
from brokerpool.instruments import Instrument
from brokerpool.json_structs import Record
from brokerpool.ticks import DepthTick, Tick

_SECONDS = {"second": 1.0, "minute": 60.0, "30_minutes": 1_800.0, "hour": 3_600.0, "day": 86_400.0}


class Ohlc(Tick, frozen=True, gc=False):
    """The last price and the day's prices; a broker's answer over HTTP, not a tick of its feed."""

    #: In rupees, as are the next three.
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    #: That of the session before.
    close: float = 0.0


class Candle(Record, frozen=True, gc=False):
    """What was traded in one interval."""

    #: The interval's beginning, in epoch seconds.
    timestamp: int
    #: In rupees, as are the next three.
    open: float
    high: float
    low: float
    close: float
    #: Units traded in the interval.
    volume: int
    #: Open interest at its end, in units.
    oi: int = 0


class RestRequest(NamedTuple):
    """A call that asks for market data and changes nothing: a GET, or with a body a POST of JSON."""

    path: str
    params: Mapping[str, str | int | Sequence[str]]
    #: Group of endpoints that share the broker's rate limits.
    group: str
    #: What is posted; made anew for each attempt, so it may hold the present credentials.
    body: Mapping[str, object] | None = None
    #: How much of the group's rate limits it takes; the same for all calls of its kind.
    weight: int = 1


class RestAnswer(Protocol):
    """The broker's answer, read to its end."""

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class RestLimits:
    """What one account may ask of a broker's HTTP API; from the `[http]` table of its `limits.toml`."""

    #: Group of endpoints -> its windows, which hold at the same time.
    windows: Mapping[str, tuple[RateWindow, ...]]
    #: Call -> instruments that one request may name.
    batch: Mapping[str, int]

    @classmethod
    def load(cls, package: str) -> RestLimits:
        """Read `GROUP_requests_per_SPAN` and `CALL_instruments` of a `limits.toml`.

        A span is one of second, minute, 30_minutes, hour and day.
        """
        text = resources.files(package).joinpath("limits.toml").read_text("utf-8")
        table: dict[str, dict[str, Any]] = tomllib.loads(text)["http"]
        windows: dict[str, tuple[RateWindow, ...]] = {}
        batch = {}
        for name, figure in table.items():
            if name.endswith("_instruments"):
                batch[name.removesuffix("_instruments")] = int(figure["value"])
            else:
                group, _, span = name.partition("_requests_per_")
                window = RateWindow(int(figure["value"]), _SECONDS[span])
                windows[group] = (*windows.get(group, ()), window)
        return cls(windows, batch)


class RestCodec(Protocol):
    """The shapes of a broker's HTTP API; pure. Inherited, so that what a broker lacks is there already.

    A `read_` function gets an answer below 400 and raises BrokerError (BROKER_UNREACHABLE) for one that is
    not as documented. Instruments that the broker does not know are left out of what they return.
    """

    #: The broker's name as clients see it, in lower case.
    name: str
    http_url: str
    login: Login
    limits: RestLimits
    #: The candles that can be had, in OpenAlgo's spelling (1m, 1h, D) -> the longest days in one call.
    intervals: Mapping[str, int]
    #: Whether calls of OpenAlgo's REST may be passed through to `http_url`, orders among them.
    carries_orders: bool = False

    def proof(self, credentials: Credentials) -> dict[str, str]:
        """Return the headers that every request carries."""
        ...

    def key(self, instrument: Instrument) -> str:
        """Return what the API calls the instrument."""
        ...

    def ltp(self, keys: Sequence[str]) -> RestRequest: ...

    def read_ltp(self, answer: RestAnswer, received_ms: int) -> dict[str, Tick]: ...

    def ohlc(self, keys: Sequence[str]) -> RestRequest: ...

    def read_ohlc(self, answer: RestAnswer, received_ms: int) -> dict[str, Ohlc]: ...

    def quotes(self, keys: Sequence[str]) -> RestRequest: ...

    def read_quotes(self, answer: RestAnswer, received_ms: int) -> dict[str, DepthTick]: ...

    def depth(self, key: str) -> RestRequest | None:
        """Ask for the order book of one instrument; None where `quotes` has it."""
        return None

    def read_depth(self, answer: RestAnswer, instrument: Instrument, received_ms: int) -> DepthTick | None:
        """Return what the answer to `depth` says of the instrument; None for no price."""
        return None

    def history(
        self, instrument: Instrument, interval: str, start: datetime, end: datetime
    ) -> RestRequest: ...

    def span(self, interval: str, start: datetime, end: datetime) -> datetime:
        """Return up to when one call for candles from `start` reaches, `end` at the latest.

        Inherited: as many days as the interval has; for a broker that tells the present day elsewhere.
        """
        return min(end, start + timedelta(days=self.intervals[interval]))

    def read_history(self, answer: RestAnswer) -> list[Candle]: ...

    def refuses(self, answer: RestAnswer) -> bool:
        """Tell whether the answer means that the credentials are not valid (any more)."""
        ...

    def too_fast(self, answer: RestAnswer) -> bool:
        """Tell whether an answer other than 429 means that calls come too fast."""
        ...

    def fault(self, answer: RestAnswer) -> BrokerError | None:
        """Return what the broker complains of; None for an answer without a complaint."""
        ...

    def order_key(self) -> str:
        """Return the present `apikey` of calls that are passed through, where the API `carries_orders`."""
        return ""
