"""Kite's HTTP API: requests for quotes and candles, and what the answers mean; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar

import msgspec

from brokerpool.brokers import base_rest
from brokerpool.brokers.base_rest import BaseRest, CandleRow, Depth, candle, change, levels, unlike
from brokerpool.brokers.india_time import INDIA
from brokerpool.brokers.login import Credentials, Login
from brokerpool.brokers.rest import Candle, Ohlc, RestAnswer, RestLimits, RestRequest
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.ticks import DepthTick, Tick
from brokerpool.untrusted_text import remembered

#: Kite Connect documentation: every request names the API version; the agent is ours.
HEADERS = {"X-Kite-Version": "3", "User-Agent": "brokerpool"}


#: OpenAlgo's name of an interval -> Kite's, and the longest days that one call may span: from an answer of
#: Zerodha's staff (Kite Connect forum, "historical data limits"); not in the documentation, not tried live.
_INTERVALS = {
    "1m": ("minute", 60),
    "3m": ("3minute", 100),
    "5m": ("5minute", 100),
    "10m": ("10minute", 100),
    "15m": ("15minute", 200),
    "30m": ("30minute", 200),
    "1h": ("60minute", 400),
    "D": ("day", 2000),
}

#: Kite Connect documentation, "Exceptions and errors": error_type -> what it is to us.
_KINDS = {
    "TokenException": ErrorCode.BROKER_REFUSED_CREDENTIALS,
    "UserException": ErrorCode.BROKER_REFUSED_CALL,
    "OrderException": ErrorCode.BROKER_REFUSED_CALL,
    "InputException": ErrorCode.BROKER_REFUSED_CALL,
    "MarginException": ErrorCode.BROKER_REFUSED_CALL,
    "HoldingException": ErrorCode.BROKER_REFUSED_CALL,
    "PermissionException": ErrorCode.BROKER_REFUSED_CALL,
    "NetworkException": ErrorCode.BROKER_UNREACHABLE,
    "DataException": ErrorCode.BROKER_UNREACHABLE,
    "GeneralException": ErrorCode.BROKER_UNREACHABLE,
}

_LONGEST_COMPLAINT = 200


class _Ohlc(msgspec.Struct, gc=False):
    open: float
    high: float
    low: float
    close: float


class _Last(msgspec.Struct, gc=False):
    instrument_token: int
    last_price: float


class _Day(_Last, gc=False):
    ohlc: _Ohlc


class _Quote(_Day, gc=False):
    """An index has neither quantities nor a book."""

    timestamp: str | None = None
    last_trade_time: str | None = None
    last_quantity: int = 0
    average_price: float = 0.0
    volume: int = 0
    buy_quantity: int = 0
    sell_quantity: int = 0
    oi: float = 0
    oi_day_high: float = 0
    oi_day_low: float = 0
    depth: Depth | None = None


class _Candles(msgspec.Struct):
    candles: list[CandleRow]


class _Complaint(msgspec.Struct):
    message: str = ""
    error_type: str = ""


_Shape = TypeVar("_Shape")


class ZerodhaRest(BaseRest):
    """The HTTP API of one Kite Connect app and login; `repr` and errors show neither key nor token."""

    name = "zerodha"

    def __init__(
        self,
        api_key: str,
        login: Login,
        *,
        book: Callable[[], TokenBook],
        http_url: str = "https://api.kite.trade",
    ) -> None:
        """`book` gives the instrument list of the day, by which names become Kite's."""
        self._api_key = api_key
        super().__init__(
            login,
            book=book,
            http_url=http_url,
            limits=RestLimits.load(__package__),
            intervals={name: days for name, (_, days) in _INTERVALS.items()},
        )

    def proof(self, credentials: Credentials) -> dict[str, str]:
        """Return the headers of every request (Kite Connect documentation, authentication)."""
        return {**HEADERS, "Authorization": f"token {self._api_key}:{credentials.access_token}"}

    def key(self, instrument: Instrument) -> str:
        """Return EXCHANGE:TRADINGSYMBOL, as Kite spells it."""
        details = self._book().details(instrument)
        return f"{details.broker_exchange}:{details.broker_symbol}"

    # -- quotes -------------------------------------------------------------------------------------------

    def ltp(self, keys: Sequence[str]) -> RestRequest:
        """Ask for last prices; 1,000 at once."""
        return RestRequest("/quote/ltp", {"i": keys}, "quote")

    def read_ltp(self, answer: RestAnswer, received_ms: int) -> dict[str, Tick]:
        """Return last prices by key; Kite tells no time with them."""
        found = read_data(answer, dict[str, _Last])
        return {
            key: Tick(instrument, last.last_price, received_ms)
            for key, last in found.items()
            if (instrument := self._named(key, last.instrument_token)) is not None
        }

    def ohlc(self, keys: Sequence[str]) -> RestRequest:
        """Ask for the day's prices; 1,000 at once."""
        return RestRequest("/quote/ohlc", {"i": keys}, "quote")

    def read_ohlc(self, answer: RestAnswer, received_ms: int) -> dict[str, Ohlc]:
        """Return the day's prices by key."""
        found = read_data(answer, dict[str, _Day])
        return {
            key: Ohlc(instrument, day.last_price, received_ms, *_prices(day))
            for key, day in found.items()
            if (instrument := self._named(key, day.instrument_token)) is not None
        }

    def quotes(self, keys: Sequence[str]) -> RestRequest:
        """Ask for everything, the order book included; 500 at once."""
        return RestRequest("/quote", {"i": keys}, "quote")

    def read_quotes(self, answer: RestAnswer, received_ms: int) -> dict[str, DepthTick]:
        """Return quotes by key, as a tick of the feed in full mode would tell them."""
        found = read_data(answer, dict[str, _Quote])
        return {
            key: _tick(instrument, quote, received_ms)
            for key, quote in found.items()
            if (instrument := self._named(key, quote.instrument_token)) is not None
        }

    # -- candles ------------------------------------------------------------------------------------------

    def history(self, instrument: Instrument, interval: str, start: datetime, end: datetime) -> RestRequest:
        """Ask for candles with open interest.

        Raises BrokerError (SYMBOL_NOT_FOUND) for an instrument that is not listed, KeyError for an interval
        that is not in `intervals`.
        """
        token = self._book().token(instrument)
        if token is None:
            raise BrokerError(f"{instrument} is not in Kite's list.", code=ErrorCode.SYMBOL_NOT_FOUND)
        kind, _ = _INTERVALS[interval]
        params: dict[str, str | int | Sequence[str]] = {"from": _local(start), "to": _local(end), "oi": 1}
        return RestRequest(f"/instruments/historical/{token}/{kind}", params, "historical")

    def read_history(self, answer: RestAnswer) -> list[Candle]:
        """Return candles, the oldest first."""
        try:
            return [candle(row) for row in read_data(answer, _Candles).candles]
        except ValueError:
            raise unlike("Kite", "a candle without a time") from None

    # -- what an answer means -----------------------------------------------------------------------------

    def refuses(self, answer: RestAnswer) -> bool:
        """Tell a dead token from a permission that is missing: Kite answers both with 403."""
        return answer.status in (401, 403) and _complaint(answer).error_type in ("TokenException", "")

    def too_fast(self, answer: RestAnswer) -> bool:
        """Kite says it with a 429 only."""
        return False

    def fault(self, answer: RestAnswer) -> BrokerError | None:
        """Return Kite's complaint under our code, with its words."""
        return fault(answer)

    def _named(self, key: str, token: int) -> Instrument | None:
        """Return the instrument that both name, None when they name two, or one that is not listed.

        A token whose meaning has changed since the list was read names another one: its price is of neither.
        """
        instrument = self._book().instrument(token)
        return instrument if instrument is not None and self.key(instrument) == key else None


