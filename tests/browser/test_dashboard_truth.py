"""What the page says of the whole is what /health says, and it says nothing of now that was true earlier."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, expect

from brokerpool.brokers.zerodha import ZerodhaFeed
from brokerpool.db.pool import DatabasePool
from brokerpool.gateway.instrument_refresh import InstrumentRefresh
from brokerpool.gateway.process_health import DatabaseState
from brokerpool.gateway.server import Gateway
from brokerpool.instruments import TokenBook
from brokerpool.monitor import health_reasons, health_timing
from brokerpool.store.gateway_store import Store
from brokerpool.store.keys import Scope
from tests.browser.chromium import PHONE, needs_chromium
from tests.browser.test_dashboard import CONTRAST, SEEN_MS, sees, watched
from tests.gateway_client import pool_of

pytestmark = needs_chromium

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    # The loop is the test's, which starts a browser.
    monkeypatch.setattr(health_reasons, "LAG_SECONDS", 60.0)
    monkeypatch.setattr(health_timing, "GRACE_SECONDS", 0.0)


async def reasons(served_by: Gateway) -> list[dict[str, Any]]:
    async with (
        aiohttp.ClientSession(served_by.http_url) as http,
        http.get("/health") as answer,
    ):
        found: list[dict[str, Any]] = (await answer.json())["reasons"]
        return found


async def stands_on_top(page: Page, served_by: Gateway, code: str) -> None:
    """Fail unless the reason and its next step are on top of the page in the words of /health."""
    reason = next(r for r in await reasons(served_by) if r["code"] == code)
    item = page.locator(f'#attention li[data-key="h {code}"]')
    await expect(item).to_contain_text(reason["action"], timeout=SEEN_MS)
    await expect(item).to_contain_text(re.compile(f"since {STAMP} "))
    if code not in ("demand_not_served", "data_stale"):  # these count, and the count moves
        await expect(item).to_contain_text(reason["text"])
    await expect(page.locator("#attention")).not_to_contain_text("All is well")


def test_a_dead_token_an_old_or_a_missing_list_and_a_database_that_is_away_are_told_in_the_words_of_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        database = {"DATABASE_URL": f"sqlite:///{tmp_path}/test.db"}
        async with watched(2, settings=database) as (_, served_by, _, page):
            await sees(page, "#attention", "All is well")
            refresh = served_by.instruments._refreshes["zerodha"]
            assert isinstance(refresh, InstrumentRefresh)
            refresh.fault = "the broker answered 503"
            await sees(page, "#attention", "503")
            await stands_on_top(page, served_by, "instruments_stale")
            refresh.fault = ""
            await sees(page, "#attention", "All is well")
            feed = pool_of(served_by).feed
            assert isinstance(feed, ZerodhaFeed)
            book = feed.book
            feed.relist(TokenBook())
            await sees(page, "#attention", "list is empty")
            await stands_on_top(page, served_by, "instruments_missing")
            feed.relist(book)
            await sees(page, "#attention", "All is well")
            monkeypatch.setattr(served_by._health, "_database", lambda: DatabaseState("DB_UNREACHABLE"))
            await sees(page, "#attention", "DB_UNREACHABLE")
            await stands_on_top(page, served_by, "database_away")
            monkeypatch.setattr(served_by._health, "_database", DatabaseState)
            await sees(page, "#account", "accepted by the broker")
            login = feed.login
            login.refuse(login.version)
            await sees(page, "#account", "refused by the broker")
            await stands_on_top(page, served_by, "login_refused")

    asyncio.run(main())


def test_login_list_and_stored_keys_are_shown_and_no_secret_is(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path}/test.db"
        async with Store(DatabasePool(url)) as store:
            secret = await store.create_key("momentum <b>", frozenset({Scope.DATA, Scope.ORDERS}))
        async with watched(2, settings={"DATABASE_URL": url}) as (broker, served_by, _, page):
            login = pool_of(served_by).feed.login
            login.renew(replace(login.credentials, user="AB1234", expires_at=4_000_000_000.0))
            await sees(page, "#account", "AB1234")
            await expect(page.locator("#account")).to_contain_text(re.compile(rf"valid until{STAMP} \w+"))
            await expect(page.locator("#account")).to_contain_text(re.compile(r"instruments\d+"))
            await expect(page.locator("#keys")).to_contain_text("momentum <b>")
            await expect(page.locator("#keys")).to_contain_text("data, orders")
            await sees(page, "#clients", "BROKERPOOL_API_KEY")
            await sees(page, "#clients", "127.0.0.1")
            await expect(page.locator("#database")).to_contain_text(re.compile(r"memory[\d.]+ MB"))
            html = await page.content()
            assert secret not in html
            assert broker.access_token not in html

    asyncio.run(main())


def test_a_gateway_that_is_gone_greys_the_page_says_since_when_and_is_well_no_more() -> None:
    async def main() -> None:
        async with watched(2, forgiven="ERR_CONNECTION_REFUSED") as (_, served_by, _, page):
            await sees(page, "#attention", "All is well")
            await expect(page.locator("#gone")).to_be_hidden()
            await served_by.close()
            await expect(page.locator("#gone")).to_contain_text(
                re.compile(f"The gateway is gone since {STAMP} "), timeout=10_000
            )
            await expect(page.locator("#main")).to_have_class("old")
            await expect(page.locator("#attention")).not_to_contain_text("All is well")
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                assert await page.evaluate(CONTRAST) == [], scheme

    asyncio.run(main())


def test_a_table_on_a_phone_says_in_words_that_it_goes_on_to_the_right() -> None:
    async def main() -> None:
        async with watched(2, viewport=PHONE) as (_, _, _, page):
            area = page.locator(".scroll", has=page.locator("#clients"))
            hint = area.locator("xpath=following-sibling::p[1]")
            await expect(hint).to_contain_text("Scroll for more to the right →")
            await area.evaluate("(node) => { node.scrollLeft = node.scrollWidth; }")
            await expect(hint).not_to_contain_text("to the right")

    asyncio.run(main())
