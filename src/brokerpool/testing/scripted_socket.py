"""The scripted broker's end of one connection: what it serves there, and what can be done to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.wire import Farewell
from brokerpool.instruments import Token
from brokerpool.testing.scripted_network import FarEnd, ScriptedLink
from brokerpool.testing.traffic_ledger import Ledger, WindowCheck
from brokerpool.testing.wire_dialect import Dialect, Heard, Message, Quote
from brokerpool.ticks import Mode
from brokerpool.transport.frames import POLICY_VIOLATION


class Venue(Protocol):
    """What a socket asks of its broker, and tells it; see `ScriptedBroker`."""

    limits: FeedLimits
    ledger: Ledger
    #: The messages of the whole account.
    messages: WindowCheck
    snapshots: bool
    muted: set[Token]
    refused: dict[Token, Mode]
    deaf: bool
    now: Callable[[], float]
    wall_clock: Callable[[], float]

    def number(self, token: Token, seconds_ago: float = 0.0) -> int: ...
    def refuses(self, token: Token, mode: Mode) -> bool: ...
    def greet(self, socket: Socket, login: str) -> None: ...
    def lose_patience(self, socket: Socket) -> None: ...
    def remove(self, socket: Socket) -> None: ...


class Socket(FarEnd):
    """The broker's end of one connection."""

    def __init__(self, broker: Venue, number: int, link: ScriptedLink, token: str, dialect: Dialect) -> None:
        self._broker = broker
        self._dialect = dialect
        self.number = number
        self.link = link
        #: The access token with which it was dialled; empty until the login, where one is said on the socket.
        self.token = token
        self.tokens: dict[Token, Mode] = {}
        #: The last running number that each token has had here.
        self.last: dict[Token, int] = {}
        self.messages = WindowCheck(broker.limits.control_messages)
        #: Heartbeats and answers to pings, but no ticks.
        self.mute = False
        self.open = False
        #: True once symbols may be asked for.
        self.ready = dialect.ready() is None
        #: When the pool's last sign of life left; None until it knows that the socket is ready.
        self.beat_at: float | None = broker.now() if self.ready else None

    # -- what the pool does -------------------------------------------------------------------------------

    def sent(self, message: Message) -> Heard:
        self._count(message if isinstance(message, str) else message.hex(), judged=True)
        try:
            heard = self._dialect.read(message)
        except ValueError as error:
            self._violate(f"is told what it does not understand: {error}")
            return Heard()
        named = len(heard.drop) + len(heard.add) + len(heard.remode)
        if named > self._broker.limits.batch_size:
            self._violate(f"is told of {named} tokens in one message")
        if heard.heartbeat:
            self.beat_at = self._broker.now()
        return heard

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

    def heard(self, heard: Heard) -> None:
        if not self.open:
            return
        if heard.login:
            self._broker.greet(self, heard.login)
        if not self.ready and (heard.drop or heard.add or heard.remode):
            self._violate("is asked for symbols before it is ready")
        for token in heard.drop:
            self.tokens.pop(token, None)
            self.last.pop(token, None)
        refused = [token for token, mode in heard.add.items() if not self._serve(token, mode, new=True)]
        refused += [token for token, mode in heard.remode.items() if not self._serve(token, mode, new=False)]
        if refused and (answer := self._dialect.refused(refused, "not in your plan")) is not None:
            self.say(answer)

    def _serve(self, token: Token, mode: Mode, *, new: bool) -> bool:
        """Serve a token in this mode from now on; return False when it is refused."""
        broker = self._broker
        if broker.refuses(token, mode):
            return False
        if token not in self.tokens and not new:
            if token in broker.refused:
                return False  # it was, in a mode before, and the pool could not know of it yet
            self._violate(f"is told the mode of {token}, which is not subscribed")
        elif not self._fits(token, mode):
            self._violate(f"has no room for {token} in {mode.label}, beside {len(self.tokens)} others")
        elif token in self.tokens:
            self.tokens[token] = mode
        else:
            self._add(token, mode)
        return True

    def _fits(self, token: Token, mode: Mode) -> bool:
        """Tell whether the broker's rule allows the token in the mode besides the others."""
        counts = [0, 0, 0, 0]
        for carried in (self.tokens | {token: mode}).values():
            counts[carried] += 1
        return self._broker.limits.capacity.fits(counts)

    def _add(self, token: Token, mode: Mode) -> None:
        broker = self._broker
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

    def say(self, message: Message) -> None:
        """Send one message."""
        self.link.down.send(lambda: self.link.take(message))

    def answer(self, token: str, *, valid: bool) -> None:
        """Answer the login that was said, and end the socket when it is not valid."""
        answer = self._dialect.ready() if valid else self._dialect.login_refused()
        if valid:
            self.token, self.ready = token, True
            self.link.down.send(self._beats_begin)
        if answer is not None:
            self.say(answer)
        if not valid:
            self.end(Farewell.CREDENTIALS, "the login is not valid")

    def _beats_begin(self) -> None:
        self.beat_at = self._broker.now()

    def live_sign(self) -> None:
        """Send the broker's own sign of life."""
        message = self._dialect.heartbeat()
        if message is None:
            self.link.down.send(self.link.take_ping)
        else:
            self.say(message)

    def judge_beat(self) -> None:
        """End a socket whose program has given no sign of life for longer than it may."""
        period = self._broker.limits.heartbeat_seconds
        if self.beat_at is None or not period or self.link.closed:
            return
        late = self._broker.now() - self.beat_at
        if late > period:
            self._violate(f"has had no sign of life for {late:.3f} s")
            self.close(POLICY_VIOLATION, "no heartbeat")

    def tell_ticks(self, ticks: list[tuple[Token, int]]) -> None:
        """Send these tokens' running numbers, in one message where the broker does so."""
        ledger, at_ms = self._broker.ledger, int(self._broker.wall_clock() * 1000)
        quotes = [Quote(token, self.tokens[token], number) for token, number in ticks]
        messages = self._dialect.ticks(quotes, at_ms)

        def arrive() -> None:
            now = self._broker.now()
            if arrival is None or arrival < now:
                ledger.arrive(ticks, now)
                ledger.held.update(ticks)
            for message in messages:
                self.link.take(message)

        arrival = self.link.down.send(arrive)
        if arrival is not None:
            ledger.arrive(ticks, arrival)

    def end(self, why: Farewell, reason: str) -> None:
        """End the socket as the broker does for such a cause: with its last words, and with its code."""
        dialect = self._dialect
        if (words := dialect.last_words(why)) is not None:
            self.say(words)
        code = dialect.evicted_code if why is Farewell.EVICTED else dialect.logged_out_code
        self.close(code or POLICY_VIOLATION, reason)

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

    def _violate(self, what: str) -> None:
        self._broker.ledger.violate(self._broker.now(), f"socket {self.number} {what}")
