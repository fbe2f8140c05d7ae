"""Angel's HTTP API: requests for quotes and candles, and the shapes of their answers; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from brokerpool.brokers import symbol_spelling
from brokerpool.brokers.angel import rest_errors
from brokerpool.brokers.angel.rest_errors import read_data, read_rows
from brokerpool.brokers.angel.segments import SEGMENTS, token
from brokerpool.brokers.base_rest import BaseRest, Depth, change, levels, unlike
from brokerpool.brokers.india_time import INDIA
from brokerpool.brokers.login import Credentials, Login
from brokerpool.brokers.rest import Candle, Ohlc, RestAnswer, RestLimits, RestRequest
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.ticks import DepthTick, Tick

#: Where the HTTP API is (SmartAPI documentation; looked up 2026-11-29).
HTTP_URL = "https://apiconnect.angelone.in"

_QUOTE = "/rest/secure/angelbroking/market/v1/quote/"
_CANDLES = "/rest/secure/angelbroking/historical/v1/getCandleData"

# The documentation wants the client's own addresses; what stands there is not checked, as others have found.
_HEADERS = {
    "User-Agent": "brokerpool",
    "Accept": "application/json",
    "X-UserType": "USER",
    "X-SourceID": "WEB",
    "X-ClientLocalIP": "127.0.0.1",
    "X-ClientPublicIP": "127.0.0.1",
    "X-MACAddress": "00:00:00:00:00:00",
}


#: OpenAlgo's name of an interval -> Angel's, and the longest days that one call may span (SmartAPI
#: documentation, historical API; looked up 2026-11-29).
_INTERVALS = {
    "1m": ("ONE_MINUTE", 30),
    "3m": ("THREE_MINUTE", 60),
    "5m": ("FIVE_MINUTE", 100),
    "10m": ("TEN_MINUTE", 100),
    "15m": ("FIFTEEN_MINUTE", 200),
    "30m": ("THIRTY_MINUTE", 200),
    "1h": ("ONE_HOUR", 400),
    "D": ("ONE_DAY", 2000),
}


class _Last(msgspec.Struct, gc=False):
    exchange: str
    number: str = msgspec.field(name="symbolToken")
    ltp: float


class _Day(_Last, gc=False):
    open: float
    high: float
    low: float
    close: float


class _Quote(_Day, gc=False, rename="camel"):
    """An index has neither quantities nor a book."""

    exch_feed_time: str = ""
    exch_trade_time: str = ""
    last_trade_qty: int = 0
    avg_price: float = 0.0
    trade_volume: int = 0
    opn_interest: int = 0
    tot_buy_quan: int = 0
    tot_sell_quan: int = 0
    depth: Depth | None = None


_Shape = TypeVar("_Shape", bound=_Last)


class _Fetched(msgspec.Struct):
    """What it does not know stands beside, as `unfetched`."""

    fetched: list[msgspec.Raw]


class _Candle(msgspec.Struct, array_like=True, gc=False):
    at: str
    open: float
    high: float
    low: float
    close: float
    volume: float


class AngelRest(BaseRest):
    """The HTTP API of one app and login; `repr` and errors show neither key nor token."""

    name = "angel"

    def __init__(
        self, api_key: str, login: Login, *, book: Callable[[], TokenBook], http_url: str = HTTP_URL
    ) -> None:
        """`book` gives the instrument list of the day, by which names become Angel's."""
        self._api_key = api_key
        super().__init__(
            login,
            book=book,
            http_url=http_url,
            limits=RestLimits.load(__package__),
            intervals={name: days for name, (_, days) in _INTERVALS.items()},
        )

    def proof(self, credentials: Credentials) -> dict[str, str]:
        """Return the headers of every request."""
        return headers(self._api_key, credentials.access_token)

    def key(self, instrument: Instrument) -> str:
        """Return segment and number, as in NSE:3045; an instrument that is not listed has no number."""
        details = self._book().details(instrument)
        return f"{details.broker_exchange}:{details.number}"

    # -- quotes -------------------------------------------------------------------------------------------

    def ltp(self, keys: Sequence[str]) -> RestRequest:
        """Ask for last prices; 50 at once, as in each mode."""
        return _asked("LTP", keys)

    def read_ltp(self, answer: RestAnswer, received_ms: int) -> dict[str, Tick]:
        """Return last prices by key; Angel tells no time with them."""
        return {key: Tick(i, last.ltp, received_ms) for key, i, last in self._fetched(answer, _Last)}

    def ohlc(self, keys: Sequence[str]) -> RestRequest:
        """Ask for the day's prices."""
        return _asked("OHLC", keys)

    def read_ohlc(self, answer: RestAnswer, received_ms: int) -> dict[str, Ohlc]:
        """Return the day's prices by key."""
        return {
            key: Ohlc(i, day.ltp, received_ms, day.open, day.high, day.low, day.close)
            for key, i, day in self._fetched(answer, _Day)
        }

    def quotes(self, keys: Sequence[str]) -> RestRequest:
        """Ask for everything, the order book included."""
        return _asked("FULL", keys)

    def read_quotes(self, answer: RestAnswer, received_ms: int) -> dict[str, DepthTick]:
        """Return quotes by key, as a tick of the feed in snap-quote mode would tell them."""
        return {
            key: _tick(instrument, quote, received_ms)
            for key, instrument, quote in self._fetched(answer, _Quote)
        }

    # -- candles ------------------------------------------------------------------------------------------

    def history(self, instrument: Instrument, interval: str, start: datetime, end: datetime) -> RestRequest:
        """Ask for candles, which have no open interest here.

        Raises BrokerError (SYMBOL_NOT_FOUND) for an instrument that is not listed, KeyError for an interval
        that is not in `intervals`.
        """
        book = self._book()
        if book.token(instrument) is None:
            raise BrokerError(f"{instrument} is not in Angel's list.", code=ErrorCode.SYMBOL_NOT_FOUND)
        details = book.details(instrument)
        kind, _ = _INTERVALS[interval]
        body = {
            "exchange": details.broker_exchange,
            "symboltoken": details.number,
            "interval": kind,
            "fromdate": _local(start),
            "todate": _local(end),
        }
        return RestRequest(_CANDLES, {}, "historical", body)

    def read_history(self, answer: RestAnswer) -> list[Candle]:
        """Return candles, the oldest first; Angel has null where it has none."""
        rows = read_rows(answer, _Candle)
        try:
            return [
                Candle(_seconds(row.at), row.open, row.high, row.low, row.close, int(row.volume))
                for row in rows
            ]
        except ValueError:
            raise unlike("Angel", "a candle without a time") from None

    # -- what an answer means -----------------------------------------------------------------------------

    def refuses(self, answer: RestAnswer) -> bool:
        """Tell a session that has ended, which Angel says with a 200 and a code."""
        return rest_errors.refuses(answer)

    def too_fast(self, answer: RestAnswer) -> bool:
        """Tell a 403 for calls that come too fast, which says nothing of the login."""
        return rest_errors.too_fast(answer)

    def fault(self, answer: RestAnswer) -> BrokerError | None:
        """Return Angel's complaint under our code, with its words."""
        return rest_errors.fault(answer)

    # -- inside -------------------------------------------------------------------------------------------

    def _fetched(self, answer: RestAnswer, shape: type[_Shape]) -> list[tuple[str, Instrument, _Shape]]:
        """Return what is listed and can be read; one row that cannot be costs itself."""
        found = []
        for raw in read_data(answer, _Fetched).fetched:
            try:
                row = msgspec.json.decode(raw, type=shape)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            segment = SEGMENTS.get(row.exchange)
            instrument = segment and self._book().instrument(token(segment, row.number))
            if isinstance(instrument, Instrument):
                found.append((f"{row.exchange}:{row.number}", instrument, row))
        return found


