"""Takes the pictures of docs/how-to/dashboard.md: `make screenshots`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from playwright.async_api import Page

from brokerpool.simulator.faults import RefuseDial
from tests.browser.chromium import PHONE, page_of
from tests.gateway_client import Client, client, gateway
from tests.rehearsal import until

IMAGES = Path(__file__).parents[2] / "docs" / "images"
#: Long enough for the plots to have something to show.
SECONDS = 20
SETTINGS = {
    "MAX_SYMBOLS_PER_WEBSOCKET": "200",
    "MAX_WEBSOCKET_CONNECTIONS": "3",
    "BROKERPOOL_MARKET_HOURS": "always",
}


async def take() -> None:
    """Show a working day, and a connection that is out on two further pictures."""
    IMAGES.mkdir(exist_ok=True)
    async with (
        gateway({"rate": 2000, "symbols": 600}, **SETTINGS) as (broker, served_by),
        client(served_by) as one,
        client(served_by) as two,
    ):
        rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
        await one.ask(action="subscribe", symbols=rows[:520], mode=2)
        await two.ask(action="subscribe", symbols=rows[:40], mode=3)
        reading = [asyncio.create_task(read(session)) for session in (one, two)]
        async with page_of(served_by.http_url) as page:
            await page.get_by_role("combobox", name="Symbol").fill("INFY")
            await page.get_by_role("combobox", name="Symbol").press("Enter")
            await page.get_by_role("combobox", name="Symbol").blur()
            await asyncio.sleep(SECONDS)
            await picture(page, "dashboard-light.png", height=1460)
            await page.emulate_media(color_scheme="dark")
            await asyncio.sleep(1)
            broker.faults.refuse = RefuseDial(503)
            broker.kill(broker.sockets()[1]["id"])
            await until(lambda: served_by.pool.get_pool_stats()["websocket"]["symbols_degraded"])
            await asyncio.sleep(1)
            await picture(page, "dashboard-dark.png")
            await page.emulate_media(color_scheme="light")
            await page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
            await asyncio.sleep(1)
            await picture(page, "dashboard-phone.png")
        for task in reading:
            task.cancel()
        await asyncio.wait(reading)


async def read(session: Client) -> None:
    while True:
        await session.connection.recv()


async def picture(page: Page, name: str, *, height: int | None = None) -> None:
    size = page.viewport_size
    assert size is not None
    await page.mouse.move(0, 0)
    await page.screenshot(
        path=IMAGES / name,
        full_page=True,
        clip={"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]},
    )


if __name__ == "__main__":
    asyncio.run(take())
