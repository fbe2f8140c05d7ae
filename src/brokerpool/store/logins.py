"""The table of broker credentials: every login of an account a row, with a version that only rises."""

from __future__ import annotations

import dataclasses
import json

from sqlalchemy import delete, exists, func, insert, literal, select
from sqlalchemy.exc import IntegrityError

from brokerpool.brokers.login import Credentials
from brokerpool.db.pool import DatabasePool
from brokerpool.errors import ErrorCode, StoreError
from brokerpool.store.schema import broker_credentials as rows
from brokerpool.store.vault import Sealed, Vault

#: Logins that are kept for each account; older ones are of no use to anybody.
KEPT = 10

# Of those who log in at the same moment, one gets the version and the others try the next.
_TRIES = 50


async def save(pool: DatabasePool, vault: Vault, account: str, credentials: Credentials, now_ms: int) -> int:
    """Enter a login and return its version; it is committed when this returns.

    Raises StoreError with DB_BUSY when others are always faster; SQLAlchemy's errors when the database
    fails.
    """
    secret = json.dumps(dataclasses.asdict(credentials))
    for _ in range(_TRIES):
        number = (await version(pool, account) or 0) + 1
        sealed = vault.seal(_place(account, number), secret)
        row = {
            rows.c.account: account,
            rows.c.version: number,
            rows.c.secret_key_id: sealed.key_id,
            rows.c.sealed: sealed.text,
            rows.c.created_ms: now_ms,
        }
        # Not only a version that is taken: one that was taken and is cleared away must not come back either.
        overtaken = exists().where((rows.c.account == account) & (rows.c.version >= number))
        new = select(*(literal(value, column.type) for column, value in row.items())).where(~overtaken)
        try:
            async with pool.begin() as conn:
                entering = insert(rows).from_select(list(row), new).returning(rows.c.version)
                entered = (await conn.execute(entering)).scalar()
                await conn.execute(
                    delete(rows).where((rows.c.account == account) & (rows.c.version <= number - KEPT))
                )
        except IntegrityError:
            continue  # of two at the very same moment the index lets one pass
        if entered is not None:
            return number
    raise StoreError(f"{_TRIES} other logins came first.", code=ErrorCode.DB_BUSY)


async def version(pool: DatabasePool, account: str) -> int | None:
    """Return the version of the newest login, None when there is none."""
    async with pool.connection() as conn:
        query = select(func.max(rows.c.version)).where(rows.c.account == account)
        found: int | None = (await conn.execute(query)).scalar_one()
    return found


async def newest(pool: DatabasePool, vault: Vault, account: str) -> tuple[int, Credentials]:
    """Return the version and the credentials of the newest login.

    Raises StoreError with NO_CREDENTIALS, SECRET_KEY_WRONG or CREDENTIALS_DAMAGED.
    """
    query = select(rows).where(rows.c.account == account).order_by(rows.c.version.desc()).limit(1)
    async with pool.connection() as conn:
        row = (await conn.execute(query)).mappings().first()
    if row is None:
        raise StoreError(f"No login of {account} is stored.", code=ErrorCode.NO_CREDENTIALS)
    secret = vault.open(_place(account, row["version"]), Sealed(row["sealed"], row["secret_key_id"]))
    return row["version"], Credentials(**json.loads(secret))


async def accounts(pool: DatabasePool) -> list[str]:
    """Return the accounts of which there is a login."""
    async with pool.connection() as conn:
        known = select(rows.c.account).distinct().order_by(rows.c.account)
        return list((await conn.execute(known)).scalars())


def _place(account: str, number: int) -> str:
    return f"login {number} of {account}"
