"""An adapter for a broker that the project does not know: "Acme", which is made up, with a wire of its own.

Acme is dialled with `Authorization: Bearer TOKEN`. It takes JSON, `{"do": "add" | "set" | "remove", "what":
"price" | "day", "ids": [..]}`, and answers with binary messages of records and with JSON texts. A record is
one letter and big-endian integers, prices in paise:

    P  id u32, price i64                                                 13 bytes
    D  id u32, price, open, high, low, previous close i64, volume u64    53 bytes

An empty binary message is a heartbeat, `{"error": text}` a refusal. It closes with 4001 when the token is not
valid any more, and with 4002 when another socket of the account took the place of this one.

    ACME_TOKEN=... python examples/own_broker.py wss://feed.acme.example --seconds 10 NSE:INFY
"""

from __future__ import annotations

import argparse
import asyncio
import os
import struct
from collections.abc import Mapping, Sequence

import msgspec

from brokerpool import (
    Credentials,
    Instrument,
    Login,
    Mode,
    QuoteTick,
    RateWindow,
    Tick,
    TokenBook,
    WebSocketPool,
)
from brokerpool.brokers.account import Account, Endpoint
from brokerpool.brokers.limits import FeedLimits
from brokerpool.brokers.wire import LONGEST_TEXT, ControlBatch, Farewell, Signal, SignalKind, Wire
from brokerpool.instruments import Token

# Every figure with where it comes from and the day on which it was looked up. This broker is made up, and so
# are they; write down what your broker publishes, and say "ours" where it publishes nothing.
LIMITS = FeedLimits(
    symbols_per_connection=500,  # Acme API guide, "Streaming", 2026-11-25
    max_connections=2,  # Acme API guide, "Streaming": per account, 2026-11-25
    batch_size=100,  # Acme API guide, "Messages": ids in one message, 2026-11-25
    control_messages=(RateWindow(5, 1.0),),  # Acme API guide, "Messages", 2026-11-25
    account_messages=(RateWindow(10, 1.0),),  # ours: the broker states none, 2026-11-25
    pings_counted=False,  # ours: the broker states nothing, 2026-11-25
    dials=(RateWindow(2, 1.0), RateWindow(30, 60.0)),  # ours: the broker states none, 2026-11-25
    socket_life_seconds=0.0,  # Acme API guide, "Streaming": no end, 2026-11-25
    silence_seconds=10.0,  # Acme API guide, "Streaming": a heartbeat every 3 s, 2026-11-25
    depth_levels=0,  # Acme has no order book
)

_PRICE = struct.Struct(">Iq")
_DAY = struct.Struct(">IqqqqqQ")
_PAISE = 100


class AcmeWire(Wire):
    """Reads and writes the messages of one socket."""

    def __init__(self) -> None:
        self.skipped = {"unknown_id": 0, "malformed": 0}
        self.signals: list[Signal] = []

    def requests(self, batch: ControlBatch) -> list[str]:
        """Return removals first, so that there is room for what is added."""
        messages = []
        if batch.drop:
            messages.append(_message("remove", batch.drop))
        for action, part in (("add", batch.add), ("set", batch.remode)):
            for what in ("price", "day"):
                ids = [token for token, mode in part.items() if _name(mode) == what]
                if ids:
                    messages.append(_message(action, ids, what))
        return messages

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Return the ticks of one message; from the first malformed record on, nothing can be told apart."""
        ticks: list[Tick] = []
        at, end = 0, len(payload)
        while at < end:
            kind = payload[at]
            layout = {0x50: _PRICE, 0x44: _DAY}.get(kind)
            if layout is None or at + 1 + layout.size > end:
                self.skipped["malformed"] += 1
                break
            token, price, *day = layout.unpack_from(payload, at + 1)
            at += 1 + layout.size
            instrument = routes.get(token)
            if instrument is None:
                self.skipped["unknown_id"] += 1
            elif layout is _PRICE:
                ticks.append(Tick(instrument, price / _PAISE, received_ms))
            else:
                ticks.append(_quote(instrument, price, day, received_ms))
        return ticks

    def text(self, message: str, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        """Classify one text; what is no JSON object is told as unknown."""
        try:
            said = msgspec.json.decode(message)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            return super().text(message, routes, received_ms)
        if "error" in said:
            self.signals.append(Signal(SignalKind.REFUSED, str(said["error"])[:LONGEST_TEXT]))
        else:
            self.signals.append(Signal(SignalKind.TOLD, message[:LONGEST_TEXT]))
        return []

    def farewell(self, code: int, reason: str) -> Farewell:
        """Tell a dead token and an eviction from a line that broke."""
        return {4001: Farewell.CREDENTIALS, 4002: Farewell.EVICTED}.get(code, Farewell.LOST)


class AcmeFeed(Account):
    """One account's feed; `repr` and errors never show the token."""

    name = "acme"

    def __init__(self, url: str, token: str, book: TokenBook, *, limits: FeedLimits = LIMITS) -> None:
        self.login = Login(Credentials(token))
        self.book = book
        self.limits = limits
        self._url = url

    async def endpoint(self) -> Endpoint:
        """Return the address with the present token: this is asked for before every dial."""
        token = self.login.credentials.access_token
        return Endpoint(self._url, {"Authorization": f"Bearer {token}"})

    def wire(self) -> AcmeWire:
        """Return a new wire for a new socket."""
        return AcmeWire()

    def __repr__(self) -> str:
        return f"<AcmeFeed {len(self.book)} instruments>"


def _name(mode: Mode) -> str:
    # A mode that the broker does not have becomes the richest one that it has.
    return "price" if mode is Mode.LTP else "day"


def _message(action: str, ids: Sequence[Token], what: str | None = None) -> str:
    message: dict[str, object] = {"do": action, "ids": list(ids)}
    if what is not None:
        message["what"] = what
    return msgspec.json.encode(message).decode()


def _quote(instrument: Instrument, price: int, day: Sequence[int], received_ms: int) -> QuoteTick:
    open_, high, low, close, volume = day
    return QuoteTick(
        instrument,
        price / _PAISE,
        received_ms,
        open_ / _PAISE,
        high / _PAISE,
        low / _PAISE,
        close / _PAISE,
        volume,
        change=(price - close) / _PAISE,
        change_percent=(price - close) * 100 / close if close else 0.0,
    )


async def watch(url: str, token: str, symbols: Sequence[str], seconds: float) -> None:
    """Print the ticks of the symbols for `seconds`."""
    # A real adapter reads the broker's instrument list; here the first symbol has the id 1, and so on.
    book = TokenBook((Instrument.parse(symbol), number) for number, symbol in enumerate(symbols, 1))
    async with WebSocketPool(
        AcmeFeed(url, token, book),
        max_symbols=LIMITS.symbols_per_connection,
        max_connections=LIMITS.max_connections,
    ) as pool:
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
