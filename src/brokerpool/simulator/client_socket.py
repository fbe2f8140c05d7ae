"""One client's WebSocket at the simulated broker: its requests, its ticks, its heartbeat."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from brokerpool.simulator.broker_interface import Subscriptions
from brokerpool.simulator.shared_state import Venue
from brokerpool.transport import Link, LinkHandler

#: A client that does not read gets nothing more once this much waits for it.
HIGH_WATER_BYTES = 1024 * 1024

#: Requests that may wait for the simulated latency.
_INBOX_LIMIT = 10_000
_POLICY_VIOLATION = 1008
_GOING_AWAY = 1001


class ClientSocket(LinkHandler):
    """Serves one client; what it cannot take is dropped and counted, never stored."""

    def __init__(self, number: int, venue: Venue, opened_at: float) -> None:
        self.number = number
        self.opened_at = opened_at
        self.link: Link | None = None
        self._venue = venue
        self._subscriptions = venue.subscriptions()
        self._wire = venue.wire
        self._loop = asyncio.get_running_loop()
        self._last_sent = self._loop.time()
        self._last_heard = self._loop.time()
        self._ends: list[asyncio.TimerHandle] = []
        self._silence: asyncio.TimerHandle | None = None
        self._paused = False
        self._pending: list[bytes] = []
        # Tokens whose last known packet is to be sent: never more than are subscribed to.
        self._owed: dict[int, None] = {}
        # Each request with the time at which it is looked at.
        self._inbox: deque[tuple[float, str | bytes]] = deque()
        self._next: asyncio.TimerHandle | None = None
        # What the last request is answered, and when.
        self._answers: Sequence[bytes] = ()
        self._busy_until = 0.0
        self._held = False
        self._recent: deque[float] = deque(maxlen=_INBOX_LIMIT)
        self._control_messages = 0
        self._frames_sent = 0
        self._ticks_sent = 0
        self._frames_dropped = 0
        self._ticks_dropped = 0
        self._ticks_muted = 0
        self._violations = 0

    # -- what the client does -----------------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        link.limit_buffer(HIGH_WATER_BYTES)
        self.link = link
        sockets = self._venue.sockets
        sockets[self.number] = self
        self._venue.ledger.peak_sockets = max(self._venue.ledger.peak_sockets, len(sockets))
        for message in self._venue.greeting():
            self._send(message)
        life_ms = self._venue.faults.life_ms
        if life_ms is not None:
            self._ends.append(self._loop.call_later(life_ms / 1000.0, link.close, _GOING_AWAY))
        if self._venue.login is not None:
            self._ends.append(self._loop.call_later(self._venue.login.seconds, self._end_stranger))
        self._last_heard = self._loop.time()
        self._judge_silence()
        if self._loop.time() < self._venue.held_until:
            self.hold(True)

    def text(self, message: str) -> None:
        self._take(message)

    def binary(self, message: bytes | memoryview) -> None:
        self._take(bytes(message))

    def control_frame(self, *, answered: bool) -> None:
        self._last_heard = self._loop.time()

    def paused(self) -> None:
        self._paused = True
        self._venue.full.add(self)
        self._venue.room.clear()

    def resumed(self) -> None:
        self._paused = False
        self._make_room()
        self._send_owed()

    def closed(self, code: int, reason: str) -> None:
        for timer in (*self._ends, self._next, self._silence):
            if timer is not None:
                timer.cancel()
        self._venue.sockets.pop(self.number, None)
        self._make_room()
        for token in self._subscriptions.modes:
            self._venue.audience.remove(token, self)
        self._inbox.clear()
        self._owed.clear()
        self._pending.clear()

    # -- what the broker does -----------------------------------------------------------------------------

    def put(self, token: int, record: bytes) -> None:
        """Keep a packet for the next flush."""
        if self._owed:
            self._owed.pop(token, None)
        muted = self._venue.faults.mute is not None and token in self._venue.faults.muted_tokens(self.number)
        if muted or self._held:
            self._ticks_muted += 1
            self._venue.ledger.ticks_muted += 1
            return
        self._pending.append(record)

    def flush(self) -> None:
        """Send the kept packets in one frame, in several when they are more than the wire puts in one."""
        records = self._pending
        if not records:
            return
        self._pending = []
        ledger = self._venue.ledger
        if self.link is None or self.link.closed:
            return
        if self._venue.faults.muted(self.number):
            self._ticks_muted += len(records)
            ledger.ticks_muted += len(records)
            return
        most = self._wire.PACKETS_PER_FRAME
        for start in range(0, len(records), most):
            chunk = records[start : start + most]
            if self._paused:
                self._frames_dropped += 1
                self._ticks_dropped += len(chunk)
                ledger.frames_dropped += 1
                ledger.ticks_dropped += len(chunk)
                continue
            kind = self._venue.faults.malformation()
            self._send(self._wire.frame(chunk) if kind is None else self._wire.malformed(kind, chunk))
            self._ticks_sent += len(chunk)
            ledger.ticks_sent += len(chunk)

    def tell(self, message: bytes, concerns: Callable[[Subscriptions], bool]) -> None:
        """Send a text message that is no tick, if it `concerns` what the client asked for."""
        if not concerns(self._subscriptions) or self._venue.faults.muted(self.number):
            return
        if self._held:
            self._answers = (*self._answers, message)
        else:
            self.say(message)

    def hold(self, held: bool) -> None:
        """Neither read from the client nor send it ticks, until the opposite is said."""
        self._held = held
        if self.link is not None and held:
            self.link.pause_reading()
        elif self.link is not None:
            self.link.resume_reading()
            self._go_on()

    def beat(self, now: float, interval: float) -> float:
        """Send a heartbeat when nothing was sent for `interval` seconds; return when to ask again."""
        if now - self._last_sent < interval:
            return self._last_sent + interval
        if not self._paused and not self._venue.faults.silent(self.number):
            self._send(self._wire.HEARTBEAT)
        return now + interval

    def report(self) -> dict[str, Any]:
        """Return what this socket carries and has done, ready for JSON."""
        return {
            "id": self.number,
            "peer": self.link.peer if self.link else None,
            "opened": self.opened_at,
            "tokens": self._subscriptions.report(),
            "entries": self._subscriptions.entries,
            "control_messages": self._control_messages,
            "violations": self._violations,
            "ticks_sent": self._ticks_sent,
            "frames_sent": self._frames_sent,
            "ticks_dropped": self._ticks_dropped,
            "frames_dropped": self._frames_dropped,
            "ticks_muted": self._ticks_muted,
            "buffered_bytes": self.link.buffered if self.link else 0,
            "muted": self._venue.faults.muted(self.number),
        }

    # -- inside -------------------------------------------------------------------------------------------

    def _make_room(self) -> None:
        self._venue.full.discard(self)
        if not self._venue.full:
            self._venue.room.set()

    def _take(self, message: str | bytes) -> None:
        self._last_heard = self._loop.time()
        self._count_request()
        if len(self._inbox) < _INBOX_LIMIT:
            self._inbox.append((self._loop.time() + self._venue.faults.latency_ms / 1000.0, message))
            self._go_on()
        elif self.link is not None:
            self.link.close(_POLICY_VIOLATION, f"more than {_INBOX_LIMIT} requests waiting")

    def _count_request(self) -> None:
        now = self._loop.time()
        recent, ledger = self._recent, self._venue.ledger
        recent.append(now)
        while recent[0] < now - 1.0:
            recent.popleft()
        self._control_messages += 1
        ledger.control_messages += 1
        ledger.peak_control_messages_per_second = max(ledger.peak_control_messages_per_second, len(recent))

    def _go_on(self) -> None:
        """Answer what is to be answered by now, one request after the other."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        while self.link is not None and not self.link.closed:
            now, busy = self._loop.time(), max(self._busy_until, self._venue.held_until)
            if now >= busy:
                for answer in self._answers:
                    self._send_answer(answer)
                self._answers = ()
                if not self._inbox:
                    return
            due = max(busy, self._inbox[0][0] if self._inbox else 0.0)
            if now < due:
                self._next = self._loop.call_at(due, self._go_on)
                return
            self._carry_out(self._inbox.popleft()[1])

    def _end_stranger(self) -> None:
        grace = self._venue.login
        if grace is not None and self.link is not None and not self._subscriptions.logged_in:
            self.link.close(grace.code, grace.reason)

    def _judge_silence(self) -> None:
        """Close the socket of a client that has said nothing for too long, else look again when it would."""
        grace = self._venue.silence
        if grace is None or self.link is None or self.link.closed:
            return
        due = self._last_heard + grace.seconds
        if self._loop.time() < due:
            self._silence = self._loop.call_at(due, self._judge_silence)
        else:
            self._venue.ledger.violations["silence"] += 1
            self.link.close(grace.code, grace.reason)

    def _carry_out(self, message: str | bytes) -> None:
        outcome = self._subscriptions.handle(message)
        self._answers = outcome.answers
        self._busy_until = self._loop.time() + outcome.after
        if outcome.alone:
            self._venue.hold(outcome.after)
        ledger, audience = self._venue.ledger, self._venue.audience
        ledger.largest_batch = max(ledger.largest_batch, self._subscriptions.largest_batch)
        if outcome.over_limit:
            self._violations += 1
            ledger.violations["tokens"] += 1
        if outcome.error is not None:
            ledger.malformed_requests += not outcome.over_limit
            self._send_answer(self._wire.error(outcome.error))
            return
        for token in outcome.removed:
            audience.remove(token, self)
            self._owed.pop(token, None)
        for token in itertools.chain(outcome.added, outcome.remoded):
            audience.put(token, self, self._subscriptions.modes[token])
            if self._venue.snapshot:
                self._owed[token] = None
        ledger.peak_tokens_per_socket = max(ledger.peak_tokens_per_socket, len(self._subscriptions.modes))
        if self._owed:
            # After the requests that have arrived together: a subscribe and its mode give one packet.
            self._loop.call_soon(self._send_owed)

    def _send_answer(self, message: bytes) -> None:
        if message and not self._venue.faults.silent(self.number):
            self.say(message)

    def say(self, text: bytes) -> None:
        """Send a text message, also one that nobody asked for; a client that does not read gets none."""
        # Also answers are not stored for a client that sends and never reads.
        if not self._paused and self.link is not None:
            self.link.send_text(text)
            self._last_sent = self._loop.time()

    def _send_error(self, text: str) -> None:
        self.say(self._wire.error(text))

    def _send_owed(self) -> None:
        if self._venue.faults.muted(self.number):
            self._owed.clear()
        for token in self._venue.faults.muted_tokens(self.number):
            self._owed.pop(token, None)
        while self._owed and not self._paused:
            tokens = list(itertools.islice(self._owed, self._wire.PACKETS_PER_FRAME))
            records = []
            for token in tokens:
                del self._owed[token]
                record = self._venue.source.last_record(token, self._subscriptions.modes[token])
                if record is not None:
                    records.append(record)
            if records:
                self._venue.ledger.snapshots_sent += len(records)
                self._send(self._wire.frame(records))

    def _send(self, message: bytes) -> None:
        if self.link is not None:
            if self._wire.TEXT:
                self.link.send_text(message)
            else:
                self.link.send_binary(message)
            self._last_sent = self._loop.time()
            self._frames_sent += 1
            self._venue.ledger.frames_sent += 1
