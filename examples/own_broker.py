"""An adapter for a broker that the project does not know: "Acme", which is made up, with a wire of its own.

Acme speaks JSON texts, prices in paise; a message is one line or several, each a JSON object. The pool says

    {"do": "login", "token": TOKEN}                                     first, and waits for the answer
    {"do": "beat"}                                                      every 10 s at least
    {"do": "add" | "set" | "remove", "what": "price" | "day", "ids": [..]}

and hears

    {"login": "ok"}, or {"login": "refused", "why": text}
    {"prices": [[id, price], ..]}                                       100 of them in a line at most
    {"days": [[id, price, open, high, low, previous close, volume], ..]}
    {"refused": [ids], "why": text}, {"error": text}, {"order": {..}}, {"beat": 1}

It closes with 4001 when the token is not valid any more, and with 4002 when another socket of the account
took the place of this one.

    ACME_TOKEN=... python examples/own_broker.py wss://feed.acme.example --seconds 10 NSE:INFY
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from brokerpool import Credentials, Instrument, Login, Mode, QuoteTick, Tick, TokenBook, WebSocketPool
from brokerpool.brokers.account import Account, Endpoint
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.wire import LONGEST_TEXT, ControlBatch, Farewell, Signal, SignalKind, Wire
from brokerpool.instruments import Token

# Every figure with where it comes from and the day on which it was looked up: what your broker publishes, and
# "ours" where it publishes nothing. In an adapter of the project this is its limits.toml.
LIMITS_TABLE = tomllib.loads("""
symbols_per_connection = { value = 500, source = "Acme API guide, Streaming", date = 2026-11-25 }
max_connections = { value = 2, source = "Acme API guide, Streaming: per account", date = 2026-11-25 }
batch_size = { value = 100, source = "Acme API guide, Messages: ids in one message", date = 2026-11-25 }
control_messages = { value = [[5, 1]], source = "Acme API guide, Messages", date = 2026-11-25 }
account_messages = { value = [[10, 1]], source = "ours: the broker states none", date = 2026-11-25 }
pings_counted = { value = false, source = "ours: the broker states nothing", date = 2026-11-25 }
dials = { value = [[2, 1], [30, 60]], source = "ours: the broker states none", date = 2026-11-25 }
socket_life_seconds = { value = 0, source = "Acme API guide, Streaming: no end", date = 2026-11-25 }
silence_seconds = { value = 10.0, source = "Acme API guide: it beats every 3 s", date = 2026-11-25 }
heartbeat_seconds = { value = 10.0, source = "Acme API guide, Streaming", date = 2026-11-29 }
depth_levels = { value = 0, source = "Acme has no order book", date = 2026-11-25 }
""")
LIMITS = FeedLimits.parse(LIMITS_TABLE)

_PAISE = 100
#: What a row may be other than documented.
_WRONG = (TypeError, ValueError, LookupError, ArithmeticError)


class AcmeWire(Wire):
    """Reads and writes the messages of one socket."""

    def __init__(self, token: str) -> None:
        self.skipped = {"unknown_id": 0, "malformed": 0}
        self.signals: list[Signal] = []
        self._token = token

    def hello(self) -> list[str]:
        """Return the login; the socket is live when the signal READY has come."""
        return [_message("login", token=self._token)]

    def heartbeat(self) -> str:
        """Return what Acme wants to hear within `heartbeat_seconds`."""
        return _message("beat")

    def requests(self, batch: ControlBatch) -> list[str]:
        """Return removals first, so that there is room for what is added."""
        messages = []
        if batch.drop:
            messages.append(_message("remove", ids=list(batch.drop)))
        for action, part in (("add", batch.add), ("set", batch.remode)):
            for what in ("price", "day"):
                ids = [token for token, mode in part.items() if _name(mode) == what]
                if ids:
                    messages.append(_message(action, what=what, ids=ids))
        return messages

    def parts(self, message: str | bytes) -> Sequence[str | bytes]:
        """Return the lines of a long message."""
        return message.split("\n") if isinstance(message, str) else (message,)

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Acme sends texts only."""
        self.skipped["malformed"] += 1
        return []

    def text(self, message: str, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        """Return the ticks of one message; what is no JSON object costs its line, a wrong row that row."""
        ticks: list[Tick] = []
        for line in message.split("\n"):
            try:
                said = msgspec.json.decode(line)
            except (ValueError, RecursionError):
                said = None
            if not isinstance(said, dict):
                self.skipped["malformed"] += 1
            elif "prices" in said:
                ticks += self._rows(said["prices"], routes, _tick, received_ms)
            elif "days" in said:
                ticks += self._rows(said["days"], routes, _quote, received_ms)
            elif "beat" not in said:
                self.signals.append(_signal(said, line))
        return ticks

    def _rows(
        self, rows: object, routes: Mapping[Token, Instrument], make: Callable[..., Tick], received_ms: int
    ) -> list[Tick]:
        ticks = []
        for row in rows if isinstance(rows, list) else ():
            try:
                instrument = routes.get(row[0])
                if instrument is None:
                    self.skipped["unknown_id"] += 1
                else:
                    ticks.append(make(instrument, received_ms, *row[1:]))
            except _WRONG:
                self.skipped["malformed"] += 1
        return ticks

    def farewell(self, code: int, reason: str) -> Farewell:
        """Tell a dead token and an eviction from a line that broke."""
        return {4001: Farewell.CREDENTIALS, 4002: Farewell.EVICTED}.get(code, Farewell.LOST)


class AcmeFeed(Account):
    """One account's feed; `repr` and errors never show the token."""

    name = "acme"

    def __init__(self, url: str, token: str, book: TokenBook, *, limits: FeedLimits = LIMITS) -> None:
        self.login, self.book, self.limits = Login(Credentials(token)), book, limits
        self._url = url

    async def endpoint(self) -> Endpoint:
        """Return the address; it is asked for before every dial, in case that there is a token in it."""
        return Endpoint(self._url, {})

    def wire(self) -> AcmeWire:
        """Return a new wire for a new socket, with the present token."""
        return AcmeWire(self.login.credentials.access_token)

    def __repr__(self) -> str:
        return f"<AcmeFeed {len(self.book)} instruments>"


def _name(mode: Mode) -> str:
    # A mode that the broker does not have becomes the richest one that it has.
    return "price" if mode is Mode.LTP else "day"


def _message(action: str, **more: object) -> str:
    return msgspec.json.encode({"do": action, **more}).decode()


def _signal(said: Mapping[str, object], line: str) -> Signal:
    """Return what a line says besides ticks."""
    why = str(said.get("why", line))[:LONGEST_TEXT]
    match said:
        case {"login": "ok"}:
            return Signal(SignalKind.READY)
        case {"login": _}:
            return Signal(SignalKind.LOGIN_REFUSED, why)
        case {"refused": list(ids)}:
            return Signal(SignalKind.REFUSED, why, [token for token in ids if isinstance(token, int)])
        case {"error": error}:
            return Signal(SignalKind.REFUSED, str(error)[:LONGEST_TEXT])
        case {"order": _}:
            return Signal(SignalKind.ORDER_UPDATE, line)
    return Signal(SignalKind.UNKNOWN, why)


def _tick(instrument: Instrument, received_ms: int, price: int) -> Tick:
    return Tick(instrument, price / _PAISE, received_ms)


def _quote(instrument: Instrument, received_ms: int, price: int, *day: int) -> QuoteTick:
    *prices, volume = day
    open_, high, low, close = (paise / _PAISE for paise in prices)
    last, change = price / _PAISE, price / _PAISE - close
    tick = QuoteTick(instrument, last, received_ms, open_, high, low, close, volume, change=change)
    return msgspec.structs.replace(tick, change_percent=change * 100 / close) if close else tick


async def watch(url: str, token: str, symbols: Sequence[str], seconds: float) -> None:
    """Print the ticks of the symbols for `seconds`."""
    # A real adapter reads the broker's instrument list; here the first symbol has the id 1, and so on.
    book = TokenBook((Instrument.parse(symbol), number) for number, symbol in enumerate(symbols, 1))
    feed, sizes = AcmeFeed(url, token, book), (LIMITS.symbols_per_connection, LIMITS.max_connections)
    async with WebSocketPool(feed, max_symbols=sizes[0], max_connections=sizes[1]) as pool:
        with pool.ticks() as ticks:
            pool.subscribe(symbols, Mode.QUOTE)
            try:
                async with asyncio.timeout(seconds):
                    async for tick in ticks:
                        print(f"{tick.instrument} {tick.ltp:.2f}", flush=True)
            except TimeoutError:
                print(pool.get_pool_stats()["websocket"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("symbols", nargs="+", metavar="EXCHANGE:SYMBOL")
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    asyncio.run(watch(arguments.url, os.environ["ACME_TOKEN"], arguments.symbols, arguments.seconds))
