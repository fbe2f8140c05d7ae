"""Who may come in, with which key, how far, and how much is theirs; for both listeners, and pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from brokerpool.errors import AccessError, ErrorCode
from brokerpool.event_journal import Event, Journal
from brokerpool.gateway.lockout import Lockout
from brokerpool.http.recent_sum import SlidingSum
from brokerpool.store.keys import Key, Scope

#: Nothing longer can be a key, so it is not even hashed.
LONGEST = 256
#: The id of the key in BROKERPOOL_API_KEY; those in the database begin with 1.
OWN = 0


class Caller(NamedTuple):
    """Whose key it was."""

    key_id: int
    name: str
    scopes: frozenset[Scope]


_OWNER = Caller(OWN, "BROKERPOOL_API_KEY", frozenset(Scope) - {Scope.ORDERS})


class KeyHolder(Protocol):
    """A client that is connected with a key."""

    @property
    def symbols(self) -> int:
        """How many symbols it holds."""
        ...

    def dismiss(self) -> None:
        """Its key was revoked: serve it no more."""
        ...


class KeyLimits(NamedTuple):
    """The share of each key of the database."""

    clients: int
    symbols: int
    requests: int
    #: The window of the requests.
    seconds: float


@dataclass(slots=True)
class _Use:
    """What is going on with one key."""

    caller: Caller
    requests: SlidingSum
    holders: set[KeyHolder] = field(default_factory=set)


class Gatekeeper:
    """Checks keys in constant time and without waiting, and keeps each key to its share.

    A right key gets in from everywhere and at all times: the look at it comes before the lock-out of its
    address, so that nobody who guesses can keep others out. The key in BROKERPOOL_API_KEY is the operator's:
    it allows everything, orders only where that was set, and has no share but the whole.
    """

    def __init__(
        self,
        own_key: str,
        check: Callable[[str], Key | None],
        limits: KeyLimits,
        journal: Journal,
        clock: Callable[[], float],
        *,
        own_orders: bool = False,
    ) -> None:
        """`check` finds the keys of the database, in memory; an empty `own_key` is none.

        `own_orders` adds the scope "orders" to those of `own_key`.

        What `check` raises comes through: a key that cannot be looked up is not called wrong, nor counted.
        """
        self._own = _digest(own_key) if own_key else None
        self._owner = _OWNER._replace(scopes=frozenset(Scope)) if own_orders else _OWNER
        self._check = check
        self._limits = limits
        self._journal = journal
        self._clock = clock
        self._uses: dict[int, _Use] = {}
        self.lockout = Lockout(journal, clock)

    def admit(self, address: str, text: str, scope: Scope) -> Caller:
        """Return whose key the text is.

        Raises AccessError: AUTHENTICATION_ERROR for a wrong key, ADDRESS_LOCKED_OUT for one too many of them,
        SCOPE_MISSING for a key that does not allow this, KEYS_NOT_READ for one that cannot be looked up.
        """
        caller = self._whose(text)
        if caller is None:
            wait = self.lockout.wrong(address)
            if wait:
                text = "Too many wrong keys came from this address."
                raise AccessError(text, code=ErrorCode.ADDRESS_LOCKED_OUT, retry_after=wait)
            raise AccessError("The API key is wrong.", code=ErrorCode.AUTHENTICATION_ERROR)
        if scope not in caller.scopes and not (scope is Scope.METRICS and Scope.ADMIN in caller.scopes):
            text = f'This API key is without the scope "{scope.value}".'
            raise AccessError(text, code=ErrorCode.SCOPE_MISSING)
        if caller.key_id not in self._uses:
            self._uses[caller.key_id] = _Use(caller, SlidingSum(self._limits.seconds))
            self._journal.note(Event.KEY_USED, reason=f"{caller.name}, first from {address}")
        return caller

    def holds(self, caller: Caller) -> bool:
        """Tell whether the key that let this caller in has not been revoked since."""
        return caller.key_id in self._uses

    # -- shares -------------------------------------------------------------------------------------------

    def enter(self, caller: Caller, holder: KeyHolder) -> None:
        """Count a client, and what it holds already under another key.

        Raises AccessError for one too many: KEY_CLIENT_LIMIT, or KEY_SYMBOL_LIMIT where it is the symbols.
        """
        holders = self._uses[caller.key_id].holders
        if caller.key_id != OWN and holder not in holders:
            if len(holders) >= self._limits.clients:
                text = f"{len(holders)} clients are connected with this API key."
                raise AccessError(text, code=ErrorCode.KEY_CLIENT_LIMIT)
            room = self.room(caller)
            if room is not None and holder.symbols > room:
                text = f"The client holds {holder.symbols} symbols; this API key has room for {room} more."
                raise AccessError(text, code=ErrorCode.KEY_SYMBOL_LIMIT)
        holders.add(holder)

    def leave(self, caller: Caller, holder: KeyHolder) -> None:
        """Count a client no more."""
        use = self._uses.get(caller.key_id)
        if use is not None:
            use.holders.discard(holder)

    def room(self, caller: Caller) -> int | None:
        """Return how many more symbols the clients with the key may hold; None when that is not limited."""
        if caller.key_id == OWN:
            return None
        use = self._uses.get(caller.key_id)
        held = sum(holder.symbols for holder in use.holders) if use else 0
        return max(0, self._limits.symbols - held)

    def delay(self, caller: Caller) -> float:
        """Count a request and return 0, or return the seconds after which it may come."""
        use = self._uses.get(caller.key_id)
        if use is None or caller.key_id == OWN:
            return 0.0
        now = self._clock()
        if use.requests.total(now) >= self._limits.requests:
            return use.requests.frees(1, now)
        use.requests.add(1, now)
        return 0.0

    def spend(self, caller: Caller) -> None:
        """Count a request. Raises AccessError with KEY_RATE_LIMIT for one too many."""
        wait = self.delay(caller)
        if wait:
            most, seconds = self._limits.requests, self._limits.seconds
            text = f"{most} requests came with this API key within {seconds:g} s."
            raise AccessError(text, code=ErrorCode.KEY_RATE_LIMIT, retry_after=wait)

    # -- what happens elsewhere ---------------------------------------------------------------------------

    def revoked(self, key_ids: frozenset[int]) -> None:
        """Dismiss every client of these keys."""
        for key_id in key_ids:
            use = self._uses.pop(key_id, None)
            if use is None:
                continue
            for holder in use.holders:
                holder.dismiss()
            told = f"{use.caller.name}; {len(use.holders)} clients are closed"
            self._journal.note(Event.KEY_REVOKED, reason=told)

    def clients_with(self, key_id: int) -> int:
        """Return how many clients are connected with a key."""
        use = self._uses.get(key_id)
        return len(use.holders) if use else 0

    def stats(self) -> dict[str, int]:
        """Return how many keys were used since the start, and what the lock-out has counted."""
        return {
            "keys_used": len(self._uses),
            "wrong_keys": self.lockout.wrong_keys,
            "addresses_locked_out": self.lockout.locked,
        }

    def _whose(self, text: str) -> Caller | None:
        if len(text) > LONGEST:
            return None
        if self._own is not None and hmac.compare_digest(_digest(text), self._own):
            return self._owner
        key = self._check(text)
        return None if key is None else Caller(key.id, key.name, key.scopes)


def _digest(key: str) -> bytes:
    # Of one length for every key, so that the comparison tells nothing of it, not even its length.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
