"""OpenAlgo's market data frames, written as the broker behind it would have them; pure, clock injected."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from brokerpool.simulator.exchange import LEVELS, Quote
from brokerpool.simulator.fault_switches import Malformation
from brokerpool.simulator.listed_instruments import Listing
from brokerpool.simulator.openalgo.fault_switches import OpenAlgoFaults
from brokerpool.ticks import Mode

_NOBODY = "NOBODY"


class _Variety(NamedTuple):
    """What a broker calls its members: each with the value that it has."""

    #: In every mode, after `ltp`.
    ltp: dict[str, str]
    #: In QUOTE and DEPTH besides.
    quote: dict[str, str]


_DAY = {name: name for name in ("open", "high", "low", "close", "volume")}
_CHANGE = {"change": "change", "change_percent": "change_percent"}
_TOTALS = {"total_buy_quantity": "buy_total", "total_sell_quantity": "sell_total"}
_TRADES = {"last_trade_quantity": "last_quantity", "avg_trade_price": "average"}
#: The names and types that are seen at brokers behind OpenAlgo.
VARIETIES = {
    "plain": _Variety({"timestamp": "ms"}, {**_DAY, **_TRADES, **_CHANGE, "oi": "oi", **_TOTALS}),
    "seconds": _Variety({"timestamp": "seconds"}, {**_DAY, **_TRADES, **_TOTALS}),
    "aliases": _Variety(
        {"ltt": "last_trade_time", "timestamp": "ms"},
        {
            **_DAY,
            "prev_close": "close",
            "last_quantity": "last_quantity",
            "average_price": "average",
            "open_interest": "oi",
            "price_change": "change",
            **_TOTALS,
        },
    ),
    "sparse": _Variety({}, {"volume": "volume"}),
}


def _template(members: dict[str, str]) -> str:
    return "".join(f', "{name}": %({value})r' for name, value in members.items())


_TEMPLATES = {name: (_template(variety.ltp), _template(variety.quote)) for name, variety in VARIETIES.items()}


def error(code: str, message: str) -> bytes:
    """Return an error as a client of the socket gets it: without a type."""
    return text({"status": "error", "code": code, "message": message})


def text(message: Mapping[str, Any]) -> bytes:
    """Return a message in the spacing and the escapes that OpenAlgo's have."""
    return json.dumps(message).encode()


class OpenAlgoWire:
    """One text message a tick and client, with the client's own mode in it and the members of the highest.

    Where topics are published per mode, a client gets all that are not below its mode.
    """

    TEXT = True
    #: There is none; the limits say so.
    HEARTBEAT = b""
    PACKETS_PER_FRAME = 1

    def __init__(
        self, listings: Iterable[Listing], faults: OpenAlgoFaults, broker: str, clock: Callable[[], float]
    ) -> None:
        """`broker` is the one behind OpenAlgo."""
        self._faults = faults
        self._clock = clock
        self._tokens = {(row.exchange, row.tradingsymbol): row.token for row in listings}
        self._names = {
            token: f'"symbol": {json.dumps(symbol)}, "exchange": {json.dumps(exchange)}'
            for (exchange, symbol), token in self._tokens.items()
        }
        self._tail = f'}}, "broker": {json.dumps(broker)}}}'

    def record(self, quote: Quote, mode: Mode) -> bytes:
        """Return the message of a quote for a client of the only mode that anybody has."""
        return self._message(quote.token, mode, self._data(quote, mode))

    def records(self, quote: Quote, modes: Collection[Mode]) -> dict[Mode, list[bytes]]:
        """Return the messages that clients of each mode get."""
        topics = sorted(modes) if self._faults.topic_per_mode else [max(modes)]
        published = [(topic, self._data(quote, topic)) for topic in topics]
        return {
            mode: [self._message(quote.token, mode, data) for topic, data in published if topic >= mode]
            for mode in modes
        }

    def frame(self, records: Sequence[bytes]) -> bytes:
        """Return the only record."""
        return records[0]

    def malformed(self, kind: Malformation, records: Sequence[bytes]) -> bytes:
        """Return the message, spoilt in one way; of a wrong length means that its data is no object."""
        if kind is Malformation.TRUNCATED:
            return records[0][:-3]
        message = json.loads(records[0])
        if kind is Malformation.UNKNOWN_TOKEN:
            message["symbol"] = message["data"]["symbol"] = _NOBODY
        else:
            message["data"] = [message["data"]["ltp"]]
        return text(message)

    def packets(self, message: bytes) -> Iterator[bytes]:
        """Yield the message: there is one packet in each."""
        yield message

    def packet_token(self, packet: bytes) -> int | None:
        """Return the token of a market data frame, None for any other bytes."""
        try:
            message = json.loads(packet)
            return self._tokens.get((message["exchange"], message["symbol"]))
        except (ValueError, LookupError, TypeError, RecursionError):
            return None

    def trimmed(self, packet: bytes, mode: Mode) -> bytes:
        """Return the frame for a client of this mode; its data stays whole, as OpenAlgo leaves it."""
        return text({**json.loads(packet), "mode": int(mode)})

    def error(self, text: str) -> bytes:
        """Return the error of a text that begins with its code and a colon."""
        code, _, message = text.partition(": ")
        return error(code, message)

    def _message(self, token: int, mode: Mode, data: str) -> bytes:
        names = self._names[token]
        return (
            f'{{"type": "market_data", {names}, "mode": {mode:d}, "data": {{{names}, {data}{self._tail}'
        ).encode()

    def _data(self, quote: Quote, mode: Mode) -> str:
        always, more = _TEMPLATES[self._faults.variety]
        unit = quote.unit
        if mode == Mode.LTP:
            now = self._clock()
            values = {"ms": int(now * 1000), "seconds": int(now), "last_trade_time": quote.last_trade_time}
            return f'"ltp": {quote.ltp / unit!r}' + always % values
        data = f'"ltp": {quote.ltp / unit!r}' + (more + always) % self._values(quote)
        return data if mode == Mode.QUOTE else data + _depth(quote)

    def _values(self, quote: Quote) -> dict[str, float]:
        unit, now = quote.unit, self._clock()
        return {
            "open": quote.open / unit,
            "high": quote.high / unit,
            "low": quote.low / unit,
            "close": quote.close / unit,
            "volume": quote.volume,
            "last_quantity": quote.last_quantity,
            "average": quote.average / unit,
            "change": quote.change / unit,
            "change_percent": round(100.0 * quote.change / quote.close, 2) if quote.close else 0.0,
            "oi": quote.oi,
            "buy_total": quote.buy_total,
            "sell_total": quote.sell_total,
            "last_trade_time": quote.last_trade_time,
            "ms": int(now * 1000),
            "seconds": int(now),
        }


def _depth(quote: Quote) -> str:
    depth, unit = quote.depth, quote.unit
    levels = [
        f'{{"price": {depth[at + 1] / unit!r}, "quantity": {depth[at]}, "orders": {depth[at + 2]}}}'
        for at in range(0, len(depth), 3)
    ]
    if quote.is_index:
        return ', "depth": {"buy": [], "sell": []}'
    buy, sell = ", ".join(levels[:LEVELS]), ", ".join(levels[LEVELS:])
    return f', "depth": {{"buy": [{buy}], "sell": [{sell}]}}'
