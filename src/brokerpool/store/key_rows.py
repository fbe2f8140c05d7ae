"""The table of API keys. Each function returns after its change is committed; SQLAlchemy's errors pass."""

from __future__ import annotations

from sqlalchemy import func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerpool.db.pool import DatabasePool
from brokerpool.errors import ErrorCode, StoreError
from brokerpool.store.keys import Key, Scope, digest, new_key
from brokerpool.store.schema import api_keys

#: Keys that may be valid at the same time; the ring that holds them in memory is read twice a second.
MOST_KEYS = 1000
LONGEST_NAME = 64


async def create(pool: DatabasePool, name: str, scopes: frozenset[Scope], now_ms: int) -> str:
    """Enter a new key and return it; nobody can read it again.

    Raises StoreError with KEY_NAME_TAKEN or TOO_MANY_KEYS, ValueError for a name without visible characters
    or with more than 64.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a key's name has 1 to {LONGEST_NAME} printable characters")
    text = new_key()
    row = {
        "name": name,
        "digest": digest(text),
        "scopes": ",".join(sorted(scope.value for scope in scopes)),
        "created_ms": now_ms,
    }
    valid = await _count(pool)
    if valid >= MOST_KEYS:
        raise StoreError(f"{valid} keys are valid, as many as may be.", code=ErrorCode.TOO_MANY_KEYS)
    try:
        async with pool.begin() as conn:
            await conn.execute(insert(api_keys).values(row))
    except IntegrityError:
        raise StoreError(f"A valid key is named {name!r}.", code=ErrorCode.KEY_NAME_TAKEN) from None
    return text


async def revoke(pool: DatabasePool, name: str, now_ms: int) -> None:
    """Make the valid key of that name invalid. Raises StoreError with KEY_NOT_FOUND."""
    named = (api_keys.c.name == name) & api_keys.c.revoked_ms.is_(None)
    async with pool.begin() as conn:
        revoked = await conn.execute(update(api_keys).where(named).values(revoked_ms=now_ms))
    if not revoked.rowcount:
        raise StoreError(f"No valid key is named {name!r}.", code=ErrorCode.KEY_NOT_FOUND)


async def every(pool: DatabasePool) -> list[Key]:
    """Return all keys, revoked ones too, in the order in which they were made."""
    return await _read(pool, valid_only=False)


async def valid(pool: DatabasePool) -> list[Key]:
    """Return the keys that are not revoked."""
    return await _read(pool, valid_only=True)


async def note_use(conn: AsyncConnection, key_id: int, at_ms: int) -> None:
    """Enter when a key was used last, unless a later use is known."""
    older = or_(api_keys.c.last_used_ms.is_(None), api_keys.c.last_used_ms < at_ms)
    await conn.execute(update(api_keys).where((api_keys.c.id == key_id) & older).values(last_used_ms=at_ms))


async def _count(pool: DatabasePool) -> int:
    async with pool.connection() as conn:
        query = select(func.count()).select_from(api_keys).where(api_keys.c.revoked_ms.is_(None))
        return int((await conn.execute(query)).scalar_one())


async def _read(pool: DatabasePool, *, valid_only: bool) -> list[Key]:
    query = select(api_keys).order_by(api_keys.c.id)
    if valid_only:
        query = query.where(api_keys.c.revoked_ms.is_(None))
    async with pool.connection() as conn:
        rows = (await conn.execute(query)).mappings().all()
    return [Key(**{**row, "scopes": _scopes(row["scopes"])}) for row in rows]


def _scopes(text: str) -> frozenset[Scope]:
    # A scope that a newer version made allows nothing here.
    known = {scope.value: scope for scope in Scope}
    return frozenset(known[name] for name in text.split(",") if name in known)
