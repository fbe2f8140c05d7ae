"""Takes pictures of the dashboard when all is well, and when it is not: `make screenshots`.

All of them go into build/screenshots, to be looked at; docs/images keeps those that the documentation shows.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from playwright.async_api import Page

from brokerpool.db.pool import DatabasePool
from brokerpool.monitor import health_reasons, health_timing
from brokerpool.simulator.fault_switches import FaultOrder
from brokerpool.store.gateway_store import Store
from brokerpool.store.keys import Scope
from tests.browser.chromium import DESKTOP, PHONE, page_of
from tests.cluster import cluster
from tests.gateway_client import Client, client, gateway, pool_of
from tests.rehearsal import until
from tests.two_accounts import two_accounts

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "build" / "screenshots"
IMAGES = ROOT / "docs" / "images"
#: The pictures that the documentation shows, and under which name.
KEPT = {
    "well-1280-light.png": "dashboard-light.png",
    "token-1280-dark.png": "dashboard-dark.png",
    "gone-390-light.png": "dashboard-phone.png",
    "accounts-1280-light.png": "dashboard-accounts.png",
    "cluster-1280-light.png": "dashboard-cluster.png",
}
#: Long enough for the plots to have something to show.
SECONDS = 12
SETTINGS = {
    "MAX_SYMBOLS_PER_WEBSOCKET": "200",
    "MAX_WEBSOCKET_CONNECTIONS": "3",
    "BROKERPOOL_MARKET_HOURS": "always",
}
#: Nobody listens on port 1.
NO_DATABASE = "postgresql://brokerpool@127.0.0.1:1/brokerpool"


async def take() -> None:
    """Show a working day, a dead token, a gateway that is gone, no database, two accounts, and a cluster."""
    health_reasons.LAG_SECONDS = 60.0  # the loop is this program's, which starts a browser
    health_timing.GRACE_SECONDS = 1.0
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        await a_day(f"sqlite:///{folder}/gateway.db")
    await without_database()
    await accounts()
    await of_a_cluster()
    for picture, name in KEPT.items():
        shutil.copy(PICTURES / picture, IMAGES / name)


async def a_day(database: str) -> None:
    async with Store(DatabasePool(database)) as store:
        keys = [await store.create_key(name, {Scope.DATA}) for name in ("momentum", "hedger")]
    async with AsyncExitStack() as stack:
        simulator = {"rate": 2000, "symbols": 600}
        broker, served_by = await stack.enter_async_context(
            gateway(simulator, **SETTINGS, DATABASE_URL=database)
        )
        rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
        reading = []
        for key, held, mode in ((keys[0], rows[:520], 2), (keys[1], rows[:40], 3)):
            session = await stack.enter_async_context(client(served_by, key=key))
            await session.ask(action="subscribe", symbols=held, mode=mode)
            reading.append(asyncio.create_task(read(session)))
        page = await stack.enter_async_context(page_of(served_by.http_url, forgiven="ERR_CONNECTION_REFUSED"))
        await page.get_by_role("combobox", name="Symbol").fill("INFY")
        await page.get_by_role("combobox", name="Symbol").press("Enter")
        await page.get_by_role("combobox", name="Symbol").blur()
        await asyncio.sleep(SECONDS)
        await pictures(page, "well")
        await broker.throw(FaultOrder.parse(b'{"expire_token": {}}'))
        for socket in broker.sockets():
            broker.kill(socket["id"])
        await until(lambda: pool_of(served_by).feed.login.refused, seconds=20)
        await page.locator("#attention [data-key='h login_refused']").wait_for()
        await pictures(page, "token")
        for task in reading:
            task.cancel()
        await asyncio.wait(reading)
        await served_by.close()
        await page.locator("#gone").wait_for()
        await pictures(page, "gone")


async def without_database() -> None:
    async with (
        gateway({"rate": 200}, **SETTINGS, DATABASE_URL=NO_DATABASE) as (_, served_by),
        client(served_by) as session,
        page_of(served_by.http_url) as page,
    ):
        await session.subscribe("INFY", "SBIN")
        await page.locator("#attention [data-key='h database_absent']").wait_for()
        await pictures(page, "database")


async def accounts() -> None:
    """Show two accounts, of which the first one is out: the second carries what it has room for."""
    async with (
        two_accounts({"rate": 2000, "symbols": 600}, symbols=150) as two,
        client(two.served_by) as session,
        page_of(two.served_by.http_url) as page,
    ):
        rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in two.brokers[0].listings]
        await session.ask(action="subscribe", symbols=rows[:440], mode=2)
        reading = asyncio.create_task(read(session))
        await asyncio.sleep(SECONDS)
        await pictures(page, "accounts-well")
        await two.refuse_login(0)
        await until(lambda: two.router.accounts()[0].symbols_away, seconds=20)
        await page.locator("#attention [data-key='h login_refused zerodha']").wait_for()
        await asyncio.sleep(SECONDS)
        await pictures(page, "accounts")
        reading.cancel()
        await asyncio.wait({reading})


async def of_a_cluster() -> None:
    """Show a gateway whose ticks come from the first of two feed nodes, and then one without NATS."""
    with tempfile.TemporaryDirectory() as folder:
        async with cluster(Path(folder), rate=2000, symbols=200, max_sockets=3) as stage:
            await stage.feed("feed")
            served = await stage.gateway("gateway")
            await stage.feed("feed")
            async with stage.clients(2, served), page_of(served.said["http_url"], stage.api_key) as page:
                await page.locator("#cluster dd", has_text="1 account").wait_for()
                await asyncio.sleep(SECONDS)
                await pictures(page, "cluster")
                await asyncio.to_thread(stage.nats.kill)
                await page.locator("#attention [data-key='h bus_away']").wait_for()
                await asyncio.sleep(SECONDS)
                await pictures(page, "nats")


async def read(session: Client) -> None:
    while True:
        await session.connection.recv()


async def pictures(page: Page, name: str) -> None:
    """Take the state at both sizes and in both schemes; a phone's picture is two screens long."""
    for size, scheme in itertools.product((DESKTOP, PHONE), ("light", "dark")):
        await page.set_viewport_size({"width": size["width"], "height": size["height"]})
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.mouse.move(0, 0)
        await asyncio.sleep(1)
        await page.screenshot(
            path=PICTURES / f"{name}-{size['width']}-{scheme}.png",
            full_page=True,
            clip={"x": 0, "y": 0, "width": size["width"], "height": 1460 if size is DESKTOP else 1300},
        )


if __name__ == "__main__":
    asyncio.run(take())
