"""A drill with a real Prometheus: each alert fires under its fault and clears, and each panel has data."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import time
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from brokerpool.brokers.login import Credentials
from brokerpool.settings import DatabaseSettings
from brokerpool.store.gateway_store import Store
from tests import processes
from tests.faults.observer import observing
from tests.faults.prometheus import (
    HOW_TO_GET_IT,
    MISSING,
    OF_CLUSTER,
    RULES,
    Prometheus,
    in_a_hurry,
    panel_queries,
    prometheus,
)
from tests.gateway_client import raw_client
from tests.processes import Running
from tests.rehearsal import until

SYMBOLS, WATCHED, PER_CONNECTION = 90, 60, 30
#: Fires for a certificate that ends soon, and this gateway has none: see test_access.
NEEDS_TLS = "BrokerpoolCertificateEnds"
#: For a gateway with more than one account.
OF_SEVERAL = {"BrokerpoolAccountOut", "BrokerpoolLoginEnds"}
SECRET_KEY = "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk="
#: Longer than the lag that is told, and than a scrape may take.
STOPPED_SECONDS = 1.0

pytestmark = pytest.mark.skipif(MISSING, reason=HOW_TO_GET_IT)


class Drill:
    """The parties, and which alerts have fired so far."""

    def __init__(
        self, folder: Path, broker: Running, gateway: Running, watcher: Prometheus, key: str
    ) -> None:
        self.folder = folder
        self.gateway = gateway
        self.control = broker.said["control_url"]
        self.ws_url = broker.said["ws_url"]
        self.api_key = broker.said["api_key"]
        self.token = broker.said["access_token"]
        self.key = key
        self.rows = [*processes.listed(broker).values()]
        self.fired: set[str] = set()
        self._watcher = watcher

    async def throw(self, **faults: Any) -> None:
        await asyncio.to_thread(processes.post, f"{self.control}/faults", faults)

    async def sockets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await asyncio.to_thread(processes.get, f"{self.control}/sockets")
        return found

    async def kill(self, number: int) -> None:
        await asyncio.to_thread(processes.post, f"{self.control}/sockets/{number}/kill")

    async def firing(self) -> set[str]:
        now = await asyncio.to_thread(self._watcher.firing)
        self.fired |= now
        return now

    async def fire(self, *alerts: str, seconds: float = 15) -> None:
        """Return once all of the alerts have fired."""
        await self._look(lambda now: self.fired.issuperset(alerts), seconds, f"{alerts} to fire")

    async def clear(self, seconds: float = 15) -> None:
        """Return once no alert fires."""
        await self._look(lambda now: not now, seconds, "all alerts to clear")

    async def _look(self, done: Any, seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not done(now := await self.firing()):
            assert time.monotonic() < deadline, f"waited for {what}; {now} fire, {self.fired} have fired"
            await asyncio.sleep(0.1)

    async def post(self, http: aiohttp.ClientSession, path: str, **members: str) -> None:
        body = {"apikey": self.key, "exchange": "NSE", **members}
        async with http.post(f"{self.gateway.said['http_url']}/api/v1/{path}", json=body) as answer:
            await answer.read()


async def history(drill: Drill, http: aiohttp.ClientSession, symbols: Iterable[str]) -> None:
    days = {"interval": "D", "start_date": "2025-04-21", "end_date": "2025-04-25"}
    await asyncio.gather(*(drill.post(http, "history", symbol=symbol, **days) for symbol in symbols))


async def keep_asking(drill: Drill, http: aiohttp.ClientSession, symbols: Sequence[str]) -> None:
    while True:
        await history(drill, http, symbols)
        await asyncio.sleep(0.5)


async def calls_fail(drill: Drill) -> None:
    """Calls that wait, then calls that are too fast, then a broker that fails them all."""
    async with aiohttp.ClientSession() as http:
        names = [row["symbol"] for row in drill.rows if row["exchange"] == "NSE"]
        await asyncio.gather(history(drill, http, names[:12]), drill.fire("BrokerpoolCallsWait"))
        await drill.throw(refuse_http={"status": 429, "path": "/quote", "count": 1})
        await drill.post(http, "quotes", symbol=names[-1])
        await drill.throw(refuse_http={"status": 503, "path": "/instruments/historical"})
        # Again and again: an open breaker tries a call after some seconds, maybe before it is scraped.
        failing = asyncio.create_task(keep_asking(drill, http, names[:3]))
        await drill.fire("BrokerpoolRateLimited", "BrokerpoolBreakerOpen")
        failing.cancel()
        await drill.throw(refuse_http={"status": 503, "path": "/instruments"})
        drill.gateway.process.send_signal(signal.SIGHUP)  # the list is read again
        await drill.fire("BrokerpoolInstrumentsStale")
        await drill.throw(refuse_http=None)


async def a_client_does_not_read(drill: Drill) -> None:
    _, writer = await raw_client(drill.gateway.said["ws_url"], drill.rows, drill.key)
    try:
        # It wants every symbol, so the pool is nearly full as well.
        await drill.fire("BrokerpoolSlowClients", "BrokerpoolNearlyFull")
    finally:
        writer.transport.abort()


async def two_symbols_are_mute(drill: Drill, tokens: list[int]) -> None:
    await drill.throw(mute={"sockets": "all", "tokens": tokens})
    await drill.fire("BrokerpoolSymbolsMute")
    await drill.throw(mute=None)


async def the_process_stands_still(drill: Drill) -> None:
    drill.gateway.process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(STOPPED_SECONDS)
        await drill.fire("BrokerpoolDown")
    finally:
        drill.gateway.process.send_signal(signal.SIGCONT)
    await drill.fire("BrokerpoolLoopLate")


async def a_connection_is_cut(drill: Drill) -> None:
    await drill.kill((await drill.sockets())[0]["id"])
    await drill.fire("BrokerpoolConnectionFlaps")


async def others_take_the_connections(drill: Drill, http: aiohttp.ClientSession) -> None:
    """Open all connections that the account may have, so that the gateway's next dials get a 429."""
    url = f"{drill.ws_url}?api_key={drill.api_key}&access_token={drill.token}"
    async with contextlib.AsyncExitStack() as others:
        taken = 0
        while taken < 3:
            for socket in await drill.sockets():
                if socket["tokens"]:  # those of the gateway; the others want nothing
                    await drill.kill(socket["id"])
            with contextlib.suppress(aiohttp.WSServerHandshakeError):
                await others.enter_async_context(http.ws_connect(url))
                taken += 1
        await drill.fire("BrokerpoolDialsRefused")


