"""Upstox's HTTP API: requests for quotes, candles and the feed's address, and what the answers mean; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Protocol, TypeVar
from urllib.parse import quote as quoted

import msgspec

from brokerpool.brokers import base_rest
from brokerpool.brokers.base_rest import BaseRest, CandleRow, Level, candle, levels, unlike
from brokerpool.brokers.india_time import INDIA
from brokerpool.brokers.login import Credentials, Login
from brokerpool.brokers.rest import Candle, Ohlc, RestAnswer, RestLimits, RestRequest
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.ticks import DepthTick, Tick
from brokerpool.untrusted_text import remembered

HEADERS = {"Accept": "application/json", "User-Agent": "brokerpool"}

#: Asks for the address of one dial (Upstox documentation, Market Data Feed V3; looked up 2026-11-22).
ADDRESS = RestRequest("/v3/feed/market-data-feed/authorize", {}, "address")


#: OpenAlgo's name of an interval -> Upstox's unit and number, and the longest days of one call: a month, a
#: quarter and a decade (Upstox documentation, Historical Candle Data V3; looked up 2026-11-29).
_INTERVALS = {
    "1m": ("minutes", 1, 28),
    "2m": ("minutes", 2, 28),
    "3m": ("minutes", 3, 28),
    "5m": ("minutes", 5, 28),
    "10m": ("minutes", 10, 28),
    "15m": ("minutes", 15, 28),
    "30m": ("minutes", 30, 89),
    "1h": ("hours", 1, 89),
    "2h": ("hours", 2, 89),
    "3h": ("hours", 3, 89),
    "4h": ("hours", 4, 89),
    "D": ("days", 1, 3650),
}

#: Upstox documentation, error codes: an access token that is not valid (any more), and too many requests.
_DEAD_TOKEN, _TOO_FAST = "UDAPI100050", "UDAPI10005"
#: Of a login: credentials, code, secret and app that are not accepted.
_REFUSED_LOGIN = frozenset({"UDAPI100016", "UDAPI100057", "UDAPI100068", "UDAPI100069", "UDAPI100073"})

#: A good answer may be long; one that complains is not, and only such are searched for a complaint.
_LONGEST_COMPLAINT = 2_000
_LONGEST_WORDS = 200


class _Keyed(Protocol):
    instrument_token: str


class _Last(msgspec.Struct, gc=False):
    instrument_token: str
    last_price: float


class _Bar(msgspec.Struct, gc=False):
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0


class _Day(_Last, gc=False):
    live_ohlc: _Bar | None = None
    prev_ohlc: _Bar | None = None


class _Level(Level, gc=False):
    orders: int = 0


class _Depth(msgspec.Struct, gc=False):
    buy: list[_Level] = []
    sell: list[_Level] = []


class _Quote(_Last, gc=False):
    """An index has neither quantities nor a book; what is unknown is null."""

    ohlc: _Bar | None = None
    depth: _Depth | None = None
    timestamp: str | None = None
    #: Epoch milliseconds as a text.
    last_trade_time: str | int | None = None
    volume: int | None = None
    average_price: float | None = None
    net_change: float | None = None
    total_buy_quantity: float | None = None
    total_sell_quantity: float | None = None
    oi: float | None = None
    oi_day_high: float | None = None
    oi_day_low: float | None = None


class _Candles(msgspec.Struct):
    candles: list[CandleRow]


class _Address(msgspec.Struct):
    authorized_redirect_uri: str


class _Error(msgspec.Struct):
    message: str | None = None
    error_code: str | None = None
    errorCode: str | None = None  # noqa: N815  (Upstox has both)

    @property
    def code(self) -> str:
        """The code under either of its names."""
        return self.error_code or self.errorCode or ""


class _Complaint(msgspec.Struct):
    status: str = ""
    errors: list[_Error] = []

    @property
    def first(self) -> _Error:
        """The error that is told first."""
        return self.errors[0] if self.errors else _Error()


_Shape = TypeVar("_Shape")
_Row = TypeVar("_Row", bound=_Keyed)


class UpstoxRest(BaseRest):
    """The HTTP API of one Upstox login; `repr` and errors show no token."""

    name = "upstox"

    def __init__(
        self,
        login: Login,
        *,
        book: Callable[[], TokenBook],
        http_url: str,
        wall_clock: Callable[[], float],
    ) -> None:
        """`book` gives the instrument list of the day, by which names become instrument keys."""
        super().__init__(
            login,
            book=book,
            http_url=http_url,
            limits=RestLimits.load(__package__),
            intervals={name: days for name, (_, _, days) in _INTERVALS.items()},
        )
        self._wall_clock = wall_clock

    def proof(self, credentials: Credentials) -> dict[str, str]:
        """Return the headers of every request."""
        return proof(credentials)

    def key(self, instrument: Instrument) -> str:
        """Return the instrument key; the name itself, which Upstox does not know, for what is not listed."""
        token = self._book().token(instrument)
        return str(instrument if token is None else token)

    # -- quotes -------------------------------------------------------------------------------------------

    def ltp(self, keys: Sequence[str]) -> RestRequest:
        """Ask for last prices; 500 at once."""
        return RestRequest("/v3/market-quote/ltp", {"instrument_key": ",".join(keys)}, "ltp")

    def read_ltp(self, answer: RestAnswer, received_ms: int) -> dict[str, Tick]:
        """Return last prices by key; Upstox tells no time with them."""
        return {
            key: Tick(instrument, last.last_price, received_ms)
            for key, instrument, last in self._listed(read_data(answer, dict[str, _Last]))
        }

    def ohlc(self, keys: Sequence[str]) -> RestRequest:
        """Ask for the day's prices; 500 at once."""
        params = {"instrument_key": ",".join(keys), "interval": "1d"}
        return RestRequest("/v3/market-quote/ohlc", params, "ohlc")

    def read_ohlc(self, answer: RestAnswer, received_ms: int) -> dict[str, Ohlc]:
        """Return the day's prices by key, with the close of the session before."""
        found = {}
        for key, instrument, day in self._listed(read_data(answer, dict[str, _Day])):
            live, before = day.live_ohlc or _Bar(), day.prev_ohlc or _Bar()
            found[key] = Ohlc(
                instrument, day.last_price, received_ms, live.open, live.high, live.low, before.close
            )
        return found

    def quotes(self, keys: Sequence[str]) -> RestRequest:
        """Ask for everything, the order book included; 500 at once."""
        return RestRequest("/v2/market-quote/quotes", {"instrument_key": ",".join(keys)}, "quote")

    def read_quotes(self, answer: RestAnswer, received_ms: int) -> dict[str, DepthTick]:
        """Return quotes by key, as a tick of the feed in full mode would tell them."""
        return {
            key: _tick(instrument, quote, received_ms)
            for key, instrument, quote in self._listed(read_data(answer, dict[str, _Quote]))
        }

    def _listed(self, found: Mapping[str, _Row]) -> Iterator[tuple[str, Instrument, _Row]]:
        # The answer is keyed by segment and trading symbol; the key that was asked for stands inside.
        book = self._book()
        for row in found.values():
            instrument = book.instrument(row.instrument_token)
            if instrument is not None:
                yield row.instrument_token, instrument, row

    # -- candles ------------------------------------------------------------------------------------------

    def span(self, interval: str, start: datetime, end: datetime) -> datetime:
        """Return the end of the days that one call tells: those of the past, or today, which has its own."""
        last = super().span(interval, start, end)
        left = self._today() - start.astimezone(INDIA)
        return last if left <= timedelta() else min(last, start + left - timedelta(seconds=1))

    def history(self, instrument: Instrument, interval: str, start: datetime, end: datetime) -> RestRequest:
        """Ask for the candles of whole days, open interest included.

        Raises BrokerError (SYMBOL_NOT_FOUND) for an instrument that is not listed, KeyError for an interval
        that is not in `intervals`.
        """
        token = self._book().token(instrument)
        if token is None:
            raise BrokerError(f"{instrument} is not in Upstox's list.", code=ErrorCode.SYMBOL_NOT_FOUND)
        unit, number, _ = _INTERVALS[interval]
        key = quoted(str(token), safe="")
        if start.astimezone(INDIA) >= self._today():
            return RestRequest(f"/v3/historical-candle/intraday/{key}/{unit}/{number}", {}, "historical")
        first, last = (at.astimezone(INDIA).date().isoformat() for at in (start, end))
        return RestRequest(f"/v3/historical-candle/{key}/{unit}/{number}/{last}/{first}", {}, "historical")

    def _today(self) -> datetime:
        now = datetime.fromtimestamp(self._wall_clock(), INDIA)
        return now.replace(hour=0, minute=0, second=0, microsecond=0)

    def read_history(self, answer: RestAnswer) -> list[Candle]:
        """Return candles, the oldest first."""
        try:
            return [candle(row) for row in reversed(read_data(answer, _Candles).candles)]
        except (ValueError, OverflowError):
            raise unlike("Upstox", "a candle without a time") from None

    # -- what an answer means -----------------------------------------------------------------------------

    def refuses(self, answer: RestAnswer) -> bool:
        """Tell a dead token from what is not allowed with a good one."""
        return refuses_token(answer)

    def too_fast(self, answer: RestAnswer) -> bool:
        """Tell whether the code for too many requests came, with whatever status: it has come with a 200."""
        return _complaint(answer).first.code == _TOO_FAST

    def fault(self, answer: RestAnswer) -> BrokerError | None:
        """Return Upstox's complaint under our code, with its words."""
        return fault(answer)


