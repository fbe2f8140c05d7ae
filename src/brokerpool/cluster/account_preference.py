"""Which accounts a cluster has, in the order of preference that all gateways come to; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

#: An account that no living node has named for so long is gone for good, until one names it again.
GONE_SECONDS = 60.0


class Roll(NamedTuple):
    """The accounts in order of preference, and which of them no node can hold any more."""

    accounts: tuple[str, ...]
    gone: frozenset[str]


class AccountRoll:
    """Keeps what nodes say that they can hold; told the time in monotonic seconds.

    An account's place is the foremost that any node of the last minute gives it, and by name among those
    with the same: it depends on what nodes say, and not on the order in which that was heard.
    """

    def __init__(self) -> None:
        self._named: dict[str, tuple[str, ...]] = {}
        self._heard_at: dict[str, float] = {}
        self._named_at: dict[str, float] = {}

    def named(self, node: str, accounts: Sequence[str], now: float) -> None:
        """Note which accounts a node can hold, in its order."""
        self._named[node], self._heard_at[node] = tuple(accounts), now
        self._named_at.update(dict.fromkeys(accounts, now))

    @property
    def nodes(self) -> Mapping[str, tuple[str, ...]]:
        """What each node has said last, be it alive or not."""
        return self._named

    def read(self, now: float) -> Roll:
        """Return the roll as it stands."""
        places: dict[str, int] = {}
        for node, accounts in self._named.items():
            if now - self._heard_at[node] < GONE_SECONDS:
                for place, account in enumerate(accounts):
                    places[account] = min(place, places.get(account, place))
        ordered = sorted(self._named_at, key=lambda name: (places.get(name, len(self._named_at)), name))
        gone = (name for name, at in self._named_at.items() if now - at >= GONE_SECONDS)
        return Roll(tuple(ordered), frozenset(gone))