async def the_token_dies_and_a_new_one_comes(drill: Drill) -> None:
    await drill.throw(expire_token={"close_sockets": True})
    await drill.fire("BrokerpoolLoginRefused", "BrokerpoolNotReady", "BrokerpoolSymbolsDown")
    await drill.throw(access_token="tomorrows-token")
    env = drill.folder / "sim.env"
    env.write_text(env.read_text().replace(drill.token, "tomorrows-token"))


async def keys_are_guessed(drill: Drill, http: aiohttp.ClientSession) -> None:
    for _ in range(12):
        url = f"{drill.gateway.said['http_url']}/api/v1/ping"
        async with http.post(url, json={"apikey": "a-guess-that-is-wrong"}) as answer:
            await answer.read()
    await drill.fire("BrokerpoolLockedOut")


async def the_database_is_locked(drill: Drill) -> None:
    """Hold the file as a program does that writes and does not end; the gateway's own writes wait in vain."""
    other = sqlite3.connect(drill.folder / "brokerpool.db", isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        await drill.fire("BrokerpoolDatabaseAway", seconds=60)
    finally:
        other.close()


def test_each_alert_fires_under_its_fault_and_clears_and_each_panel_has_data(tmp_path: Path) -> None:
    settings = {
        "MAX_SYMBOLS_PER_WEBSOCKET": str(PER_CONNECTION),
        "BROKERPOOL_FAILOVER_SECONDS": "1",
        "BROKERPOOL_CLIENT_BUFFER_BYTES": "4096",
        "BACKOFF_FACTOR": "0",
        "BROKERPOOL_MARKET_HOURS": "always",
        "BROKERPOOL_LINGER_SECONDS": "1",
    }
    with (
        processes.simulator(tmp_path, symbols=SYMBOLS, rate=1800) as broker,
        processes.gateway(tmp_path, **settings) as gateway,
        prometheus(tmp_path, gateway.said["http_url"].removeprefix("http://"), in_a_hurry(RULES)) as watcher,
    ):
        drill = Drill(tmp_path, broker, gateway, watcher, processes.api_key(tmp_path))
        tokens = list(processes.listed(broker))

        async def main() -> None:
            watched = drill.rows[:WATCHED]
            async with (
                observing(gateway.said["ws_url"], drill.key, [watched]) as (client,),
                aiohttp.ClientSession() as http,
            ):
                await until(lambda: len(client.last) == WATCHED, seconds=20)
                began = time.monotonic()
                await asyncio.sleep(3)  # long enough for the pool to learn how often symbols tick
                assert await drill.firing() == set(), "all is well, so nothing fires"
                await asyncio.gather(
                    calls_fail(drill),
                    a_client_does_not_read(drill),
                    two_symbols_are_mute(drill, tokens[:2]),
                )
                empty = [
                    (title, query)
                    for title, query in panel_queries(cluster=False)
                    if not await asyncio.to_thread(watcher.query, query)
                ]
                assert empty == [], "each panel has something to draw"
                await the_process_stands_still(drill)
                await a_connection_is_cut(drill)
                await others_take_the_connections(drill, http)
                await keys_are_guessed(drill, http)
                await the_database_is_locked(drill)
                await the_token_dies_and_a_new_one_comes(drill)
                await drill.clear(seconds=90)  # a lock-out lasts a minute
                took = time.monotonic() - began
                print(f"{len(drill.fired)} alerts fired and cleared in {took:.0f} s")

        asyncio.run(main())
        rules = [rule["alert"] for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]]
        assert drill.fired == set(rules) - {NEEDS_TLS} - OF_SEVERAL - OF_CLUSTER


