"""The broker's side of a wire, as the author of an adapter describes it: what it reads, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from brokerpool.brokers.wire import SignalKind
from brokerpool.instruments import Token
from brokerpool.ticks import Mode

#: A text message, or a binary one.
Message = str | bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """What one message of the pool's asks of the broker; a message may ask for several things."""

    #: The login that the message carries, or any text that contains the access token.
    login: str = ""
    #: True for a sign of life.
    heartbeat: bool = False
    #: Tokens that are to be served no more.
    drop: Sequence[Token] = ()
    #: Tokens that are to be served from now on, in this mode.
    add: Mapping[Token, Mode] = field(default_factory=dict)
    #: Tokens that are served already and change their mode; where a message does not tell, `add` will do.
    remode: Mapping[Token, Mode] = field(default_factory=dict)


class Quote(NamedTuple):
    """One tick that the broker is to send."""

    token: Token
    mode: Mode
    #: A whole number, in rupees, from 1 up; the other fields of the tick are the author's choice.
    price: int


class Dialect(Protocol):
    """The broker's side of one socket; a new one for each, so that it may keep state.

    Inherit it, and write `read` and `ticks`; the rest is for brokers that have it. The pure half only: who is
    let in, what is served and when it ticks is for the `ScriptedBroker`.
    """

    #: The modes that the broker has; a mode that it lacks becomes the next richer, else the richest.
    modes: Sequence[Mode] = tuple(Mode)
    #: The code with which the broker closes a socket whose place another one of the account took.
    evicted_code: int | None = None
    #: The code with which it closes one whose login is not valid any more.
    logged_out_code: int | None = None
    #: The HTTP status with which the broker refuses a dial whose login is not valid.
    wrong_credentials: int = 403
    #: Messages that must come out of the wire as a signal of this kind, where the broker has such.
    samples: Mapping[SignalKind, Message] = {}

    def read(self, message: Message) -> Heard:
        """Return what a message of the pool's asks for; raises ValueError for what is not understood."""
        ...

    def ticks(self, quotes: Sequence[Quote], at_ms: int) -> Sequence[Message]:
        """Return the messages that bring these, in order; `at_ms` is the exchange's time."""
        ...

    def heartbeat(self) -> Message | None:
        """Return the broker's own sign of life; None when it sends pings."""
        return None

    def ready(self) -> Message | None:
        """Return the answer to a login that is valid; None when no login is said on the socket."""
        return None

    def login_refused(self) -> Message | None:
        """Return the answer to a login that is not; None when the socket is closed for it."""
        return None

    def refused(self, tokens: Sequence[Token], reason: str) -> Message | None:
        """Return the refusal of tokens by name; None when the broker names none."""
        return None


def served_mode(dialect: Dialect, wanted: Mode) -> Mode:
    """Return the mode in which the broker serves what is wanted in this one."""
    return min((mode for mode in dialect.modes if mode >= wanted), default=max(dialect.modes))
