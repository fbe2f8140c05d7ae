"""The dashboard in a real browser, in front of a broker that fails on command: each fault is seen in 2 s."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, expect

from brokerpool import Instrument
from brokerpool.gateway.server import Gateway
from brokerpool.monitor import health_reasons
from brokerpool.simulator.fault_switches import Refuse, RefuseDial
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.browser.chromium import PHONE, needs_chromium, page_of
from tests.gateway_client import KEY, Client, client, gateway, pool_of, raw_client
from tests.rehearsal import carrier, until

pytestmark = needs_chromium

#: Milliseconds within which an operator sees what has happened.
SEEN_MS = 2_000
#: Three connections of five symbols.
SMALL = {
    "MAX_SYMBOLS_PER_WEBSOCKET": "5",
    "MAX_WEBSOCKET_CONNECTIONS": "3",
    "BROKERPOOL_MARKET_HOURS": "always",
    "BROKERPOOL_CLIENT_BUFFER_BYTES": "8192",
    "MAX_RETRIES": "0",
}


@pytest.fixture(autouse=True)
def _one_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the gateway's loop be late: it is that of the test, which starts a browser meanwhile."""
    monkeypatch.setattr(health_reasons, "LAG_SECONDS", 60.0)


@asynccontextmanager
async def watched(
    symbols: int,
    simulator: dict[str, Any] | None = None,
    /,
    settings: dict[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[KiteSimulator, Gateway, Client, Page]]:
    """Give a gateway whose one client holds so many symbols, and a page that shows it."""
    async with (
        gateway({"rate": 300, **(simulator or {})}, **SMALL, **(settings or {})) as (broker, served_by),
        client(served_by) as session,
    ):
        names = [row.tradingsymbol for row in broker.listings if row.exchange == "NSE"]
        await session.subscribe(*names[:symbols], mode=2)
        await pool_of(served_by).wait_live(served_by.upstream.demand.instruments())
        reading = asyncio.create_task(drained(session))
        async with page_of(served_by.http_url, **options) as page:
            await expect(page.locator("#link")).to_have_text("connected")
            yield broker, served_by, session, page
        reading.cancel()
        await asyncio.wait({reading})


async def drained(session: Client) -> None:
    while True:
        await session.connection.recv()


def box(page: Page, name: str) -> Any:
    return page.locator(f"#connections > li[data-key={name}]")


async def sees(page: Page, where: str, text: str) -> None:
    await expect(page.locator(where)).to_contain_text(text, timeout=SEEN_MS)


@pytest.mark.alone
def test_a_killed_socket_its_gap_and_a_degraded_pool_are_seen_within_two_seconds() -> None:
    async def main() -> None:
        async with watched(10) as (broker, served_by, _, page):
            await sees(page, "#attention", "All is well")
            await expect(box(page, "zerodha-1").locator(".state")).to_have_text("live")
            broker.faults.refuse = RefuseDial(503)
            broker.kill(carrier(broker, pool_of(served_by), Instrument("NSE", "RELIANCE")))
            await sees(page, "#attention", "5 symbols with an open gap")
            await sees(page, "#attention", "zerodha-1 is ")
            await sees(page, "#attention", "lost or refused in the last 15 s")
            await sees(page, "#symbols", "NSE:RELIANCE")
            await sees(page, "#journal", "lost")
            await expect(box(page, "zerodha-1").locator(".state")).not_to_have_text("live")
            await expect(box(page, "zerodha-1").get_by_role("button", name="Rotate")).to_be_disabled()
            broker.faults.refuse = None
            pool_of(served_by).renew()
            await expect(box(page, "zerodha-1").locator(".state")).to_have_text("live", timeout=SEEN_MS)
            await sees(page, "#journal", "gap closed")

    asyncio.run(main())


@pytest.mark.alone
def test_a_refused_symbol_a_slow_client_and_a_429_storm_are_seen_within_two_seconds() -> None:
    async def main() -> None:
        async with watched(14, {"http_rates": {}, "symbols": 60}) as (broker, served_by, session, page):
            names = [row.tradingsymbol for row in broker.listings if row.exchange == "NSE"]
            # The answer goes to the task that reads.
            wanted = [{"symbol": name, "exchange": "NSE"} for name in names[14:18]]
            await session.connection.send(json.dumps({"action": "subscribe", "mode": 2, "symbols": wanted}))
            await sees(page, "#attention", "the last was NSE:")
            await sees(page, "#symbols", "MAX_CAPACITY_REACHED")

            rows = [{"symbol": row.tradingsymbol, "exchange": "NSE"} for row in broker.listings[:14]]
            _, writer = await raw_client(served_by.ws_url, rows)
            # The client that reads may be behind for a moment; the one that does not stays behind.
            for _ in range(300):
                await broker.step(500)
                await asyncio.sleep(0.005)
                if served_by._fanout.slow_clients.slowest(1)[0].behind_seconds > 0.3:
                    break
            await sees(page, "#attention", "1 client cannot keep up")
            await expect(page.locator("#clients tr").first.locator("td").nth(4)).to_contain_text("s")
            await expect(page.locator("#clients tr").first.locator("td").nth(5)).not_to_have_text("0")
            writer.close()

            broker.faults.refuse_http = Refuse(429)
            async with aiohttp.ClientSession(served_by.http_url) as http:
                bodies = [{"apikey": KEY, "symbol": name, "exchange": "NSE"} for name in names[20:30]]
                asked = [asyncio.create_task(http.post("/api/v1/quotes", json=body)) for body in bodies]
                await sees(page, "#attention", "“too fast” (429)")
                assert {answer.status for answer in await asyncio.gather(*asked)} == {429}

    asyncio.run(main())


def test_a_search_tells_where_a_symbol_is_and_the_journal_can_be_filtered() -> None:
    async def main() -> None:
        async with watched(6) as (_, _, _, page):
            await page.get_by_role("combobox", name="Symbol").fill("infy")
            await page.get_by_role("combobox", name="Symbol").press("Enter")
            for text in ("NSE:INFY", "zerodha-1", "Quote", "live"):
                await sees(page, "#found", text)
            await page.get_by_role("combobox", name="Symbol").fill("<b>nobody")
            await page.get_by_role("button", name="Find").click()
            await sees(page, "#found", "No client wants a symbol like “<b>nobody”")
            await page.get_by_label("Filter by words").fill("zerodha-2")
            await expect(page.locator("#journal tr")).to_have_count(2)
            await page.get_by_label("Event", exact=True).select_option("live")
            await expect(page.locator("#journal tr")).to_have_count(1)

    asyncio.run(main())


@pytest.mark.alone
def test_a_held_database_connection_is_seen_within_two_seconds_with_its_holder(tmp_path: Path) -> None:
    async def main() -> None:
        database = {"DATABASE_URL": f"sqlite:///{tmp_path}/test.db"}
        async with watched(2, settings=database) as (_, served_by, _, page):
            await sees(page, "#database", "0 of 5")
            await sees(page, "#database", "nobody")
            assert served_by._persistence is not None
            assert served_by._persistence._store is not None
            async with served_by._persistence._store._pool.connection():
                await sees(page, "#database", "1 of 5")
                await sees(page, "#database", "test_dashboard.py:")
            await sees(page, "#database", "0 of 5")

    asyncio.run(main())


def test_a_gateway_without_a_database_says_so() -> None:
    async def main() -> None:
        async with watched(2) as (_, _, _, page):
            await sees(page, "#database", "uses no database")

    asyncio.run(main())


@pytest.mark.alone
def test_a_connection_is_rotated_and_drained_after_a_confirmation_and_not_without() -> None:
    async def main() -> None:
        async with watched(3) as (broker, served_by, _, page):
            await box(page, "zerodha-1").get_by_role("button", name="Rotate").click()
            dialog = page.get_by_role("dialog")
            await expect(dialog).to_contain_text("Its 3 symbols are served by other connections")
            await page.keyboard.press("Escape")
            await expect(dialog).to_be_hidden()
            assert not served_by.upstream.inspection.evacuating()
            await box(page, "zerodha-1").get_by_role("button", name="Rotate").click()
            await dialog.get_by_role("button", name="Rotate it").click()
            await sees(page, "#toast", "3 symbols on the move")
            await sees(page, "#journal", "ordered")
            await expect(box(page, "zerodha-2")).to_be_visible(timeout=SEEN_MS)
            await expect(box(page, "zerodha-1")).to_have_count(0, timeout=10_000)

            names = [f"NSE:{row.tradingsymbol}" for row in broker.listings if row.exchange == "NSE"]
            pool_of(served_by).subscribe(names[3:7], owner="another")
            await pool_of(served_by).wait_live(names[3:7])
            pool_of(served_by).unsubscribe(names[3:5], owner="another")
            await expect(box(page, "zerodha-3").locator(".facts")).to_contain_text("2 of 5")
            await box(page, "zerodha-3").get_by_role("button", name="Drain").click()
            await dialog.get_by_role("button", name="Drain it").click()
            await expect(box(page, "zerodha-3")).to_have_count(0, timeout=10_000)
            await expect(box(page, "zerodha-2").locator(".facts")).to_contain_text("5 of 5")
            pool = served_by.upstream.get_pool_stats()["websocket"]
            assert (pool["gaps_total"], pool["connections"]) == (0, 1)

    asyncio.run(main())


def test_the_key_is_asked_for_once_a_tab_kept_out_of_every_url_and_a_wrong_one_is_told() -> None:
    async def main() -> None:
        async with watched(2) as (_, served_by, _, page):
            await page.reload()
            await expect(page.locator("#link")).to_have_text("connected")
            urls = await page.evaluate(
                "[location.href, ...performance.getEntriesByType('resource').map(e => e.name)]"
            )
            assert not any(KEY in url for url in urls)
            assert await page.evaluate("Object.values(localStorage).join() + document.cookie") == ""
            await page.get_by_role("button", name="Forget key").click()
            await expect(page.get_by_label("API key")).to_be_focused()
            assert await page.evaluate("sessionStorage.length") == 0
            await until(lambda: served_by._broadcast.viewers == 0)

    asyncio.run(main())


CONTRAST = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map((v) => linear(v / 255))
    .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("main *, header *")) {
    if (!node.checkVisibility() || node.closest("button:disabled")) continue;
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${node.tagName} ${node.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


def test_every_text_has_contrast_and_a_phone_shows_the_page_without_scrolling_sideways() -> None:
    async def main() -> None:
        async with watched(7) as (broker, _, _, page):
            broker.faults.refuse = RefuseDial(503)
            broker.kill(broker.sockets()[0]["id"])
            await sees(page, "#attention", "open gap")
            for scheme, theme in itertools.product(("light", "dark"), range(3)):
                await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                assert await page.evaluate(CONTRAST) == [], (scheme, theme)
                await page.get_by_role("button", name="Theme").click()
            await page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"]
            nameless = await page.evaluate(
                "[...document.querySelectorAll('main button, input:not([hidden]), select')]"
                ".filter((n) => !(n.ariaLabel || n.textContent.trim() || n.labels?.length)).map((n) => n.id)"
            )
            assert nameless == []

    asyncio.run(main())
