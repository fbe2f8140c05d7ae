"""The scripted broker's end of one connection: what it serves there, and what can be done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerpool.testing.ledger import WindowCheck
from brokerpool.testing.scripted_feed import packet
from brokerpool.testing.scripted_link import FarEnd, ScriptedLink
from brokerpool.ticks import Mode

if TYPE_CHECKING:
    from brokerpool.testing.scripted_broker import ScriptedBroker


class Socket(FarEnd):
    """The broker's end of one connection."""

    def __init__(self, broker: ScriptedBroker, number: int, link: ScriptedLink, token: str) -> None:
        self._broker = broker
        self.number = number
        self.link = link
        #: The access token with which it was dialled.
        self.token = token
        self.tokens: dict[int, Mode] = {}
        #: The last running number that each token has had here.
        self.last: dict[int, int] = {}
        self.messages = WindowCheck(broker.limits.control_messages)
        #: Heartbeats and answers to pings, but no ticks.
        self.mute = False
        self.open = False

    # -- what the pool does -------------------------------------------------------------------------------

    def sent(self, text: str) -> None:
        self._count(text, judged=True)

    def pinged(self, *, answer: bool) -> None:
        # An answer leaves when the broker's ping comes: the pool must make room for it, and cannot delay it.
        if self._broker.limits.pings_counted:
            self._count("pong" if answer else "ping", judged=not answer)

    def _count(self, what: str, *, judged: bool) -> None:
        broker, now = self._broker, self._broker.now()
        broker.ledger.messages += 1
        broker.ledger.say(now, f"socket {self.number} is told {what}")
        for check, whose in ((self.messages, f"socket {self.number}"), (broker.messages, "the account")):
            window = check.count(now)
            if window and judged:
                broker.ledger.violate(now, f"more than {window} control messages of {whose}")

    def text(self, text: str) -> None:
        verb, *words = text.split()
        if not self.open:
            return
        for word in words:
            token, _, mode = word.partition(":")
            if verb == "drop":
                self.tokens.pop(int(token), None)
                self.last.pop(int(token), None)
            elif int(token) in self.tokens:
                self.tokens[int(token)] = Mode(int(mode))
            elif verb == "mode":
                self._broker.ledger.violate(self._broker.now(), f"mode of {token}, which is not subscribed")
            else:
                self._add(int(token), Mode(int(mode)))

    def _add(self, token: int, mode: Mode) -> None:
        broker, now = self._broker, self._broker.now()
        if len(self.tokens) >= broker.limits.symbols_per_connection:
            broker.ledger.violate(now, f"too many tokens on socket {self.number}")
            self.link.down.send(lambda: self.link.take_text(f"error: no more than {len(self.tokens)} tokens"))
            return
        self.tokens[token] = mode
        self.last[token] = number = broker.number(token)
        broker.ledger.peak_tokens = max(broker.ledger.peak_tokens, len(self.tokens))
        if broker.snapshots and not (self.mute or token in broker.muted):
            broker.ledger.snapshots[token, number] += 1
            self.tell_ticks([(token, number)])

    def ping(self) -> None:
        self.link.down.send(self.link.take_pong)

    def goodbye(self) -> None:
        if self.open and not self._broker.deaf:
            self.link.down.send(lambda: self.link.take_close(1000, ""))
            self._broker.remove(self)

    def gone(self) -> None:
        self._broker.remove(self)

    # -- what the broker does -----------------------------------------------------------------------------

    def tell_ticks(self, ticks: list[tuple[int, int]]) -> None:
        """Send one message with these tokens' running numbers."""
        ledger, at_ms = self._broker.ledger, int(self._broker.wall_clock() * 1000)
        message = b"".join(packet(token, self.tokens[token], number, at_ms) for token, number in ticks)

        def arrive() -> None:
            now = self._broker.now()
            if arrival is None or arrival < now:
                ledger.arrive(ticks, now)
                ledger.held.update(ticks)
            self.link.take_binary(message)

        arrival = self.link.down.send(arrive)
        if arrival is not None:
            ledger.arrive(ticks, arrival)

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye with a close frame."""
        self.link.down.send(lambda: self.link.take_close(code, reason))
        self._broker.remove(self)

    def kill(self) -> None:
        """End the TCP connection without a word."""
        self.link.down.send(self.link.take_loss)
        self._broker.remove(self)

    def black_hole(self) -> None:
        """Let nothing through in either direction, and nobody know of it."""
        self.link.up.hold()
        self.link.down.hold()
        self._broker.lose_patience(self)

    def restore(self) -> None:
        """End the black hole and the muteness."""
        self.mute = False
        for pipe in (self.link.up, self.link.down):
            if pipe.held:
                pipe.release()
