"""What `brokerpool db` does: upgrade a database, or look at it without changing it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from sqlalchemy import false, text, update

from brokerpool.db.error_classification import told
from brokerpool.db.pool import DatabasePool
from brokerpool.db.url import parse, shown
from brokerpool.errors import ErrorCode, StoreError
from brokerpool.settings import DatabaseSettings
from brokerpool.store import logins
from brokerpool.store.schema import api_keys
from brokerpool.store.upgrade import revision, upgrade
from brokerpool.store.vault import Vault


async def upgraded(settings: DatabaseSettings) -> tuple[str | None, str | None]:
    """Upgrade the database, and return its revision before and after. Raises StoreError."""
    pool = DatabasePool(settings.database_url.get_secret_value(), pool_size=1)
    try:
        with told(_shown(settings), "upgrading"):
            await pool.open()
            return await upgrade(pool)
    finally:
        await pool.drain()


async def faults(settings: DatabaseSettings) -> list[str]:
    """Return one sentence for each fault; an empty list means that all is well. Makes no file."""
    if not await asyncio.to_thread(made, settings):
        file = parse(settings.database_url.get_secret_value()).database
        return [
            f"DATABASE_URL: there is no file {file} yet; `brokerpool db upgrade` or `serve` makes it."
            " A relative path counts from the working directory."
        ]
    pool = DatabasePool(settings.database_url.get_secret_value(), pool_size=1)
    try:
        with told(_shown(settings), "checking"):
            await pool.open()
            present, newest = await revision(pool)
            if present != newest:
                return [
                    f"The database has revision {present or 'none'}, and this version needs {newest};"
                    " `brokerpool db upgrade` or `serve` brings it there."
                ]
            await _whole(pool)
            await _writable(pool)
        return await _logins(pool, settings)
    except StoreError as error:
        return [str(error)]
    finally:
        await pool.drain()


def made(settings: DatabaseSettings) -> bool:
    """Tell whether there is a database to look into; a server always has one."""
    url = parse(settings.database_url.get_secret_value())
    return url.get_backend_name() != "sqlite" or Path(url.database or "").is_file()


async def away(settings: DatabaseSettings) -> list[str]:
    """Return why the database cannot be opened by who would make and upgrade it; makes no file."""
    if not await asyncio.to_thread(made, settings):
        folder = Path(parse(settings.database_url.get_secret_value()).database or "").parent
        if await asyncio.to_thread(os.access, folder, os.W_OK):
            return []
        return [f"DATABASE_URL: the folder {folder} is not there, or cannot be written."]
    pool = DatabasePool(settings.database_url.get_secret_value(), pool_size=1)
    try:
        with told(_shown(settings), "checking"):
            await pool.open()
    except StoreError as error:
        return [f"DATABASE_URL: {error}"]
    finally:
        await pool.drain()
    return []


async def _whole(pool: DatabasePool) -> None:
    if pool.dialect != "sqlite":
        return  # a server looks after its own pages
    async with pool.connection() as conn:
        found = (await conn.execute(text("PRAGMA quick_check(1)"))).scalar_one()
    if found != "ok":
        raise StoreError(f"SQLite finds: {found}.", code=ErrorCode.DB_DAMAGED)


async def _writable(pool: DatabasePool) -> None:
    async with pool.connection() as conn:  # not committed, and of no row: only the permission is asked for
        await conn.execute(update(api_keys).where(false()).values(name=""))


async def _logins(pool: DatabasePool, settings: DatabaseSettings) -> list[str]:
    found = []
    with told(_shown(settings), "checking"):
        for account in await logins.accounts(pool):
            try:
                await logins.newest(pool, Vault(settings.secret_key.get_secret_value()), account)
            except StoreError as error:
                found.append(str(error))
    return found


def _shown(settings: DatabaseSettings) -> str:
    return shown(settings.database_url.get_secret_value())
