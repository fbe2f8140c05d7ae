"""Where the ticks come from: the market or a tape; each packet is encoded once for all who listen."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Protocol

from brokerpool.simulator.account_state import OpenSocket, Venue
from brokerpool.simulator.broker_interface import Wire
from brokerpool.simulator.exchange import Market, Quote
from brokerpool.simulator.listed_instruments import MOST_LISTINGS
from brokerpool.simulator.recording import TapeReader
from brokerpool.simulator.tick_rate import Metronome
from brokerpool.ticks import Mode

logger = logging.getLogger("brokerpool.simulator")

_STEP_TICKS = 500
_DRAIN_SECONDS = 1.0

_TAPE_BATCH = 256
#: Between the end of a tape and its next start: also an empty tape leaves time for everything else.
_TAPE_PAUSE_SECONDS = 0.010


class SecondFeed(Protocol):
    """Another feed of the same market, with sockets of its own."""

    def traded(self, quote: Quote) -> None:
        """Keep what the feed says of a trade; the quote changes with the next one."""
        ...

    def flush(self) -> None:
        """Send what was kept."""
        ...


class MarketBroadcast:
    """Sends what the market trades, at the metronome's rate and whenever `trade` is called."""

    #: What is told of each trade besides.
    second: SecondFeed | None = None

    def __init__(self, market: Market, metronome: Metronome, wire: Wire) -> None:
        self._market = market
        self._wire = wire
        self._metronome = metronome

    def report(self) -> dict[str, int]:
        """Return the trades so far, and those that were left out because the process stood still."""
        return {"market_ticks": self._market.ticks, "ticks_forgone": self._metronome.forgone}

    def lists(self, token: int) -> bool:
        """Tell whether a token may be subscribed to."""
        return token in self._market.quotes

    def last_record(self, token: int, mode: Mode) -> bytes | None:
        """Return the token's packet as it stands."""
        return self._wire.record(self._market.quotes[token], mode)

    def trade(self, venue: Venue, ticks: int) -> None:
        """Let the market trade and send what it says: one frame for every socket that listens."""
        listeners_of, record, second = venue.audience.listeners, self._wire.record, self.second
        reached: set[OpenSocket] = set()
        for quote in self._market.advance(ticks):
            if second is not None:
                second.traded(quote)
            listeners = listeners_of.get(quote.token)
            if not listeners:
                continue
            if len(listeners) == 1:
                for socket, mode in listeners.items():
                    socket.put(quote.token, record(quote, mode))
            else:
                encoded = self._wire.records(quote, set(listeners.values()))
                for socket, mode in listeners.items():
                    for packet in encoded[mode]:
                        socket.put(quote.token, packet)
            reached.update(listeners)
        for socket in reached:
            socket.flush()
        if second is not None:
            second.flush()

    async def step(self, venue: Venue, ticks: int) -> None:
        """Let the market trade `ticks` times now; clients that do not read hold this up, a second at most."""
        patience = asyncio.get_running_loop().time() + _DRAIN_SECONDS
        while ticks > 0:
            now = min(ticks, _STEP_TICKS)
            self.trade(venue, now)
            ticks -= now
            await asyncio.sleep(0)
            if venue.full:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(patience):
                        await venue.room.wait()

    async def run(self, venue: Venue) -> None:
        """Keep the rate until cancelled."""
        loop = asyncio.get_running_loop()
        metronome = self._metronome
        metronome.start(loop.time())
        while metronome.rate:
            await asyncio.sleep(metronome.next_at() - loop.time())
            ticks = metronome.due(loop.time())
            if ticks:
                self.trade(venue, ticks)


class TapeBroadcast:
    """Sends recorded frames at their times, once or over and over; any token may be subscribed to."""

    def __init__(self, tape: TapeReader, repeat: bool, wire: Wire) -> None:
        self._tape = tape
        self._wire = wire
        self._repeat = repeat
        self._latest: dict[int, bytes] = {}
        self._played = 0

    def report(self) -> dict[str, int]:
        """Return the packets played so far."""
        return {"replayed_packets": self._played}

    def lists(self, token: int) -> bool:
        """Tell whether a token may be subscribed to: a tape does not know what else it contains."""
        return True

    def last_record(self, token: int, mode: Mode) -> bytes | None:
        """Return the token's last packet in a mode, None before its first."""
        packet = self._latest.get(token)
        return self._wire.trimmed(packet, mode) if packet is not None else None

    def play(self, venue: Venue, message: bytes) -> None:
        """Send the packets of one recorded frame, each in the mode that its listeners want."""
        wire, reached = self._wire, set[OpenSocket]()
        for packet in wire.packets(message):
            token = wire.packet_token(packet)
            if token is None:
                continue
            self._played += 1
            if token in self._latest or len(self._latest) < MOST_LISTINGS:
                self._latest[token] = packet
            listeners = venue.audience.listeners.get(token, {})
            for socket, mode in listeners.items():
                socket.put(token, wire.trimmed(packet, mode))
            reached.update(listeners)
        for socket in reached:
            socket.flush()

    async def run(self, venue: Venue) -> None:
        """Play the tape until its end, or until cancelled; closes it."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                started, before = loop.time(), self._played
                while batch := await asyncio.to_thread(self._tape.take, _TAPE_BATCH):
                    for recorded in batch:
                        await asyncio.sleep(started + recorded.ms / 1000.0 - loop.time())
                        self.play(venue, recorded.frame)
                if not self._repeat or self._played == before:
                    break
                await asyncio.sleep(_TAPE_PAUSE_SECONDS)
            logger.info(
                "the tape has ended: %d packets played, %d damaged lines skipped",
                self._played,
                self._tape.bad_lines,
            )
        finally:
            self._tape.close()
