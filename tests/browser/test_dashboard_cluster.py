"""The dashboard of a cluster's gateway, in a real browser: nodes, leases, and NATS that goes away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from brokerpool.cluster.nats_server import program
from tests.browser.chromium import PHONE, needs_chromium, page_of
from tests.browser.test_dashboard import CONTRAST
from tests.cluster import cluster

pytestmark = [
    needs_chromium,
    pytest.mark.timeout(300),
    pytest.mark.skipif(program() is None, reason="needs the program nats-server"),
]

#: What is told is on the page by then, on a slow machine too.
SEEN_MS = 30_000
#: And by then it is over what a busy machine had a gateway say of its loop, which holds for a minute.
CALM_MS = 90_000


async def fact(page: Page, name: str, text: str) -> None:
    value = page.locator(f"#cluster .facts > div[data-key='{name}'] dd")
    await expect(value).to_have_text(text, timeout=SEEN_MS)


def test_nodes_leases_and_shards_are_seen_and_nats_that_goes_away_with_what_to_do(tmp_path: Path) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=200, symbols=20, max_sockets=3) as stage:
            first = await stage.feed("one")
            gateway = await stage.gateway("a")
            await stage.feed("two")
            async with (
                stage.clients(1, gateway),
                page_of(gateway.said["http_url"], stage.api_key) as page,
            ):
                await expect(page.get_by_role("heading", name="Cluster")).to_be_visible()
                await fact(page, "server", "connected")
                sum_ = page.locator("#cluster-sum")
                await expect(sum_).to_contain_text("1 gateway and 2 feed nodes", timeout=SEEN_MS)
                await fact(page, first.said["node"], "1 account")
                lease = page.locator("#leases tr[data-key=zerodha] td")
                await expect(lease.nth(1)).to_have_text(first.said["node"])
                await expect(lease.nth(4)).to_have_text("0", timeout=SEEN_MS)
                await expect(page.locator("#attention")).to_contain_text("All is well", timeout=CALM_MS)
                for size in ({"width": 1280, "height": 900}, PHONE):
                    await page.set_viewport_size({"width": size["width"], "height": size["height"]})
                    for scheme in ("light", "dark"):
                        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                        assert await page.evaluate(CONTRAST) == [], (size, scheme)
                        assert await page.evaluate("document.documentElement.scrollWidth") <= size["width"]
                await asyncio.to_thread(stage.nats.kill)
                await fact(page, "server", "away")
                attention = page.locator("#attention")
                await expect(attention).to_contain_text("No NATS server is connected", timeout=SEEN_MS)
                await expect(attention).to_contain_text("clients keep their connections")
                await expect(attention).to_contain_text("BROKERPOOL_NATS_URL")
                await expect(lease.nth(4)).not_to_have_text("0", timeout=SEEN_MS)
                await expect(lease.nth(1)).to_have_text("not known", timeout=SEEN_MS)
                await expect(page.locator("#connections > li", has_text="live")).to_have_count(0)
                await asyncio.to_thread(stage.nats.start)
                await fact(page, "server", "connected")
                await fact(page, "found again", "1")
                await expect(lease.nth(4)).to_have_text("0", timeout=SEEN_MS)
                await expect(attention).not_to_contain_text("No NATS server", timeout=SEEN_MS)

    asyncio.run(scene())
