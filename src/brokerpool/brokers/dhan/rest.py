"""Dhan's HTTP API (DhanHQ v2): requests for quotes and candles, and what the answers mean; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TypeVar

import msgspec

from brokerpool.brokers.base_rest import BaseRest, Depth, change, levels, unlike
from brokerpool.brokers.dhan.instruments import DhanDetails
from brokerpool.brokers.dhan.rest_errors import complaint
from brokerpool.brokers.dhan.segments import NUMBERS, security_id, segment, token
from brokerpool.brokers.india_time import INDIA
from brokerpool.brokers.login import Credentials, Login
from brokerpool.brokers.rest import Candle, Ohlc, RestAnswer, RestLimits, RestRequest
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.ticks import DepthTick, Tick

#: "01/01/1980 00:00:00" stands for an instrument that has never traded.
_NEVER = datetime(1981, 1, 1)

#: OpenAlgo's name of an interval -> Dhan's minutes; DhanHQ v2 documentation, historical data.
_MINUTES = {"1m": 1, "5m": 5, "15m": 15, "25m": 25, "1h": 60}
#: One call spans 90 days of minutes (the same page). For days it states none; ours.
_MINUTE_DAYS, _DAY_DAYS = 90, 3650

_BETWEEN = ":"
_DAY = timedelta(days=1)


class _Prices(msgspec.Struct, gc=False):
    open: float
    high: float
    low: float
    close: float


class _Last(msgspec.Struct, gc=False):
    last_price: float


class _Day(_Last, gc=False):
    ohlc: _Prices


class _Quote(_Day, gc=False):
    average_price: float = 0.0
    volume: int = 0
    last_quantity: int = 0
    last_trade_time: str = ""
    buy_quantity: int = 0
    sell_quantity: int = 0
    oi: int = 0
    oi_day_high: int = 0
    oi_day_low: int = 0
    depth: Depth | None = None


class _Columns(msgspec.Struct):
    """Candles, a list for each of their members; that of the open interest may be short, or missing."""

    timestamp: list[float]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]
    open_interest: list[float] = []


class _Envelope(msgspec.Struct):
    """What every good answer to a question for quotes has around its data."""

    data: dict[str, dict[str, msgspec.Raw]]


_Shape = TypeVar("_Shape", bound=_Last)


class DhanRest(BaseRest):
    """The HTTP API of one Dhan client; `repr` and errors never show the token."""

    name = "dhan"

    def __init__(self, client_id: str, login: Login, *, book: Callable[[], TokenBook], http_url: str) -> None:
        """`book` gives the instrument list of the day, by which names become Dhan's."""
        self._client_id = client_id
        super().__init__(
            login,
            book=book,
            http_url=http_url,
            limits=RestLimits.load(__package__),
            intervals={**dict.fromkeys(_MINUTES, _MINUTE_DAYS), "D": _DAY_DAYS},
        )

    def proof(self, credentials: Credentials) -> dict[str, str]:
        """Return the headers of every request (DhanHQ v2 documentation, market quote)."""
        return {
            "access-token": credentials.access_token,
            "client-id": self._client_id,
            "Accept": "application/json",
        }

    def key(self, instrument: Instrument) -> str:
        """Return SEGMENT:SECURITY_ID; for what is not listed its name, which is then not asked for."""
        known = self._book().token(instrument)
        if not isinstance(known, int):
            return str(instrument)
        return f"{segment(known)}{_BETWEEN}{security_id(known)}"

    # -- quotes -------------------------------------------------------------------------------------------

    def ltp(self, keys: Sequence[str]) -> RestRequest:
        """Ask for last prices; 1,000 at once."""
        return _asked("/marketfeed/ltp", keys)

    def read_ltp(self, answer: RestAnswer, received_ms: int) -> dict[str, Tick]:
        """Return last prices by key; Dhan tells no time with them."""
        return {
            key: Tick(instrument, last.last_price, received_ms)
            for key, instrument, last in self._rows(answer, _Last)
        }

    def ohlc(self, keys: Sequence[str]) -> RestRequest:
        """Ask for the day's prices; 1,000 at once."""
        return _asked("/marketfeed/ohlc", keys)

    def read_ohlc(self, answer: RestAnswer, received_ms: int) -> dict[str, Ohlc]:
        """Return the day's prices by key."""
        return {
            key: Ohlc(instrument, day.last_price, received_ms, *_prices(day))
            for key, instrument, day in self._rows(answer, _Day)
        }

    def quotes(self, keys: Sequence[str]) -> RestRequest:
        """Ask for everything, the order book included; 1,000 at once."""
        return _asked("/marketfeed/quote", keys)

    def read_quotes(self, answer: RestAnswer, received_ms: int) -> dict[str, DepthTick]:
        """Return quotes by key, as a tick of the feed in full mode would tell them."""
        return {
            key: _tick(instrument, quote, received_ms)
            for key, instrument, quote in self._rows(answer, _Quote)
        }

    # -- candles ------------------------------------------------------------------------------------------

    def history(self, instrument: Instrument, interval: str, start: datetime, end: datetime) -> RestRequest:
        """Ask for candles with open interest.

        Raises BrokerError (SYMBOL_NOT_FOUND) for an instrument that is not listed, KeyError for an interval
        that is not in `intervals`.
        """
        known, details = self._book().token(instrument), self._book().details(instrument)
        if not isinstance(known, int) or not isinstance(details, DhanDetails):
            raise BrokerError(f"{instrument} is not in Dhan's list.", code=ErrorCode.SYMBOL_NOT_FOUND)
        body: dict[str, object] = {
            "securityId": str(security_id(known)),
            "exchangeSegment": segment(known),
            "instrument": details.instrument,
            "oi": True,
        }
        if interval == "D":
            # The last day is not among those that are told.
            body |= {"fromDate": _local(start, "%Y-%m-%d"), "toDate": _local(end + _DAY, "%Y-%m-%d")}
            return RestRequest("/charts/historical", {}, "data", body)
        form = "%Y-%m-%d %H:%M:%S"
        body |= {
            "interval": str(_MINUTES[interval]),
            "fromDate": _local(start, form),
            "toDate": _local(end, form),
        }
        return RestRequest("/charts/intraday", {}, "data", body)

    def read_history(self, answer: RestAnswer) -> list[Candle]:
        """Return candles, the oldest first."""
        columns = _read(answer, _Columns)
        interest = [*columns.open_interest, *[0.0] * (len(columns.timestamp) - len(columns.open_interest))]
        try:
            return [
                Candle(int(at), open_, high, low, close, int(volume), int(oi))
                for at, open_, high, low, close, volume, oi in zip(
                    columns.timestamp,
                    columns.open,
                    columns.high,
                    columns.low,
                    columns.close,
                    columns.volume,
                    interest[: len(columns.timestamp)],
                    strict=True,
                )
            ]
        except (ValueError, OverflowError):
            raise unlike("Dhan", "candles of which not every one has all prices") from None

    # -- what an answer means -----------------------------------------------------------------------------

    def refuses(self, answer: RestAnswer) -> bool:
        """Tell a dead token from data that is not subscribed to, and from calls that come too fast."""
        found = complaint(answer)
        if found is None:
            return answer.status == HTTPStatus.UNAUTHORIZED
        return found.kind is ErrorCode.BROKER_REFUSED_CREDENTIALS

    def too_fast(self, answer: RestAnswer) -> bool:
        """Tell DH-904 and 805, whatever the status that they come with."""
        found = complaint(answer)
        return found is not None and found.kind is ErrorCode.RATE_LIMITED

    def fault(self, answer: RestAnswer) -> BrokerError | None:
        """Return Dhan's complaint under our code, with its words."""
        return fault(answer)

    def _rows(self, answer: RestAnswer, shape: type[_Shape]) -> list[tuple[str, Instrument, _Shape]]:
        """Return the rows of instruments that are listed; one that is not as documented is left out."""
        rows = []
        book = self._book()
        for name, found in _read(answer, _Envelope).data.items():
            number = NUMBERS.get(name)
            for security, raw in found.items() if number is not None else ():
                try:
                    instrument = book.instrument(token(number or 0, int(security)))
                    row = msgspec.json.decode(raw, type=shape)
                except (ValueError, RecursionError):
                    continue
                if instrument is not None:
                    rows.append((f"{name}{_BETWEEN}{security}", instrument, row))
        return rows


