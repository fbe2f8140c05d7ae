"""OpenAlgo's REST: quotes and candles by POST with the key in the body, and what the answers mean; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from brokerpool.brokers.base_rest import BaseRest
from brokerpool.brokers.india_time import INDIA
from brokerpool.brokers.login import Credentials, Login
from brokerpool.brokers.rest import Candle, Ohlc, RestAnswer, RestLimits, RestRequest
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.ticks import DepthLevel, DepthTick, Tick
from brokerpool.untrusted_text import remembered

HEADERS = {"User-Agent": "brokerpool"}
PREFIX = "/api/v1"

_DAY = 86_400

#: Intervals of OpenAlgo -> the longest days of one call: ours, for OpenAlgo states none. Which of them there
#: are is for its broker to say; one that it lacks is refused with the broker's words.
_INTERVALS = {
    **dict.fromkeys(("1s", "5s", "10s", "15s", "30s", "45s"), 5),
    **dict.fromkeys(("1m", "2m", "3m", "5m", "10m", "15m", "20m", "30m"), 60),
    **dict.fromkeys(("1h", "2h", "3h", "4h"), 365),
    **dict.fromkeys(("D", "W", "M", "Q", "Y"), 2000),
}

#: An answer above this has data; what is only a complaint is shorter.
_LONGEST_COMPLAINT = 4096
_MOST_WORDS = 200

#: Codes of a brokerpool further up that mean the same to us.
_CODES = {
    code.name: code
    for code in (
        ErrorCode.SYMBOL_NOT_FOUND,
        ErrorCode.INTERVAL_NOT_SUPPORTED,
        ErrorCode.RATE_LIMITED,
        ErrorCode.BROKER_REFUSED_CALL,
        ErrorCode.BROKER_UNREACHABLE,
    )
}
_KEY_REFUSED = "AUTHENTICATION_ERROR"

_Shape = TypeVar("_Shape")


class _Complaint(msgspec.Struct):
    """What an answer says of itself; `code` is a brokerpool's."""

    status: str = ""
    #: A text, or field -> messages.
    message: Any = ""
    code: Any = ""
    invalid_symbols: Any = None

    @property
    def words(self) -> str:
        """The message on one line."""
        text = self.message if isinstance(self.message, str) else msgspec.json.encode(self.message).decode()
        return remembered(text, _MOST_WORDS)


class _Quote(msgspec.Struct, gc=False):
    ltp: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    prev_close: float | None = None
    volume: float | None = None
    oi: float | None = None
    bid: float | None = None
    ask: float | None = None


class _Result(msgspec.Struct, gc=False):
    symbol: str
    exchange: str
    #: Missing where there is an `error`.
    data: _Quote | None = None


class _Quotes(msgspec.Struct):
    #: Missing where none of the symbols is known.
    results: list[_Result] = []


class _Level(msgspec.Struct, gc=False):
    price: float
    quantity: float


class _Depth(_Quote, gc=False):
    ltq: float | None = None
    totalbuyqty: float | None = None
    totalsellqty: float | None = None
    bids: list[_Level] = []
    asks: list[_Level] = []


class _DepthAnswer(msgspec.Struct):
    data: _Depth


class _Row(msgspec.Struct, gc=False):
    timestamp: float
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None
    oi: float | None = None


class _History(msgspec.Struct):
    data: list[_Row]