def fault(answer: RestAnswer) -> BrokerError | None:
    """Return Kite's complaint under our code, with its words; None for a good answer."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return None
    complaint = _complaint(answer)
    code = _KINDS.get(complaint.error_type, ErrorCode.BROKER_UNREACHABLE)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        code = ErrorCode.RATE_LIMITED
    elif answer.status == HTTPStatus.FORBIDDEN and not complaint.error_type:
        code = ErrorCode.BROKER_REFUSED_CREDENTIALS
    said = remembered(f" {complaint.error_type}: {complaint.message}", _LONGEST_COMPLAINT)
    return BrokerError(f"Kite answered {answer.status}.{said if complaint.message else ''}", code=code)


def read_data(answer: RestAnswer, shape: type[_Shape]) -> _Shape:
    """Return what a good answer tells. Raises BrokerError (BROKER_UNREACHABLE) when it is not so shaped."""
    return base_rest.read_data("Kite", answer, shape)


def _tick(instrument: Instrument, quote: _Quote, received_ms: int) -> DepthTick:
    open_, high, low, close = _prices(quote)
    depth = quote.depth or Depth([], [])
    return DepthTick(
        instrument,
        quote.last_price,
        _epoch(quote.timestamp) * 1000 or received_ms,
        open_,
        high,
        low,
        close,
        quote.volume,
        quote.last_quantity,
        quote.average_price,
        # Kite's net_change is absolute and has been wrong in its own examples.
        *change(quote.last_price, close),
        quote.buy_quantity,
        quote.sell_quantity,
        _epoch(quote.last_trade_time) * 1000,
        int(quote.oi),
        int(quote.oi_day_high),
        int(quote.oi_day_low),
        levels(depth.buy),
        levels(depth.sell),
    )


def _prices(day: _Day) -> tuple[float, float, float, float]:
    return day.ohlc.open, day.ohlc.high, day.ohlc.low, day.ohlc.close


def _epoch(text: str | None) -> int:
    """Return the epoch seconds of a time in India, which is not named; 0 for none that can be read."""
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=INDIA).timestamp()) if text else 0
    except ValueError:
        return 0


def _local(at: datetime) -> str:
    return at.astimezone(INDIA).strftime("%Y-%m-%d %H:%M:%S")


def _complaint(answer: RestAnswer) -> _Complaint:
    try:
        return msgspec.json.decode(answer.body, type=_Complaint)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Complaint()  # an error page of the broker's edge