def fault(answer: RestAnswer) -> BrokerError | None:
    """Return Dhan's complaint under our code, with its words; None for a good answer."""
    found = complaint(answer)
    if found is None and answer.status < HTTPStatus.BAD_REQUEST:
        return None
    kind = found.kind if found is not None else ErrorCode.BROKER_UNREACHABLE
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        kind = ErrorCode.RATE_LIMITED
    elif found is None and answer.status == HTTPStatus.UNAUTHORIZED:
        kind = ErrorCode.BROKER_REFUSED_CREDENTIALS
    said = f": {found}" if found is not None else ""
    return BrokerError(f"Dhan answered HTTP {answer.status}{said}.", code=kind)


_T = TypeVar("_T")


def _read(answer: RestAnswer, shape: type[_T]) -> _T:
    refusal = fault(answer)
    if refusal is not None:
        raise refusal
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise unlike("Dhan", str(error)) from None


def _asked(path: str, keys: Sequence[str]) -> RestRequest:
    body: dict[str, list[int]] = {}
    for key in keys:
        name, _, number = key.partition(_BETWEEN)
        if name in NUMBERS and number.isdecimal():
            body.setdefault(name, []).append(int(number))
    return RestRequest(path, {}, "quote", body)


def _prices(day: _Day) -> tuple[float, float, float, float]:
    return day.ohlc.open, day.ohlc.high, day.ohlc.low, day.ohlc.close


def _tick(instrument: Instrument, quote: _Quote, received_ms: int) -> DepthTick:
    open_, high, low, close = _prices(quote)
    depth = quote.depth or Depth([], [])
    traded_ms = _epoch(quote.last_trade_time) * 1000
    return DepthTick(
        instrument,
        quote.last_price,
        traded_ms or received_ms,
        open_,
        high,
        low,
        close,
        quote.volume,
        quote.last_quantity,
        quote.average_price,
        *change(quote.last_price, close),
        quote.buy_quantity,
        quote.sell_quantity,
        traded_ms,
        quote.oi,
        quote.oi_day_high,
        quote.oi_day_low,
        levels(depth.buy),
        levels(depth.sell),
    )


def _epoch(text: str) -> int:
    """Return the epoch seconds of "24/11/2026 12:00:30" in India; 0 for never, and for what is no time."""
    try:
        local = datetime.strptime(text, "%d/%m/%Y %H:%M:%S")
    except ValueError:
        return 0
    return int(local.replace(tzinfo=INDIA).timestamp()) if local > _NEVER else 0


def _local(at: datetime, form: str) -> str:
    return at.astimezone(INDIA).strftime(form)
