"""The messages of one broker socket: what goes out, what comes in, and what is said besides ticks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Mode, Tick


@dataclass(frozen=True, slots=True)
class ControlBatch:
    """One step from what the broker serves to what is wanted; each token stands in at most one part."""

    drop: Sequence[Token] = ()
    add: Mapping[Token, Mode] = field(default_factory=dict)
    #: Tokens that are already subscribed and change their mode.
    remode: Mapping[Token, Mode] = field(default_factory=dict)


#: What is kept of a broker's words.
LONGEST_TEXT = 500


class SignalKind(Enum):
    """What a broker says besides ticks."""

    #: The answer to the wire's `hello`: from now on the socket may be asked for symbols.
    READY = "ready"
    #: The broker does not accept the login that the wire's `hello` carried.
    LOGIN_REFUSED = "login refused"
    #: The broker serves the `tokens` from now on.
    ACCEPTED = "accepted"
    #: The broker refused something on a socket that stays open: the `tokens`, where it names any.
    REFUSED = "refused"
    #: Further up, the data of the `tokens` has stopped: what comes until the next tick is a hole.
    GAP_BEGUN = "gap begun"
    #: Further up, the data of the `tokens` goes on.
    GAP_OVER = "gap over"
    #: Something has become of an order; `text` is what the broker sent.
    ORDER_UPDATE = "order update"
    #: The broker wants `text` sent, an acknowledgement for instance.
    ANSWER = "answer"
    #: Information for people.
    TOLD = "told"
    #: Not understood; counted and skipped.
    UNKNOWN = "unknown"


class Signal(NamedTuple):
    """One thing that a broker said besides ticks."""

    kind: SignalKind
    #: For people, but for the order update and the answer.
    text: str | bytes = ""
    tokens: Sequence[Token] = ()

    @property
    def words(self) -> str:
        """The text as people read it."""
        return self.text if isinstance(self.text, str) else self.text.decode("utf-8", "replace")


class Farewell(Enum):
    """Why the broker ended a socket, as far as it said so."""

    #: Nothing that calls for more than another dial.
    LOST = "lost"
    #: Another socket of the account took its place: whoever dials again at once throws that one out.
    EVICTED = "evicted"
    #: The credentials are not valid any more.
    CREDENTIALS = "credentials"


class MessageRun(NamedTuple):
    """Binary messages of one size that were read together, each behind the bytes of its frame's head."""

    #: All of it, valid only during the call that it is given to.
    frames: memoryview
    #: Bytes before each message, which a `struct` can pass over.
    head: int
    #: Bytes of each message.
    size: int

    def messages(self) -> Iterator[memoryview]:
        """Yield one after the other."""
        for begin in range(self.head, len(self.frames), self.head + self.size):
            yield self.frames[begin : begin + self.size]


class Wire(Protocol):
    """The messages of one socket: pure, and private to that socket, so that it may keep state.

    Messages that are to be sent are `str` for text frames and `bytes` for binary ones. An adapter inherits
    what its broker does not have: a greeting, signs of life, long messages, texts, reasons for an end.
    """

    #: Packets that were left out, by reason; they never stop the packets after them.
    skipped: dict[str, int]
    #: What the broker said besides ticks, in order; whoever reads them takes them out.
    signals: list[Signal]
    #: How long the messages are that carry one packet each, where a `run` of them is read at less cost.
    run_sizes: Collection[int] = ()

    def hello(self) -> Sequence[str | bytes]:
        """Return what has to be said first on a new socket; nothing when it is live at once.

        After a hello the socket is live when the signal READY has come, within the time of the dial.
        """
        return ()

    def heartbeat(self) -> str | bytes:
        """Return the sign of life that the broker wants every `FeedLimits.heartbeat_seconds`."""
        return ""

    def requests(self, batch: ControlBatch) -> Sequence[str | bytes]:
        """Return the messages that carry out the batch, in the order in which they must leave."""
        ...

    def parts(self, message: str | bytes) -> Iterable[str | bytes | memoryview]:
        """Return a long message as shorter ones of its kind that `binary` or `text` reads as well, in order.

        Each is read in a turn of its own, which should be done with it in a millisecond: 250 ticks or so.
        """
        return (message,)

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Return the ticks of one binary message, or of a part, in order.

        Only tokens in `routes` become ticks. What is malformed or unknown is counted in `skipped`, what is
        no tick stands in `signals`; this never raises, whatever the bytes are. No tick may be a heartbeat.
        """
        ...

    def run(self, run: MessageRun, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        """Return the ticks of messages of one of the `run_sizes`, as `binary` does of one after the other."""
        return [tick for message in run.messages() for tick in self.binary(message, routes, received_ms)]

    def text(self, message: str, routes: Mapping[Token, Instrument], received_ms: int) -> list[Tick]:
        """Return the ticks of one text message, as `binary` does."""
        self.signals.append(Signal(SignalKind.UNKNOWN, message[:LONGEST_TEXT]))
        return []

    def farewell(self, code: int, reason: str) -> Farewell:
        """Classify the end of the socket, from its close frame and from what came before."""
        return Farewell.LOST