def proof(credentials: Credentials) -> dict[str, str]:
    """Return the headers that prove a login."""
    return {**HEADERS, "Authorization": f"Bearer {credentials.access_token}"}


def address(answer: RestAnswer) -> str:
    """Return where one socket may be dialled, once. Raises BrokerError (BROKER_UNREACHABLE) for none."""
    return read_data(answer, _Address).authorized_redirect_uri


def refuses_token(answer: RestAnswer) -> bool:
    """Tell whether an answer says that the access token is not valid (any more)."""
    code = _complaint(answer).first.code
    return code == _DEAD_TOKEN or (answer.status == HTTPStatus.UNAUTHORIZED and not code)


def fault(answer: RestAnswer) -> BrokerError | None:
    """Return Upstox's complaint under our code, with its words; None for a good answer."""
    complaint = _complaint(answer)
    if answer.status < HTTPStatus.BAD_REQUEST and complaint.status != "error":
        return None
    first = complaint.first
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or first.code == _TOO_FAST:
        code = ErrorCode.RATE_LIMITED
    elif refuses_token(answer) or first.code in _REFUSED_LOGIN:
        code = ErrorCode.BROKER_REFUSED_CREDENTIALS
    elif answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        code = ErrorCode.BROKER_UNREACHABLE
    else:
        code = ErrorCode.BROKER_REFUSED_CALL
    said = remembered(f" {first.code}: {first.message}", _LONGEST_WORDS) if first.message else ""
    return BrokerError(f"Upstox answered {answer.status}.{said}", code=code)


