"""What the scripted broker wrote down: dials, messages, limits that were exceeded, and every tick it sent."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.instruments import Token

#: A window is judged by floats that were added up in another order than the pool's.
_HAIR = 1e-6


@dataclass(slots=True)
class DialRecord:
    """One dial: when it left, with which token, and what came of it."""

    at: float
    token: str
    outcome: str = "under way"


class WindowCheck:
    """Tells whether more than a window's count of something came within it."""

    def __init__(self, windows: Iterable[RateWindow]) -> None:
        self._windows = tuple(windows)
        self._times: deque[float] = deque(maxlen=max((count for count, _ in self._windows), default=0) + 1)

    def count(self, now: float) -> RateWindow | None:
        """Count one, and return the window that it breaks."""
        self._times.append(now)
        for count, seconds in self._windows:
            position = len(self._times) - 1 - count
            if position >= 0 and now - self._times[position] < seconds - _HAIR:
                return RateWindow(count, seconds)
        return None


@dataclass(slots=True)
class Ledger:
    """The broker's own view of how it was treated; times are virtual seconds."""

    dials: list[DialRecord] = field(default_factory=list)
    #: What the pool did that no broker has to put up with, with the time.
    violations: list[str] = field(default_factory=list)
    messages: int = 0
    peak_sockets: int = 0
    peak_tokens: int = 0
    #: token -> running number -> when the last copy of it reaches the pool.
    arrivals: dict[Token, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    #: token -> running numbers that a muted broker kept back from a subscribed socket.
    withheld: dict[Token, set[int]] = field(default_factory=lambda: defaultdict(set))
    #: (token, running number) of ticks of which a copy was held in a black hole and came in the end.
    held: set[tuple[Token, int]] = field(default_factory=set)
    #: (token, running number) -> how often it was sent as the first answer to a subscription.
    snapshots: Counter[tuple[Token, int]] = field(default_factory=Counter)
    #: What happened, in order: a failing run shows its end.
    lines: list[str] = field(default_factory=list)

    def violate(self, now: float, what: str) -> None:
        """Note that a limit was exceeded."""
        self.violations.append(f"{now:.3f} {what}")
        self.say(now, f"VIOLATION {what}")

    def arrive(self, ticks: Iterable[tuple[Token, int]], at: float) -> None:
        """Note that copies of these ticks (token, running number) reach the pool's end at this time."""
        for token, number in ticks:
            arrivals = self.arrivals[token]
            arrivals[number] = max(at, arrivals.get(number, 0.0))

    def say(self, now: float, text: str) -> None:
        """Note anything that two runs of one seed must have in common."""
        self.lines.append(f"{now:.6f} {text}")

    def trace_hash(self) -> str:
        """Return a digest of all that was said."""
        return blake2b("\n".join(self.lines).encode(), digest_size=16).hexdigest()