def headers(api_key: str, access_token: str = "") -> dict[str, str]:
    """Return the headers of a request, with the proof of a login where there is one."""
    proof = {"Authorization": bearer(access_token)} if access_token else {}
    return {**_HEADERS, "X-PrivateKey": api_key, **proof}


def bearer(access_token: str) -> str:
    """Return the token as a header has it; official clients hand it out with and without the word."""
    return f"Bearer {access_token.removeprefix('Bearer ')}"


def _asked(mode: str, keys: Sequence[str]) -> RestRequest:
    by_exchange: dict[str, list[str]] = {}
    for key in keys:
        exchange, _, number = key.partition(":")
        if number:
            by_exchange.setdefault(exchange, []).append(number)
    return RestRequest(_QUOTE, {}, "quote", {"mode": mode, "exchangeTokens": by_exchange})


def _tick(instrument: Instrument, quote: _Quote, received_ms: int) -> DepthTick:
    depth = quote.depth or Depth([], [])
    close = quote.close
    return DepthTick(
        instrument,
        quote.ltp,
        _epoch_ms(quote.exch_feed_time) or received_ms,
        quote.open,
        quote.high,
        quote.low,
        close,
        quote.trade_volume,
        quote.last_trade_qty,
        quote.avg_price,
        *change(quote.ltp, close),
        quote.tot_buy_quan,
        quote.tot_sell_quan,
        _epoch_ms(quote.exch_trade_time),
        quote.opn_interest,
        0,
        0,
        levels(depth.buy),
        levels(depth.sell),
    )


def _epoch_ms(text: str) -> int:
    """Return the epoch milliseconds of 21-Jun-2023 10:46:10 in India; 0 for none that can be read."""
    try:
        day, month, rest = text.split("-", 2)
        number = symbol_spelling.MONTHS.index(month.upper()) + 1
        at = datetime.strptime(f"{day}-{number}-{rest}", "%d-%m-%Y %H:%M:%S")
    except ValueError:
        return 0
    return int(at.replace(tzinfo=INDIA).timestamp()) * 1000


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def _local(at: datetime) -> str:
    return at.astimezone(INDIA).strftime("%Y-%m-%d %H:%M")
