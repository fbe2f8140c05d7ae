"""Everything that a gateway keeps, behind one object: keys, logins, the saved demand, and the history."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any, Self

from brokerpool.brokers.login import Credentials, Provider
from brokerpool.db.error_classification import code_of, told
from brokerpool.db.pool import DatabasePool
from brokerpool.db.url import shown
from brokerpool.event_journal import Event, Journal
from brokerpool.instruments import Instrument
from brokerpool.settings import DatabaseSettings
from brokerpool.store import history_rows, key_rows, logins
from brokerpool.store.keys import Key, KeyRing, Scope
from brokerpool.store.upgrade import upgrade
from brokerpool.store.vault import Vault
from brokerpool.store.writer import Writer
from brokerpool.ticks import Mode
from brokerpool.untrusted_text import remembered

logger = logging.getLogger("brokerpool.db")

#: Between two looks at the keys and the journal; a revocation holds within twice this.
LOOK_SECONDS = 0.4
#: Between two looks for a newer login.
LOGIN_SECONDS = 1.0
#: Between two clearings of the history.
CLEAR_SECONDS = 600.0
# A database that hangs must not keep the look from being tried again.
_PATIENCE_SECONDS = 10.0


class Store:
    """The gateway's database, opened with its migrations, its key ring and its writer.

    How a gateway uses it:

    ```python
    async with Store.of(settings) as store:              # migrates; raises StoreError
        key = store.check_key(text)                       # in memory: never waits, never raises
        store.keys.watch(close_the_clients_of)            # ids of revoked keys, within a second
        feed = ZerodhaFeed(api_key, token, provider=store.provider("zerodha"))
        async for credentials in store.logins("zerodha"):  # in a task: feed.login.renew(credentials)
            ...
        store.follow(pool.journal)                        # its entries are kept from now on
        store.save_demand("zerodha", wanted)              # whenever it changed
        store.note_statistics(pool.get_pool_stats())      # now and then
        store.note_call("GET /quote", status=200, seconds=0.03, attempts=1)
    ```

    What is not `async` never waits for the database. What is `async` and changes something is committed
    when it returns, and raises StoreError otherwise.
    """

    def __init__(
        self,
        pool: DatabasePool,
        *,
        database: str = "the database",
        secret_keys: str = "",
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`database` is how errors name it; `secret_keys` are Fernet keys, separated by commas."""
        self._pool = pool
        self._database = database
        self._secret_keys = secret_keys
        self._wall_clock = wall_clock
        self._run = secrets.token_hex(16)
        self._numbers = itertools.count(1)
        self._writer = Writer(functools.partial(history_rows.write, pool))
        self._journal: Journal | None = None
        self._journal_seen, self._journal_run = 0, ""
        self._looking: asyncio.Task[None] | None = None
        self._cleared_at = float("-inf")
        self._look_fault, self._fault_noted = "", False
        self._reads = itertools.count(1)
        self._newest_read = 0
        #: The valid keys. While the database is away it stays as it was.
        self.keys = KeyRing()

    @classmethod
    def of(cls, settings: DatabaseSettings) -> Self:
        """Return the store that the settings describe; nothing is opened yet."""
        url = settings.database_url.get_secret_value()
        pool = DatabasePool(
            url,
            pool_size=settings.db_pool_size,
            max_overflow=settings.db_max_overflow,
            pool_timeout=settings.db_pool_timeout,
        )
        return cls(pool, database=shown(url), secret_keys=settings.secret_key.get_secret_value())

    async def open(self) -> None:
        """Connect, bring the schema up to date, read the keys and start writing.

        Raises StoreError: DB_UNREACHABLE, DB_SCHEMA_NEWER, DB_READ_ONLY and so on.
        """
        try:
            with self._told("opening"):
                await self._pool.open()
                before, after = await upgrade(self._pool)
                await self._read_keys()
        except BaseException:
            await self._pool.drain()
            raise
        if before != after:
            logger.info("the database went from revision %s to %s", before or "none", after)
        self._writer.start()
        self._looking = asyncio.create_task(self._look(), name="brokerpool database look")

    async def close(self, seconds: float = 5.0) -> None:
        """Write what waits, for so many seconds at most, and close the connections."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
            self._looking = None
        self._read_journal()
        try:
            await self._writer.close(seconds)
        finally:
            await self._pool.drain(min(seconds, 1.0))

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- keys -------------------------------------------------------------------------------------------

    def check_key(self, text: str) -> Key | None:
        """Return the valid key that the text is and note its use; None for any other. Never waits."""
        key = self.keys.check(text)
        if key is not None:
            change = functools.partial(key_rows.note_use, key_id=key.id, at_ms=self._now())
            self._writer.put(("used", key.id), "last_used", change)
        return key

    async def create_key(self, name: str, scopes: Iterable[Scope] = (Scope.DATA,)) -> str:
        """Make a key and return it; only its hash is kept.

        Raises ValueError for a bad name; StoreError with KEY_NAME_TAKEN, TOO_MANY_KEYS, or DB_....
        """
        with self._told("creating a key"):
            text = await key_rows.create(self._pool, name, frozenset(scopes), self._now())
            await self._read_keys()
        return text

    async def revoke_key(self, name: str) -> None:
        """Make a key invalid: here at once, in other processes within a second.

        Raises StoreError with KEY_NOT_FOUND, or DB_....
        """
        with self._told("revoking a key"):
            await key_rows.revoke(self._pool, name, self._now())
            await self._read_keys()

    async def list_keys(self) -> list[Key]:
        """Return all keys, revoked ones too, oldest first. Raises StoreError with DB_...."""
        with self._told("reading the keys"):
            return await key_rows.every(self._pool)

    # -- logins -----------------------------------------------------------------------------------------

    async def save_login(self, account: str, credentials: Credentials) -> int:
        """Keep a new login, sealed, and return its version.

        Raises StoreError with SECRET_KEY_MISSING, SECRET_KEY_WRONG, or DB_....
        """
        with self._told("saving a login"):
            return await logins.save(self._pool, self._vault(), account, credentials, self._now())

    async def login(self, account: str) -> Credentials:
        """Return the newest login.

        Raises StoreError with NO_CREDENTIALS, SECRET_KEY_MISSING, SECRET_KEY_WRONG, CREDENTIALS_DAMAGED,
        or DB_....
        """
        return (await self._newest(account))[1]

    def provider(self, account: str) -> Provider:
        """Return what a `Login` asks for the newest credentials."""
        return functools.partial(self.login, account)

    async def logins(self, account: str) -> AsyncGenerator[Credentials, None]:
        """Yield the newest login, and each newer one within about a second, without an end.

        While the database is away, or a login cannot be opened, nothing comes and the log tells why once.
        """
        known, faulty = 0, ""
        while True:
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    present = await logins.version(self._pool, account) or 0
                    credentials = (await self._newest(account)) if present > known else None
            except Exception as error:  # whatever the driver raises; the next look may succeed
                if code_of(error) != faulty:
                    faulty = code_of(error)
                    logger.error("no newer login of %s can be read (%s)", account, faulty)
            else:
                faulty = ""
                if credentials is not None:
                    known = credentials[0]
                    yield credentials[1]
            await asyncio.sleep(LOGIN_SECONDS)

    async def login_accounts(self) -> list[str]:
        """Return the accounts of which a login is kept. Raises StoreError with DB_...."""
        with self._told("reading the logins"):
            return await logins.accounts(self._pool)

    # -- demand and history -----------------------------------------------------------------------------

    def save_demand(
        self, account: str, wanted: Mapping[Instrument, Mode], *, instead_of: Iterable[str] = ()
    ) -> bool:
        """Keep this in the place of what was kept, soon; False when it was dropped. Never waits.

        What was kept for the accounts in `instead_of` goes as well. Of more than 20,000 instruments the first
        ones are kept.
        """
        kept = dict(itertools.islice(wanted.items(), history_rows.SAVED_INSTRUMENTS))
        change = functools.partial(
            history_rows.save_demand, account=account, wanted=kept, instead_of=tuple(instead_of)
        )
        return self._writer.put(("demand", account), "demand", change)

    async def saved_demand(self, *accounts: str) -> dict[Instrument, Mode]:
        """Return what was kept last for these, in its order; of a symbol that several have, the highest mode.

        Raises StoreError with DB_....
        """
        with self._told("reading the saved demand"):
            return await history_rows.saved_demand(self._pool, accounts)

    def follow(self, journal: Journal) -> None:
        """Keep the entries of this journal, those that are in it already too."""
        self._journal, self._journal_seen, self._journal_run = journal, 0, secrets.token_hex(16)

    def note_statistics(self, statistics: Mapping[str, Any]) -> bool:
        """Keep a pool's statistics, soon; False when they were dropped. Never waits."""
        return self._add("pool_statistics", statistics=dict(statistics))

    def note_call(self, endpoint: str, *, status: int | None, seconds: float, attempts: int) -> bool:
        """Keep that a call was made, soon; False when it was dropped. Never waits.

        The endpoint is kept without its query; `status` is None for a call without an answer.
        """
        path = remembered(endpoint.partition("?")[0], 256)
        return self._add(
            "http_calls", endpoint=path, status=status, duration_ms=seconds * 1000, attempts=attempts
        )

    async def history(self, kind: str, *, since_ms: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the newest rows of `journal`, `pool_statistics` or `http_calls`, oldest first.

        Raises StoreError with DB_....
        """
        with self._told("reading the history"):
            return await history_rows.read(self._pool, kind, since_ms=since_ms, limit=limit)

    @property
    def fault(self) -> str:
        """The error code for which the last look at the keys, or the last write, failed; else empty."""
        return self._look_fault or self._writer.fault

    def stats(self) -> dict[str, Any]:
        """Return the figures of pool and writer, the number of keys, and whether the database is away."""
        own = {"keys": len(self.keys), "away": bool(self.fault), "writer": self._writer.stats()}
        return {**self._pool.stats(), **own}

    def __repr__(self) -> str:
        return f"<Store {self._database} {self.keys!r} {self._writer!r}>"

    # -- inside -----------------------------------------------------------------------------------------

    def _vault(self) -> Vault:
        return Vault(self._secret_keys)

    async def _newest(self, account: str) -> tuple[int, Credentials]:
        with self._told("reading a login"):
            return await logins.newest(self._pool, self._vault(), account)

    def _add(self, table: str, **values: object) -> bool:
        own = {"run": self._run, "number": next(self._numbers), "at_ms": self._now()}
        return self._writer.add(table, {**own, **values})

    def _now(self) -> int:
        return int(self._wall_clock() * 1000)

    def _told(self, doing: str) -> contextlib.AbstractContextManager[None]:
        return told(self._database, doing)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._note_fault()
            self._read_journal()
            if loop.time() - self._cleared_at > CLEAR_SECONDS:
                self._cleared_at = loop.time()
                change = functools.partial(history_rows.clear, now_ms=self._now())
                self._writer.put("clearing", "clearing", change)
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._read_keys()
            except Exception as error:  # whatever the driver raises: known keys stay valid meanwhile
                if not self._look_fault:
                    logger.warning("the keys cannot be read (%s); those known stay valid", code_of(error))
                self._look_fault = code_of(error)
                continue
            if self._look_fault:
                logger.info("the keys can be read again")
            self._look_fault = ""

    def _note_fault(self) -> None:
        if self._journal is not None and bool(self.fault) != self._fault_noted:
            self._fault_noted = bool(self.fault)
            event = Event.DATABASE_AWAY if self.fault else Event.DATABASE_BACK
            self._journal.note(event, reason=self.fault)

    async def _read_keys(self) -> None:
        # A slow read that began before a revocation must not bring the key back after it.
        read = next(self._reads)
        keys = await key_rows.valid(self._pool)
        if read > self._newest_read:
            self._newest_read = read
            self.keys.replace(keys)

    def _read_journal(self) -> None:
        for entry in self._journal.entries(self._journal_seen) if self._journal else ():
            self._journal_seen = entry.number
            values = {
                "run": self._journal_run,
                "number": entry.number,
                "at_ms": entry.at_ms,
                "event": entry.event.value,
                "connection": remembered(entry.connection, 64),
                "symbols": entry.symbols,
                "reason": entry.reason,
            }
            self._writer.add("journal", values)
