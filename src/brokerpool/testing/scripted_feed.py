"""The scripted broker's account as a pool sees it: symbols, limits, a login and a trivial wire format."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

from brokerpool.brokers.account import Account, Endpoint
from brokerpool.brokers.limits import FeedLimits, RateWindow
from brokerpool.brokers.login import Credentials, Login, Provider
from brokerpool.brokers.wire import ControlBatch, Farewell, Signal, SignalKind, Wire
from brokerpool.instruments import Instrument, Token, TokenBook
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


def packet(token: int, mode: Mode, number: int, at_ms: int) -> bytes:
    """Return one tick as the broker sends it; a message is any number of these."""
    return _PACKET.pack(token, mode, number, at_ms)


def number_of(tick: Tick) -> int:
    """Return the running number that the broker gave the tick, so that missed ones can be counted."""
    return int(tick.ltp)


class ScriptedWire(Wire):
    """Reads and writes the wire format; it has no state but its counts."""

    def __init__(self) -> None:
        self.skipped = {"unknown_token": 0, "malformed": 0}
        self.signals: list[Signal] = []

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
                ticks.append(QuoteTick(instrument, float(number), received_ms, volume=number))
            else:
                ticks.append(DepthTick(instrument, float(number), at_ms, volume=number))
        return ticks

    def text(self, message: str, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        """Classify one text message."""
        refused = message.startswith("error")
        self.signals.append(Signal(SignalKind.REFUSED if refused else SignalKind.TOLD, message))
        return []

    def farewell(self, code: int, reason: str) -> Farewell:
        """Classify the end of the socket by its close code."""
        return {EVICTED: Farewell.EVICTED, LOGGED_OUT: Farewell.CREDENTIALS}.get(code, Farewell.LOST)


class ScriptedFeed(Account):
    """One account with `symbols` listed instruments, whose tokens are 1, 2, 3 and so on."""

    def __init__(
        self,
        symbols: int,
        provider: Provider | None = None,
        *,
        random: Random,
        **limits: Any,  # noqa: ANN401  (a figure's own type)
    ) -> None:
        """`limits` replace single figures of LIMITS; `random` is the seed's, so that a scenario replays."""
        self.name = "scripted"
        self.limits = replace(LIMITS, **limits)
        self.instruments = [Instrument("NSE", f"S{number:03}") for number in range(1, symbols + 1)]
        self.book = TokenBook((instrument, n) for n, instrument in enumerate(self.instruments, 1))
        self.login = Login(Credentials("day-1"), provider, random=random)

    async def endpoint(self) -> Endpoint:
        """Return an address that carries the present token."""
        return Endpoint("scripted://broker/", {"token": self.login.credentials.access_token})

    def wire(self) -> ScriptedWire:
        """Return a new wire for a new socket."""
        return ScriptedWire()
