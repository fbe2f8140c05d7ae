"""The gateway's side of its database: opened at the start or later, and fed as the gateway runs."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping

from brokerpool.brokers import registry
from brokerpool.brokers.login import Credentials
from brokerpool.db.url import shown
from brokerpool.errors import AccessError, BrokerpoolError, ErrorCode, StoreError
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway.saved_demand import GRACE_SECONDS, SavedDemand
from brokerpool.instruments import Instrument
from brokerpool.settings import AccountSettings, Settings
from brokerpool.store.gateway_store import Store
from brokerpool.store.keys import Key
from brokerpool.ticks import Mode

logger = logging.getLogger("brokerpool.gateway")

#: Between two tries to open a database that was away at the start.
RETRY_SECONDS = 5.0
#: Between two entries of the pool's statistics.
STATISTICS_SECONDS = 60.0
#: What the last entries have left when the gateway stops; the whole end takes less than 10 s.
CLOSE_SECONDS = 2.0


class Persistence:
    """What the gateway keeps and is told by its database; ticks and known keys never wait for it.

    A database that cannot be opened at the start ends the start, unless BROKERPOOL_API_KEY and an account's
    access token say what it would be asked for: then the gateway runs without it, and opens it as soon as it
    is there.
    """

    def __init__(self, settings: Settings, *, grace: float = GRACE_SECONDS, has_clients: bool = True) -> None:
        """`grace` is how many seconds the demand of the last run is held; only who has clients needs keys."""
        self._has_clients = has_clients
        self._settings = settings
        self._grace = grace
        self._store: Store | None = None
        self._fault = ErrorCode.DB_UNREACHABLE
        self._opened = asyncio.Event()
        #: In whose names the demand is kept. It is one for the gateway, however many accounts there are: it
        #: says what clients want, not who serves that. It stands under the first and is found under each, so
        #: that it outlives a change of their order.
        self._accounts = [account.name for account in settings.accounts()]
        self._demand: SavedDemand | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Open the database, or go without it for now.

        Raises StoreError where that is not possible, and BrokerpoolError with NO_API_KEY.
        """
        settings = self._settings
        try:
            await self._open()
        except StoreError as error:
            accounts = settings.accounts()
            given = settings.in_cluster or any(
                a.broker_access_token.get_secret_value() or _key_is_login(a) for a in accounts
            )
            if not settings.api_key.get_secret_value() or not given:
                logger.error(
                    "the database is needed: BROKERPOOL_API_KEY and %s are not both set, and with them the"
                    " gateway could start without it",
                    accounts[0].setting("access_token"),
                )
                raise
            # What that means, and what to do, is told with the other conditions.
            logger.error("the gateway starts WITHOUT its database: %s", error)
            return
        logger.info("the database is %s", shown(settings.database_url.get_secret_value()))
        if self._has_clients and not settings.api_key.get_secret_value() and not self.keys:
            text = "BROKERPOOL_API_KEY is not set, and no valid key is in the database."
            raise BrokerpoolError(text, code=ErrorCode.NO_API_KEY)

    @property
    def keys(self) -> int:
        """How many keys of the database are valid."""
        return len(self._store.keys) if self._store is not None else 0

    def stored_keys(self) -> Iterator[Key]:
        """Yield all but the keys themselves of those in the database that are valid, the oldest first."""
        return iter(self._store.keys) if self._store is not None else iter(())

    def check_key(self, text: str) -> Key | None:
        """Return the valid key of the database that the text is. Never waits.

        Raises AccessError (KEYS_NOT_READ) while the database has not been open since the start.
        """
        if self._store is None:
            text = "The database has not been open since the start, so no stored API key is known."
            raise AccessError(text, code=ErrorCode.KEYS_NOT_READ, retry_after=RETRY_SECONDS)
        return self._store.check_key(text)

    def note_call(self, call: str, status: int | None, seconds: float, attempts: int) -> None:
        """Keep that a call to the broker was made. Never waits."""
        if self._store is not None:
            self._store.note_call(call, status=status, seconds=seconds, attempts=attempts)

    # -- the login at the broker --------------------------------------------------------------------------

    @property
    def keeps_logins(self) -> bool:
        """Whether there is a key with which logins can be stored and read."""
        return bool(self._settings.secret_key.get_secret_value())

    async def login(self, account: str) -> Credentials:
        """Return the newest stored login of an account. Raises StoreError."""
        if self._store is None:
            raise StoreError("The database is not open.", code=ErrorCode.DB_UNREACHABLE)
        return await self._store.login(account)

    async def newer_logins(self, account: str) -> AsyncGenerator[Credentials, None]:
        """Yield the newest stored login and each newer one, once the database is open, without an end."""
        await self._opened.wait()
        assert self._store is not None
        async for credentials in self._store.logins(account):
            yield credentials

    # -- while the gateway serves -------------------------------------------------------------------------

    def serve(self, upstream: Upstream, revoked: Callable[[frozenset[int]], None]) -> None:
        """Restore the demand of the last run, and keep what happens from now on.

        `revoked` is told the ids of keys that are not valid any more.
        """
        self._demand = SavedDemand(upstream, grace=self._grace)
        self._tasks = [asyncio.create_task(self._keep(upstream, revoked), name="brokerpool persistence")]

    def make_room(self) -> bool:
        """Give up what the last run left behind and no client has asked for; tell whether there was any."""
        return self._demand.make_room() if self._demand is not None else False

    def settle(self) -> None:
        """Keep the demand as it is now, whatever happens to it afterwards; before clients are sent away."""
        last = self._demand.last() if self._demand is not None else None
        self._demand = None
        if last is not None and self._store is not None:
            self._save_demand(self._store, last)
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Write what waits, and close the database; takes less than 5 s."""
        self.settle()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._store is not None:
            await self._store.close(CLOSE_SECONDS)

    @property
    def opened(self) -> bool:
        """Whether the database has been open since the start."""
        return self._store is not None

    @property
    def fault(self) -> str:
        """The error code for which the database is not open, not read or not written; empty while it is."""
        return self._store.fault if self._store is not None else self._fault.name

    def stats(self) -> dict[str, object]:
        """Return the database's figures; `available` tells whether it was opened, `fault` what is wrong."""
        if self._store is None:
            return {"available": False, "fault": self.fault}
        return {"available": True, "fault": self.fault, **self._store.stats()}

    # -- inside -------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        store = Store.of(self._settings)  # a new one each time: one that failed is closed
        try:
            await store.open()
        except StoreError as error:
            self._fault = error.code
            raise
        self._store = store
        self._opened.set()

    async def _keep(self, upstream: Upstream, revoked: Callable[[frozenset[int]], None]) -> None:
        while self._store is None:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                await self._open()
            except StoreError:
                continue
            logger.info("the database is open now; its %d keys are valid", self.keys)
        store = self._store
        store.keys.watch(revoked)
        store.follow(upstream.journal)
        async with asyncio.TaskGroup() as tasks:
            # Of a cluster's gateway the clients go on at another one, and ask there.
            if not self._settings.in_cluster:
                tasks.create_task(self._keep_demand(store, upstream), name="brokerpool saved demand")
            tasks.create_task(self._keep_statistics(store, upstream), name="brokerpool kept statistics")

    async def _keep_demand(self, store: Store, upstream: Upstream) -> None:
        demand = self._demand
        assert demand is not None  # made by `serve`
        told = False
        while True:
            try:
                wanted = await store.saved_demand(*self._accounts)
                # Without a list all of it would be refused, and then be forgotten.
                if len(upstream.book) or upstream.book.takes_unlisted:
                    break
            except StoreError as error:
                if not told:
                    logger.warning("what the last run left is not known yet: %s", error)
                told = True
            await asyncio.sleep(RETRY_SECONDS)
        await demand.restore(wanted)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(demand.let_go())
            tasks.create_task(demand.watch(functools.partial(self._save_demand, store)))

    def _save_demand(self, store: Store, wanted: Mapping[Instrument, Mode]) -> bool:
        first, *others = self._accounts
        return store.save_demand(first, wanted, instead_of=others)

    async def _keep_statistics(self, store: Store, upstream: Upstream) -> None:
        while True:
            await asyncio.sleep(STATISTICS_SECONDS)
            store.note_statistics(upstream.get_pool_stats())


def _key_is_login(account: AccountSettings) -> bool:
    return registry.broker(account.broker).key_is_login