def read_data(answer: RestAnswer, shape: type[_Shape]) -> _Shape:
    """Return what a good answer tells. Raises BrokerError (BROKER_UNREACHABLE) when it is not so shaped."""
    return base_rest.read_data("Upstox", answer, shape)


def _tick(instrument: Instrument, quote: _Quote, received_ms: int) -> DepthTick:
    # In full quotes the day's close is the last price: that of the session before is told by the change.
    change = round(quote.net_change or 0.0, 4)
    close = round(quote.last_price - change, 4) if quote.net_change is not None else 0.0
    day, depth = quote.ohlc or _Bar(), quote.depth or _Depth()
    return DepthTick(
        instrument,
        quote.last_price,
        _milliseconds(quote.timestamp) or received_ms,
        day.open,
        day.high,
        day.low,
        close,
        quote.volume or 0,
        0,  # of the last trade nothing but its time is told
        quote.average_price or 0.0,
        change,
        change * 100.0 / close if close else 0.0,
        int(quote.total_buy_quantity or 0),
        int(quote.total_sell_quantity or 0),
        _number(quote.last_trade_time),
        int(quote.oi or 0),
        int(quote.oi_day_high or 0),
        int(quote.oi_day_low or 0),
        levels(depth.buy),
        levels(depth.sell),
    )


def _milliseconds(text: str | None) -> int:
    """Return epoch milliseconds; 0 for no time, or one that cannot be read."""
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000) if text else 0
    except (ValueError, OverflowError):
        return 0


def _number(told: str | int | None) -> int:
    text = str(told or 0)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _complaint(answer: RestAnswer) -> _Complaint:
    if answer.status < HTTPStatus.BAD_REQUEST and len(answer.body) > _LONGEST_COMPLAINT:
        return _Complaint()
    try:
        return msgspec.json.decode(answer.body, type=_Complaint)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Complaint()  # an error page of the broker's edge
