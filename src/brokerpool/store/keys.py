"""The gateway's API keys: made at random, kept as hashes, checked in memory."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

_PREFIX = "bp_"
_LONGEST = 256  # characters; nothing longer can be a key, so it is not even hashed


class Scope(Enum):
    """What a key allows."""

    DATA = "data"
    ORDERS = "orders"
    ADMIN = "admin"
    #: /metrics and nothing else, for a Prometheus.
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept: everything but the key itself. Times are epoch milliseconds."""

    id: int
    name: str
    digest: str = field(repr=False)
    scopes: frozenset[Scope]
    created_ms: int
    last_used_ms: int | None = None
    revoked_ms: int | None = None


def new_key() -> str:
    """Return a new key: 256 bits from the system's random source, in 46 printable characters."""
    return _PREFIX + secrets.token_urlsafe(32)


def digest(text: str) -> str:
    """Return the SHA-256 of a key, in 64 hexadecimal digits.

    One round without salt is right here, and would be wrong for a password. Slow hashes (Argon2, bcrypt) make
    up for secrets that can be guessed: of 2^256 equally likely keys none can be, at any speed, and no two
    people have the same one, so a table of hashes made beforehand is of no use either. A slow hash would
    only let strangers keep the gateway busy with wrong keys.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class KeyRing:
    """The keys that are valid now, in memory; checking one touches no database and never waits.

    The digest finds the entry and a constant-time comparison confirms it. How long the look-up takes says
    something about the digest of a guess, which does not help in guessing a key.
    """

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = {key.digest: key for key in keys}
        self._watchers: list[Callable[[frozenset[int]], None]] = []

    def check(self, text: str) -> Key | None:
        """Return the key that the text is, or None for a wrong or revoked one."""
        if len(text) > _LONGEST:
            return None
        given = digest(text)
        key = self._keys.get(given)
        return key if key is not None and hmac.compare_digest(key.digest, given) else None

    def replace(self, keys: Iterable[Key]) -> frozenset[int]:
        """Hold exactly these from now on; return the ids of those that are gone and tell the watchers."""
        before = {key.id for key in self._keys.values()}
        self._keys = {key.digest: key for key in keys}
        gone = frozenset(before - {key.id for key in self._keys.values()})
        if gone:
            for watcher in list(self._watchers):
                watcher(gone)
        return gone

    def watch(self, watcher: Callable[[frozenset[int]], None]) -> None:
        """Call the watcher with the ids of keys that were revoked, so that their clients can be closed."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[frozenset[int]], None]) -> None:
        """Call the watcher no more; one that never watched is ignored."""
        self._watchers = [known for known in self._watchers if known != watcher]

    def __iter__(self) -> Iterator[Key]:
        return iter(list(self._keys.values()))

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<KeyRing {len(self)} keys>"
