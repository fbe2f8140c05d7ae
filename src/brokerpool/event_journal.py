"""What happened, in order, with reasons: a bounded ring that operators and tests can read."""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from brokerpool.untrusted_text import remembered


class Event(Enum):
    """What an entry is about; the value is what readers see."""

    DIALLED = "dialled"
    LIVE = "live"
    #: A socket was silent or mute for longer than it may be.
    STALE = "stale"
    LOST = "lost"
    #: The broker refused a dial or a request.
    REFUSED = "refused"
    #: No dial until there are new credentials.
    PARKED = "parked"
    #: Another socket of the account took this one's place.
    EVICTED = "evicted"
    #: Symbols are carried by another connection now: away from one that is out, or home again.
    MOVED = "moved"
    #: Symbols have no connection that carries them.
    DEGRADED = "degraded"
    ROTATED = "rotated"
    GAP = "gap"
    GAP_CLOSED = "gap closed"
    #: Symbols are silent for longer than they ever are.
    MUTE = "mute"
    #: There are new credentials.
    RENEWED = "renewed"
    #: The broker does not list symbols any more that are wanted.
    DELISTED = "delisted"
    CLOSED = "closed"
    #: An operator asked for something.
    ORDERED = "ordered"
    #: In a cluster: a feed node can hold an account that was not known, or no node can any more.
    ACCOUNT_JOINED = "account joined"
    ACCOUNT_GONE = "account gone"
    #: This process stood still.
    STARVED = "starved"
    #: A listener, a hook, or a task of the pool raised; the first, tenth, hundredth ... time of each.
    FAULT = "fault"
    #: An API key authenticated for the first time since the start.
    KEY_USED = "key used"
    #: A client has shown a key: its number, the name of the key, from where; and how it left.
    CLIENT_CAME = "client came"
    CLIENT_LEFT = "client left"
    #: A call that may change something at the broker was passed through: whose, which, and how it ended.
    ORDER_CALL = "order call"
    #: A key was revoked; its clients are closed.
    KEY_REVOKED = "key revoked"
    #: Wrong API keys came in the last minute, told by address.
    WRONG_KEYS = "wrong keys"
    #: An address sent so many wrong keys that it is not listened to for a while.
    LOCKED_OUT = "locked out"
    LOCK_OUT_ENDED = "lock-out ended"
    #: The gateway's database is not read or not written.
    DATABASE_AWAY = "database away"
    DATABASE_BACK = "database back"


class Entry(NamedTuple):
    """One thing that happened."""

    #: Counts up from 1 and is never used again.
    number: int
    #: Epoch milliseconds.
    at_ms: int
    event: Event
    #: The connection's name, empty for what concerns the whole pool; the account's where there are several.
    connection: str
    #: How many symbols are concerned, 0 where that makes no sense.
    symbols: int
    reason: str


class Journal:
    """The last entries, oldest first; those that are dropped can be told missing by their numbers.

    When it is full, the oldest entry of the event that fills most of it makes way: however often one thing
    happens, it pushes out nothing but itself.
    """

    def __init__(self, size: int = 2000, wall_clock: Callable[[], float] = time.time) -> None:
        self._size = size
        self._entries: dict[int, Entry] = {}  # by number, and so in order
        self._by_event: dict[Event, deque[int]] = {event: deque() for event in Event}
        self._numbers = itertools.count(1)
        self._wall_clock = wall_clock
        self._counts = Counter({event.value: 0 for event in Event})
        self._followers: list[tuple[Journal, str]] = []

    def pass_on(self, journal: Journal, name: str) -> None:
        """Have one more journal note everything too, under the name what concerns no connection."""
        self._followers.append((journal, name))

    def note(self, event: Event, *, connection: str = "", symbols: int = 0, reason: str = "") -> None:
        """Write an entry; the reason must not contain secrets. It is remembered as one short line."""
        self._counts[event.value] += 1
        own = self._by_event[event]
        if len(self._entries) >= self._size:
            fullest = max(self._by_event.values(), key=len)
            del self._entries[(own if len(own) == len(fullest) else fullest).popleft()]
        number, at_ms = next(self._numbers), int(self._wall_clock() * 1000)
        self._entries[number] = Entry(number, at_ms, event, connection, symbols, remembered(reason))
        own.append(number)
        for journal, name in self._followers:
            journal.note(event, connection=connection or name, symbols=symbols, reason=reason)

    def entries(self, after: int = 0) -> list[Entry]:
        """Return the entries with a number above `after`, oldest first."""
        return [entry for number, entry in self._entries.items() if number > after]

    def counts(self) -> dict[str, int]:
        """Return how often each event was noted since the start, those that were dropped included."""
        return dict(self._counts)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Journal {len(self._entries)} entries>"