def test_of_several_accounts_one_that_is_out_and_a_login_that_ends_fire_and_clear(tmp_path: Path) -> None:
    simulate = (
        "simulate",
        "--broker",
        "zerodha",
        "--symbols",
        "20",
        "--rate",
        "200",
        "--write-config",
        "two.toml",
    )
    settings = {
        "WEBSOCKET_PORT": "0",
        "BROKERPOOL_HTTP_PORT": "0",
        "BROKERPOOL_FAILOVER_SECONDS": "1",
        "BROKERPOOL_SECRET_KEY": SECRET_KEY,
    }
    with (
        processes.command(*simulate, folder=tmp_path) as first,
        processes.command(*simulate, folder=tmp_path) as second,
        processes.command("serve", "--config", "two.toml", folder=tmp_path, **settings) as gateway,
        prometheus(tmp_path, gateway.said["http_url"].removeprefix("http://"), in_a_hurry(RULES)) as watcher,
    ):
        key = tomllib.loads((tmp_path / "two.toml").read_text())["BROKERPOOL_API_KEY"]
        drill = Drill(tmp_path, first, gateway, watcher, key)
        token = second.said["access_token"]

        async def main() -> None:
            async with observing(gateway.said["ws_url"], key, [drill.rows]) as (client,):
                await until(lambda: len(client.last) == len(drill.rows), seconds=20)
                await drill.clear()
                drill.fired.clear()
                await drill.throw(down=True)
                await a_login_is_stored(tmp_path, "zerodha-2", Credentials(token, time.time() + 600))
                await drill.fire("BrokerpoolAccountOut", "BrokerpoolLoginEnds")
                await drill.throw(down=False)
                await a_login_is_stored(tmp_path, "zerodha-2", Credentials(token, time.time() + 86_400))
                await drill.clear(seconds=60)

        asyncio.run(main())
        assert drill.fired >= OF_SEVERAL
        assert "BrokerpoolLoginRefused" not in drill.fired


async def a_login_is_stored(folder: Path, account: str, login: Credentials) -> None:
    """Keep a login where the gateway finds it, as `brokerpool login` does with one that tells its end."""
    database = {"DATABASE_URL": f"sqlite:///{folder / 'brokerpool.db'}", "BROKERPOOL_SECRET_KEY": SECRET_KEY}
    async with Store.of(DatabaseSettings.load(environ=database)) as store:
        await store.save_login(account, login)