class OpenAlgoRest(BaseRest):
    """The REST of one OpenAlgo, under the account's key; `repr` and errors do not show it.

    Quotes of many have the best bid and offer without their quantities, for `multiquotes` tells no more.
    """

    name = "openalgo"
    carries_orders = True

    def __init__(self, login: Login, *, book: Callable[[], TokenBook], http_url: str) -> None:
        """`book` gives the instruments that can be asked for."""
        super().__init__(
            login,
            book=book,
            http_url=http_url,
            limits=RestLimits.load(__package__),
            intervals=_INTERVALS,
        )

    def proof(self, credentials: Credentials) -> dict[str, str]:
        """Return headers without a proof: the key stands in each body."""
        return HEADERS

    def order_key(self) -> str:
        """Return the key of calls that are passed through."""
        return self.login.credentials.access_token

    def key(self, instrument: Instrument) -> str:
        """Return EXCHANGE:SYMBOL."""
        return str(instrument)

    # -- quotes -------------------------------------------------------------------------------------------

    def ltp(self, keys: Sequence[str]) -> RestRequest:
        """Ask for all that `multiquotes` has; there is no shorter call."""
        return self.quotes(keys)

    def read_ltp(self, answer: RestAnswer, received_ms: int) -> dict[str, Tick]:
        """Return last prices by key; no time is told with them."""
        return {key: Tick(i, ltp, received_ms) for key, i, ltp, _ in self._told(answer)}

    def ohlc(self, keys: Sequence[str]) -> RestRequest:
        """Ask for the same."""
        return self.quotes(keys)

    def read_ohlc(self, answer: RestAnswer, received_ms: int) -> dict[str, Ohlc]:
        """Return the day's prices by key."""
        return {key: Ohlc(i, ltp, received_ms, *_prices(q)) for key, i, ltp, q in self._told(answer)}

    def quotes(self, keys: Sequence[str]) -> RestRequest:
        """Ask for the quotes of all keys at once."""
        symbols = []
        for key in keys:
            exchange, _, symbol = key.partition(":")
            symbols.append({"symbol": symbol, "exchange": exchange})
        return self._post("multiquotes", "quote", symbols=symbols)

    def read_quotes(self, answer: RestAnswer, received_ms: int) -> dict[str, DepthTick]:
        """Return quotes by key; a bid or an offer has the quantity 0, which is not told."""
        return {
            key: DepthTick(
                i,
                ltp,
                received_ms,
                *_prices(quote),
                volume=_whole(quote.volume),
                oi=_whole(quote.oi),
                buy=_best(quote.bid),
                sell=_best(quote.ask),
            )
            for key, i, ltp, quote in self._told(answer)
        }

    def depth(self, key: str) -> RestRequest:
        """Ask for one instrument's order book, which `multiquotes` does not have."""
        exchange, _, symbol = key.partition(":")
        return self._post("depth", "quote", symbol=symbol, exchange=exchange)

    def read_depth(self, answer: RestAnswer, instrument: Instrument, received_ms: int) -> DepthTick | None:
        """Return the quote with its book, in which a level's orders are not told."""
        book = read_data(answer, _DepthAnswer).data
        if book.ltp is None:
            return None
        return DepthTick(
            instrument,
            book.ltp,
            received_ms,
            *_prices(book),
            volume=_whole(book.volume),
            last_trade_quantity=_whole(book.ltq),
            total_buy_quantity=_whole(book.totalbuyqty),
            total_sell_quantity=_whole(book.totalsellqty),
            oi=_whole(book.oi),
            buy=_levels(book.bids),
            sell=_levels(book.asks),
        )

    # -- candles ------------------------------------------------------------------------------------------

    def history(self, instrument: Instrument, interval: str, start: datetime, end: datetime) -> RestRequest:
        """Ask for the candles of whole days in India.

        Raises BrokerError (SYMBOL_NOT_FOUND) for an instrument that cannot be asked for, KeyError for an
        interval that is not in `intervals`.
        """
        if self._book().token(instrument) is None:
            raise BrokerError(f"{instrument} is not in OpenAlgo's list.", code=ErrorCode.SYMBOL_NOT_FOUND)
        _ = _INTERVALS[interval]
        days = {"start_date": _day(start), "end_date": _day(end)}
        named = {"symbol": instrument.symbol, "exchange": instrument.exchange}
        return self._post("history", "historical", **named, interval=interval, **days)

    def read_history(self, answer: RestAnswer) -> list[Candle]:
        """Return candles, the oldest first.

        Candles of days come with midnight UTC of their day, as OpenAlgo's clients want it; they begin at
        midnight in India. They are known by that: no other candles all begin at midnight UTC.
        """
        rows = sorted(read_data(answer, _History).data, key=lambda row: row.timestamp)
        daily = bool(rows) and all(row.timestamp % _DAY == 0 for row in rows)
        earlier = 19_800 if daily else 0
        return [
            Candle(
                int(row.timestamp) - earlier,
                row.open,
                row.high,
                row.low,
                row.close,
                _whole(row.volume),
                _whole(row.oi),
            )
            for row in rows
        ]

    # -- what an answer means -----------------------------------------------------------------------------

    def refuses(self, answer: RestAnswer) -> bool:
        """Tell a wrong key from what else is forbidden, as orders are in OpenAlgo's semi-auto mode."""
        return refuses_key(answer)

    def too_fast(self, answer: RestAnswer) -> bool:
        """OpenAlgo says it with a 429 only."""
        return False

    def fault(self, answer: RestAnswer) -> BrokerError | None:
        """Return the complaint under our code; that none of the symbols is known is an answer."""
        if answer.status == HTTPStatus.BAD_REQUEST and isinstance(_complaint(answer).invalid_symbols, list):
            return None
        return fault(answer)

    def _post(self, endpoint: str, group: str, **asked: object) -> RestRequest:
        body = {"apikey": self.login.credentials.access_token, **asked}
        return RestRequest(f"{PREFIX}/{endpoint}", {}, group, body)

    def _told(self, answer: RestAnswer) -> Iterator[tuple[str, Instrument, float, _Quote]]:
        for result in read_data(answer, _Quotes).results:
            quote = result.data
            if quote is not None and quote.ltp is not None:
                instrument = Instrument(result.exchange, result.symbol)
                yield str(instrument), instrument, quote.ltp, quote

    def __repr__(self) -> str:
        return f"<OpenAlgoRest {self.http_url.partition('?')[0]}>"


