"""Bringing a database to the schema that this version knows: in one transaction, by one process at a time."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerpool.db.pool import DatabasePool
from brokerpool.errors import ErrorCode, StoreError

#: Where the database says which revision it has.
VERSION_TABLE = "brokerpool_revision"
#: How long a start waits for another process that is upgrading a PostgreSQL database.
LOCK_SECONDS = 30.0

# Any number will do that nobody else takes for an advisory lock in the same database.
_ADVISORY_LOCK = 0x62726F6B65727031


async def upgrade(pool: DatabasePool, to: str = "head") -> tuple[str | None, str | None]:
    """Bring the database to a revision, and return the one before and the one after.

    Any number of processes may call it at once: one does the steps, the others wait for it and find nothing
    to do. All steps are one transaction, so an interruption leaves the old state whole. A database that is
    up to date is only read. Raises StoreError with DB_SCHEMA_NEWER, and changes nothing, when a newer
    version of this program made the schema; SQLAlchemy's errors when the database fails.
    """
    async with pool.connection() as conn:
        before = await conn.run_sync(_known_revision)
    if before == _target(to):
        return before, before
    async with pool.begin() as conn:
        await _lock(conn, pool.dialect)
        before = await conn.run_sync(_known_revision)  # another process may have done it meanwhile
        await conn.run_sync(_run, to)
        after = await conn.run_sync(_known_revision)
    return before, after


async def revision(pool: DatabasePool) -> tuple[str | None, str]:
    """Return the database's revision, None for an empty one, and the newest that this version knows.

    Raises StoreError with DB_SCHEMA_NEWER.
    """
    async with pool.connection() as conn:
        return await conn.run_sync(_known_revision), _target("head")


async def _lock(conn: AsyncConnection, dialect: str) -> None:
    if dialect == "sqlite":
        return  # the pool's `begin` has made this connection the file's one writer already
    await conn.exec_driver_sql(f"SET LOCAL lock_timeout = '{int(LOCK_SECONDS * 1000)}ms'")
    await conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")


def _run(connection: Connection, to: str) -> None:
    config = _config()
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    command.upgrade(config, to)


def _known_revision(connection: Connection) -> str | None:
    heads: list[str] = []
    if inspect(connection).has_table(VERSION_TABLE):
        heads = list(connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars())
    known = {script.revision for script in _scripts().walk_revisions()}
    if unknown := set(heads) - known:
        raise StoreError(
            f"The database has revision {', '.join(sorted(unknown))}; this version of brokerpool knows"
            f" revisions up to {_target('head')}. Nothing was changed.",
            code=ErrorCode.DB_SCHEMA_NEWER,
        )
    return heads[0] if heads else None


def _target(to: str) -> str:
    script = _scripts().get_revision(to)
    assert script is not None
    return script.revision


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config
