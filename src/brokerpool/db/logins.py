"""The table of broker credentials: every login a row of its own, with a version that only rises."""

from __future__ import annotations

import json

from sqlalchemy import delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from brokerpool.brokers.login import Credentials
from brokerpool.db.pool import DatabasePool
from brokerpool.db.schema import broker_credentials as rows
from brokerpool.db.vault import Sealed, Vault
from brokerpool.errors import ErrorCode, StoreError

#: Logins that are kept for each broker; older ones are of no use to anybody.
KEPT = 10

_TRIES = 10  # against other processes that log in at the same moment


async def save(pool: DatabasePool, vault: Vault, broker: str, credentials: Credentials, now_ms: int) -> int:
    """Enter a login and return its version; it is committed when this returns.

    Raises SQLAlchemy's errors when the database fails.
    """
    secret = json.dumps({"access_token": credentials.access_token, "expires_at": credentials.expires_at})
    for attempt in range(1, _TRIES + 1):
        number = (await version(pool, broker) or 0) + 1
        sealed = vault.seal(_place(broker, number), secret)
        row = {
            "broker": broker,
            "version": number,
            "secret_key_id": sealed.key_id,
            "sealed": sealed.text,
            "created_ms": now_ms,
        }
        try:
            async with pool.begin() as conn:
                await conn.execute(insert(rows).values(row))
                await conn.execute(
                    delete(rows).where((rows.c.broker == broker) & (rows.c.version <= number - KEPT))
                )
        except IntegrityError:
            if attempt == _TRIES:
                raise
        else:
            return number
    raise AssertionError("the last attempt returns or raises")


async def version(pool: DatabasePool, broker: str) -> int | None:
    """Return the version of the newest login, None when there is none."""
    async with pool.connection() as conn:
        query = select(func.max(rows.c.version)).where(rows.c.broker == broker)
        found: int | None = (await conn.execute(query)).scalar_one()
    return found


async def newest(pool: DatabasePool, vault: Vault, broker: str) -> tuple[int, Credentials]:
    """Return the version and the credentials of the newest login.

    Raises StoreError with NO_CREDENTIALS, SECRET_KEY_WRONG or CREDENTIALS_DAMAGED.
    """
    query = select(rows).where(rows.c.broker == broker).order_by(rows.c.version.desc()).limit(1)
    async with pool.connection() as conn:
        row = (await conn.execute(query)).mappings().first()
    if row is None:
        raise StoreError(f"No login of {broker} is stored.", code=ErrorCode.NO_CREDENTIALS)
    secret = vault.open(_place(broker, row["version"]), Sealed(row["sealed"], row["secret_key_id"]))
    return row["version"], Credentials(**json.loads(secret))


async def brokers(pool: DatabasePool) -> list[str]:
    """Return the brokers of which there is a login."""
    async with pool.connection() as conn:
        return list((await conn.execute(select(rows.c.broker).distinct().order_by(rows.c.broker))).scalars())


def _place(broker: str, number: int) -> str:
    return f"login {number} of {broker}"
