"""The scripted broker's account as a pool sees it: symbols, limits, a login and a trivial wire format."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from brokerpool.brokers.account import Account, Endpoint
from brokerpool.brokers.limits_file import FeedLimits, RateWindow
from brokerpool.brokers.login import Credentials, Login, Provider
from brokerpool.brokers.wire import ControlBatch, Farewell, Signal, SignalKind, Wire
from brokerpool.instruments import Instrument, Token, TokenBook
from brokerpool.testing.wire_dialect import Dialect, Heard, Message, Quote
from brokerpool.ticks import DepthTick, Mode, QuoteTick, Tick

HEARTBEAT = b"\0"
#: Close codes of this broker.
EVICTED, LOGGED_OUT = 4001, 4003

#: One tick on the wire: token, mode, the symbol's running number, the exchange's time in milliseconds.
_PACKET = struct.Struct(">IBIq")

LIMITS = FeedLimits(
    symbols_per_connection=12,
    max_connections=3,
    batch_size=5,
    control_messages=(RateWindow(4, 1.0),),
    account_messages=(RateWindow(8, 1.0),),
    pings_counted=False,
    dials=(RateWindow(2, 1.0), RateWindow(20, 60.0)),
    socket_life_seconds=0.0,
    silence_seconds=5.0,
    depth_levels=5,
)


#: What the first word of a text says; all else is told.
_SIGNALS = {
    "error": SignalKind.REFUSED,
    "refused": SignalKind.REFUSED,
    "ready": SignalKind.READY,
    "denied": SignalKind.LOGIN_REFUSED,
}


def packet(token: int, mode: Mode, number: int, at_ms: int) -> bytes:
    """Return one tick as the broker sends it; a message is any number of these."""
    return _PACKET.pack(token, mode, number, at_ms)


def number_of(tick: Tick) -> int:
    """Return the running number that the broker gave the tick, so that missed ones can be counted."""
    return int(tick.ltp)


class ScriptedWire(Wire):
    """Reads and writes the wire format; with a `login` it says that first, and waits for the answer."""

    def __init__(self, login: str = "", *, beats: bool = False) -> None:
        self.skipped = {"unknown_token": 0, "malformed": 0}
        self.signals: list[Signal] = []
        self._login = login
        self._beats = beats

    def hello(self) -> list[str]:
        """Return the login, where one is to be said."""
        return [f"login {self._login}"] if self._login else []

    def heartbeat(self) -> str:
        """Return the sign of life, where the broker wants one."""
        return "beat" if self._beats else ""

    def requests(self, batch: ControlBatch) -> list[str]:
        """Return one message for each part of the batch: first what is dropped, then the rest."""
        parts = [f"drop {' '.join(map(str, batch.drop))}"] if batch.drop else []
        for verb, modes in (("add", batch.add), ("mode", batch.remode)):
            if modes:
                parts.append(f"{verb} {' '.join(f'{token}:{mode:d}' for token, mode in modes.items())}")
        return parts

    def parts(self, message: str | bytes) -> list[str | bytes]:
        """Return a message of several packets as messages of one."""
        return [message[n : n + _PACKET.size] for n in range(0, len(message), _PACKET.size)]

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Return the ticks of one message; a heartbeat has none."""
        if len(payload) % _PACKET.size:
            self.skipped["malformed"] += payload != HEARTBEAT
            return []
        ticks: list[Tick] = []
        for token, mode, number, at_ms in _PACKET.iter_unpack(payload):
            instrument = routes.get(token)
            if instrument is None:
                self.skipped["unknown_token"] += 1
            elif mode == Mode.LTP:
                ticks.append(Tick(instrument, float(number), received_ms))
            elif mode == Mode.QUOTE:
                ticks.append(
                    QuoteTick(instrument, float(number), received_ms, volume=self.volume(number, at_ms))
                )
            else:
                ticks.append(DepthTick(instrument, float(number), at_ms, volume=self.volume(number, at_ms)))
        return ticks

    def volume(self, number: int, at_ms: int) -> int:
        """Return the day's volume that a packet with this running number and time stands for."""
        return number

    def text(self, message: str, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        """Classify one text message."""
        verb, _, rest = message.partition(" ")
        named, _, reason = rest.partition(": ")
        tokens = [int(word) for word in named.split() if word.isdecimal()] if verb == "refused" else []
        self.signals.append(
            Signal(_SIGNALS.get(verb, SignalKind.TOLD), reason if tokens else message, tokens)
        )
        return []

    def farewell(self, code: int, reason: str) -> Farewell:
        """Classify the end of the socket by its close code."""
        return {EVICTED: Farewell.EVICTED, LOGGED_OUT: Farewell.CREDENTIALS}.get(code, Farewell.LOST)


class ScriptedDialect(Dialect):
    """The broker's side of the wire format; it `greets` where it wants to hear a login first."""

    evicted_code = EVICTED
    logged_out_code = LOGGED_OUT

    def __init__(self, *, greets: bool = False) -> None:
        self._greets = greets

    def read(self, message: Message) -> Heard:
        """Return what a text asks for."""
        if not isinstance(message, str):
            raise ValueError("binary messages are not understood")
        verb, *words = message.split()
        if verb == "login":
            return Heard(login=words[0])
        if verb == "beat":
            return Heard(heartbeat=True)
        if verb == "drop":
            return Heard(drop=[int(word) for word in words])
        pairs = [word.split(":") for word in words]
        modes: dict[Token, Mode] = {int(token): Mode(int(mode)) for token, mode in pairs}
        return Heard(add=modes) if verb == "add" else Heard(remode=modes)

    def ticks(self, quotes: Sequence[Quote], at_ms: int) -> list[bytes]:
        """Return one message with a packet for each quote."""
        return [b"".join(packet(int(token), mode, number, at_ms) for token, mode, number in quotes)]

    def heartbeat(self) -> bytes:
        """Return the broker's sign of life."""
        return HEARTBEAT

    def ready(self) -> str | None:
        """Return the answer to a login."""
        return "ready" if self._greets else None

    def login_refused(self) -> str:
        """Return the refusal of a login."""
        return "denied"

    def refused(self, tokens: Sequence[Token], reason: str) -> str:
        """Return the refusal of tokens by name."""
        return f"refused {' '.join(map(str, tokens))}: {reason}"


class ScriptedFeed(Account):
    """One account with `symbols` listed instruments, whose tokens are 1, 2, 3 and so on.

    With `greets` its token is said on the open socket, else it is a header of the dial.
    """

    def __init__(
        self,
        symbols: int,
        provider: Provider | None = None,
        *,
        random: Random,
        greets: bool = False,
        **limits: Any,  # noqa: ANN401  (a figure's own type)
    ) -> None:
        """`limits` replace single figures of LIMITS; `random` is the seed's, so that a scenario replays."""
        self.name = "scripted"
        self.limits = replace(LIMITS, **limits)
        self.instruments = [Instrument("NSE", f"S{number:03}") for number in range(1, symbols + 1)]
        self.book = TokenBook((instrument, n) for n, instrument in enumerate(self.instruments, 1))
        self.login = Login(Credentials("day-1"), provider, random=random)
        self.greets = greets

    async def endpoint(self) -> Endpoint:
        """Return an address that carries the present token."""
        token = self.login.credentials.access_token
        return Endpoint("scripted://broker/", {} if self.greets else {"token": token})

    def wire(self) -> ScriptedWire:
        """Return a new wire for a new socket."""
        login = self.login.credentials.access_token if self.greets else ""
        return ScriptedWire(login, beats=self.limits.heartbeat_seconds > 0)

    def dialect(self) -> ScriptedDialect:
        """Return the broker's side of a new socket."""
        return ScriptedDialect(greets=self.greets)
