"""What the HTTP APIs of brokers have alike: their parts, and the shapes of order books and candles; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias, TypeVar

import msgspec

from brokerpool.brokers.login import Login
from brokerpool.brokers.rest import Candle, RestAnswer, RestCodec, RestLimits
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import TokenBook
from brokerpool.ticks import DepthLevel

#: A candle as it is sent: time, open, high, low, close, volume, open interest.
CandleRow: TypeAlias = tuple[str, float, float, float, float, float, float]

_Shape = TypeVar("_Shape")


class BaseRest(RestCodec):
    """An HTTP API but for its calls and what their answers mean."""

    def __init__(
        self,
        login: Login,
        *,
        book: Callable[[], TokenBook],
        http_url: str,
        limits: RestLimits,
        intervals: Mapping[str, int],
    ) -> None:
        """`book` gives the instrument list of the day, by which names become the broker's."""
        self._book = book
        self.login = login
        self.http_url = http_url
        self.limits = limits
        self.intervals = intervals

    def __repr__(self) -> str:
        url = self.http_url.partition("?")[0]
        return f"<{type(self).__name__} {url}, {len(self._book())} instruments>"


class Level(msgspec.Struct, gc=False):
    """One level of an order book."""

    price: float
    quantity: int
    orders: int


class Depth(msgspec.Struct, gc=False):
    """The order book of a quote."""

    buy: list[Level]
    sell: list[Level]


def levels(of_side: Sequence[Level]) -> tuple[DepthLevel, ...]:
    """Return one side of an order book as ticks have it."""
    return tuple(DepthLevel(level.price, level.quantity, level.orders) for level in of_side)


def change(ltp: float, close: float) -> tuple[float, float]:
    """Return the change since the session before, in rupees and in percent; 0 where its close is unknown."""
    return (round(ltp - close, 4), (ltp - close) * 100.0 / close) if close else (0.0, 0.0)


def candle(row: CandleRow) -> Candle:
    """Return a candle. Raises ValueError for a time that is none, OverflowError for an endless number."""
    at, open_, high, low, close, volume, oi = row
    seconds = int(datetime.fromisoformat(at).timestamp())
    return Candle(seconds, open_, high, low, close, int(volume), int(oi))


class _Envelope(msgspec.Struct):
    """What good answers have around what they tell."""

    data: msgspec.Raw


def read_data(broker: str, answer: RestAnswer, shape: type[_Shape]) -> _Shape:
    """Return what a good answer tells as its `data`.

    Raises BrokerError (BROKER_UNREACHABLE) when it is not so shaped.
    """
    return decoded(broker, decoded(broker, answer.body, _Envelope).data, shape)


def decoded(broker: str, body: bytes | msgspec.Raw, shape: type[_Shape]) -> _Shape:
    """Return what a text of JSON tells, in a shape. Raises BrokerError (BROKER_UNREACHABLE) for another."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise unlike(broker, f"{len(bytes(body))} bytes") from None


def unlike(broker: str, what: str) -> BrokerError:
    """Return the error for an answer that is not as documented."""
    return BrokerError(f"{broker}'s answer is not as documented: {what}.", code=ErrorCode.BROKER_UNREACHABLE)
