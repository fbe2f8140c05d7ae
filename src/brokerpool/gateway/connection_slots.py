"""Which connections a listener keeps when more come than it has slots for; pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class ConnectionSlots(Generic[T]):
    """Connections, each of which waits for its peer or is being answered.

    One that waits (for a request, for the rest of one, for its peer to read, for a key) costs nothing but its
    slot, and gives it to a newcomer when all are taken: the one that has waited longest, of the address that
    has most waiting. So who leaves hundreds open loses those, and nobody else's.
    """

    def __init__(self, most: int, spare: int) -> None:
        """`most` are answered at the same time; so many and `spare` more are connected."""
        self._most = most
        self._spare = spare
        self._addresses: dict[T, str] = {}
        self._waiting: dict[str, OrderedDict[T, None]] = {}
        self._answered = 0

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def full(self) -> bool:
        """True when one more request is being answered than there are slots for."""
        return self._answered > self._most

    @property
    def taken(self) -> bool:
        """True when no newcomer finds a slot, because nobody who has one waits."""
        return len(self._addresses) >= self._most + self._spare and not self._waiting

    def enter(self, connection: T, address: str) -> T | None:
        """Take in a connection that waits, and return the one that gives way to it, which has left then."""
        leaves = None
        if len(self._addresses) >= self._most + self._spare and self._waiting:
            crowd: OrderedDict[T, None] = max(self._waiting.values(), key=len)
            leaves = next(iter(crowd))
            self.leave(leaves)
        self._addresses[connection] = address
        self._wait(connection)
        return leaves

    def wait(self, connection: T) -> None:
        """Note that a connection waits for its peer from now on."""
        if connection in self._addresses and not self._is_waiting(connection):
            self._answered -= 1
            self._wait(connection)

    def answer(self, connection: T) -> None:
        """Note that it is the gateway's turn."""
        if connection in self._addresses and self._is_waiting(connection):
            self._answered += 1
            self._stop_waiting(connection)

    def leave(self, connection: T) -> None:
        """Forget a connection; one that has left already is no fault."""
        if connection in self._addresses:
            if self._is_waiting(connection):
                self._stop_waiting(connection)
            else:
                self._answered -= 1
            del self._addresses[connection]

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._addresses))

    def _is_waiting(self, connection: T) -> bool:
        return connection in self._waiting.get(self._addresses[connection], ())

    def _wait(self, connection: T) -> None:
        self._waiting.setdefault(self._addresses[connection], OrderedDict())[connection] = None

    def _stop_waiting(self, connection: T) -> None:
        address = self._addresses[connection]
        del self._waiting[address][connection]
        if not self._waiting[address]:
            del self._waiting[address]

    def __repr__(self) -> str:
        return f"<ConnectionSlots {len(self)} connections, {self._answered} of at most {self._most} answered>"
