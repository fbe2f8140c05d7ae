"""The tables that the writer fills: how rows get in, and for how long they stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Insert, Table, and_, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerpool.db.pool import DatabasePool
from brokerpool.instruments import Instrument
from brokerpool.store import schema
from brokerpool.store.write_backlog import AT_ONCE, Batch
from brokerpool.ticks import Mode

DAY_MS = 86_400_000

#: For how many days each kind is kept.
KEPT_DAYS = {"journal": 90, "pool_statistics": 30, "http_calls": 7}
#: Rows of each kind beyond which the oldest go, whatever their age.
KEPT_ROWS = 1_000_000
#: Rows that one clearing takes away at most, so that it never holds up the writer for long.
CLEARED_AT_ONCE = 20_000
#: Instruments that are saved at most.
SAVED_INSTRUMENTS = 20_000

TABLES: Mapping[str, Table] = {
    "journal": schema.journal,
    "pool_statistics": schema.pool_statistics,
    "http_calls": schema.http_calls,
}


async def write(pool: DatabasePool, batch: Batch) -> None:
    """Put a batch into the database in one transaction; rows that are there already are left alone."""
    async with pool.begin() as conn:
        for name, table in TABLES.items():
            rows = [dict(row.values) for row in batch.rows if row.table == name]
            if rows:
                await conn.execute(_new_rows(pool.dialect, table), rows)
        for change in batch.changes.values():
            await change(conn)


def _new_rows(dialect: str, table: Table) -> Insert:
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


async def read(
    pool: DatabasePool, name: str, *, since_ms: int = 0, limit: int = 1000
) -> list[dict[str, Any]]:
    """Return the newest rows of one kind that are not older than `since_ms`, oldest first."""
    table = TABLES[name]
    newest_first = (table.c.at_ms.desc(), table.c.number.desc())
    query = select(table).where(table.c.at_ms >= since_ms).order_by(*newest_first).limit(limit)
    async with pool.connection() as conn:
        rows = (await conn.execute(query)).mappings().all()
    return [dict(row) for row in reversed(rows)]


async def clear(conn: AsyncConnection, now_ms: int) -> None:
    """Take away rows that are too old or too many, at most 20,000 of each kind."""
    for name, days in KEPT_DAYS.items():
        table = TABLES[name]
        beyond = select(table.c.at_ms).order_by(table.c.at_ms.desc()).offset(KEPT_ROWS).limit(1)
        horizon = max(now_ms - days * DAY_MS, (await conn.execute(beyond)).scalar() or 0)
        row = (table.c.run, table.c.number)
        oldest = select(*row).where(table.c.at_ms < horizon).order_by(table.c.at_ms).limit(CLEARED_AT_ONCE)
        await conn.execute(delete(table).where(tuple_(*row).in_(oldest)))


async def save_demand(
    conn: AsyncConnection, account: str, wanted: Mapping[Instrument, Mode], instead_of: Sequence[str] = ()
) -> None:
    """Put this demand in the place of that saved for the account, and for those in `instead_of`."""
    table = schema.saved_demand
    await conn.execute(delete(table).where(table.c.account.in_([account, *instead_of])))
    rows = [
        {"account": account, "exchange": i.exchange, "symbol": i.symbol, "mode": int(mode), "position": n}
        for n, (i, mode) in enumerate(wanted.items())
    ]
    for start in range(0, len(rows), AT_ONCE):
        await conn.execute(table.insert(), rows[start : start + AT_ONCE])


async def saved_demand(pool: DatabasePool, accounts: Sequence[str]) -> dict[Instrument, Mode]:
    """Return the saved demand of these accounts, in the order in which it came, with the highest modes."""
    table = schema.saved_demand
    known = and_(table.c.account.in_(accounts), table.c.mode.in_([int(mode) for mode in Mode]))
    async with pool.connection() as conn:
        rows = (await conn.execute(select(table).where(known).order_by(table.c.position))).mappings().all()
    wanted: dict[Instrument, Mode] = {}
    for row in rows:
        instrument = Instrument(row["exchange"], row["symbol"])
        wanted[instrument] = max(Mode(row["mode"]), wanted.get(instrument, Mode.LTP))
    return wanted