def refuses_key(answer: RestAnswer) -> bool:
    """Tell whether an answer says that the key is not valid, and not that something else is forbidden."""
    if answer.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return False
    complaint = _complaint(answer)
    if complaint.code:
        return bool(complaint.code == _KEY_REFUSED)
    words = complaint.words.lower().replace(" ", "")
    return "apikey" in words


def fault(answer: RestAnswer) -> BrokerError | None:
    """Return what OpenAlgo complains of under our code, with its words; None for a good answer."""
    failed = answer.status >= HTTPStatus.BAD_REQUEST
    if not failed and len(answer.body) > _LONGEST_COMPLAINT:
        return None
    complaint = _complaint(answer)
    if not failed and complaint.status != "error":
        return None
    words = complaint.words
    code = _CODES.get(complaint.code) if isinstance(complaint.code, str) else None
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        code = ErrorCode.RATE_LIMITED
    elif refuses_key(answer):
        code = ErrorCode.BROKER_REFUSED_CREDENTIALS
    elif code is None and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        unknown = "symbol" in words.lower() or answer.status == HTTPStatus.NOT_FOUND
        code = ErrorCode.SYMBOL_NOT_FOUND if unknown else ErrorCode.BROKER_REFUSED_CALL
    said = f": {words}" if words else "."
    return BrokerError(f"OpenAlgo answered {answer.status}{said}", code=code or ErrorCode.BROKER_UNREACHABLE)


def read_data(answer: RestAnswer, shape: type[_Shape]) -> _Shape:
    """Return what a good answer tells. Raises BrokerError (BROKER_UNREACHABLE) when it is not so shaped."""
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        text = f"OpenAlgo's answer is not as documented: {len(answer.body)} bytes."
        raise BrokerError(text, code=ErrorCode.BROKER_UNREACHABLE) from None


def _complaint(answer: RestAnswer) -> _Complaint:
    try:
        return msgspec.json.decode(answer.body, type=_Complaint)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _Complaint()  # an error page of a proxy


def _prices(quote: _Quote) -> tuple[float, float, float, float]:
    return quote.open or 0.0, quote.high or 0.0, quote.low or 0.0, quote.prev_close or 0.0


def _best(price: float | None) -> tuple[DepthLevel, ...]:
    return (DepthLevel(price, 0, 0),) if price else ()


def _levels(levels: Sequence[_Level]) -> tuple[DepthLevel, ...]:
    return tuple(DepthLevel(level.price, _whole(level.quantity), 0) for level in levels)


def _whole(number: float | None) -> int:
    return int(number) if number is not None and number.is_integer() and abs(number) < 2**53 else 0


def _day(at: datetime) -> str:
    return at.astimezone(INDIA).strftime("%Y-%m-%d")
