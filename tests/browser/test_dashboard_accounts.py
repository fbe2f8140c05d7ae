"""The dashboard over two accounts, in a real browser: one goes out, and who carries on is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from playwright.async_api import Page, expect

from brokerpool import Credentials
from brokerpool.monitor import health_reasons
from brokerpool.simulator.fault_switches import FaultOrder
from tests.browser.chromium import PHONE, needs_chromium, page_of
from tests.browser.test_dashboard import CONTRAST, SEEN_MS, drained, sees, watched
from tests.gateway_client import client
from tests.rehearsal import until
from tests.two_accounts import TwoAccounts, two_accounts

pytestmark = needs_chromium

ZERODHA, DESK2 = "#accounts > li[data-key=zerodha]", "#accounts > li[data-key=desk2]"


@pytest.fixture(autouse=True)
def _one_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the gateway's loop be late: it is that of the test, which starts a browser meanwhile."""
    monkeypatch.setattr(health_reasons, "LAG_SECONDS", 60.0)


@asynccontextmanager
async def watched_accounts(symbols: int, **options: Any) -> AsyncIterator[tuple[TwoAccounts, Page]]:
    """Give a gateway whose one client holds so many symbols, and a page that shows it."""
    async with two_accounts(**options) as two, client(two.served_by) as session:
        names = [row.tradingsymbol for row in two.brokers[0].listings if row.exchange == "NSE"]
        await session.subscribe(*names[:symbols], mode=2)
        await until(lambda: two.router.symbols_unserved == 0)
        reading = asyncio.create_task(drained(session))
        async with page_of(two.served_by.http_url) as page:
            await expect(page.locator("#link")).to_have_text("connected")
            yield two, page
        reading.cancel()
        await asyncio.wait({reading})


async def fact(page: Page, account: str, name: str, text: str) -> None:
    """Wait until the account's card says this of the fact."""
    value = page.locator(f"{account} .facts > div[data-key='{name}'] dd")
    await expect(value).to_have_text(text, timeout=SEEN_MS)


@pytest.mark.alone
def test_an_account_that_goes_out_and_who_carries_its_symbols_is_seen_within_two_seconds() -> None:
    async def main() -> None:
        # Room for ten symbols at home, and for six guests beside the four of the second account.
        async with watched_accounts(14) as (two, page):
            await sees(page, "#attention", "All is well")
            await expect(page.locator(f"{ZERODHA} .state")).to_have_text("live")
            await fact(page, ZERODHA, "symbols at home", "10 of 10")
            await fact(page, DESK2, "symbols at home", "4 of 10")
            await sees(page, "#accounts-sum", "14 of 14 symbols are carried, all at home.")
            await two.refuse_login(0)
            await until(lambda: two.router.accounts()[0].login.refused)
            await until(lambda: two.router.accounts()[0].symbols_away == 6)
            await expect(page.locator(f"{ZERODHA} .state")).to_have_text("login refused", timeout=SEEN_MS)
            await sees(page, "#attention", "access token of the account zerodha")
            await sees(page, "#attention", "6 go on with desk2, 4 with none: desk2 is full (10 of 10)")
            await sees(page, "#attention", "brokerpool login zerodha")
            await expect(page.locator("#attention li", has_text="zerodha-1 is")).to_have_count(0)
            await fact(page, ZERODHA, "of them away", "6")
            await fact(page, ZERODHA, "of them not carried", "4")
            await fact(page, ZERODHA, "access token", "refused by the broker")
            await fact(page, DESK2, "guests of other accounts", "6")
            await fact(page, DESK2, "access token", "accepted by the broker")
            await sees(page, "#accounts-sum", "10 of 14 symbols are carried, 6 of them away from home.")
            await expect(page.locator("#symbols tr", has_text="away from home")).to_have_count(6)
            await sees(page, "#symbols", "desk2 carries it, while its home zerodha is out")
            await two.brokers[0].throw(FaultOrder(access_token="next-day"))
            two.feeds[0].login.renew(Credentials("next-day"))
            await expect(page.locator(f"{ZERODHA} .state")).to_have_text("live", timeout=SEEN_MS)
            await sees(page, "#accounts-sum", "14 of 14 symbols are carried")
            await expect(page.locator("#accounts-sum")).to_contain_text("all at home", timeout=15_000)

    asyncio.run(main())


def test_connections_stand_under_their_account_and_orders_and_search_name_it() -> None:
    async def main() -> None:
        async with watched_accounts(7, exchanges=("NSE", "BSE")) as (two, page):
            # Kite's API carries none, so the settings refuse it; the page takes any account's name.
            broadcast = two.served_by._broadcast
            broadcast._sources = replace(broadcast._sources, orders_account="desk2")
            await expect(page.get_by_role("heading", name="Accounts")).to_be_visible()
            zerodha = page.get_by_role("region", name="zerodha", exact=True)
            await expect(zerodha.locator("article h4")).to_have_text(["zerodha-1", "zerodha-2"])
            await expect(zerodha).to_contain_text("zerodha · 2 of 2 sockets live")
            desk2 = page.get_by_role("region", name="desk2", exact=True)
            await expect(desk2.locator("article h4")).to_have_text(["not open", "not open"])
            await expect(desk2).to_contain_text("zerodha, account desk2 · 0 of 2 sockets live")
            await expect(page.locator("#connections")).to_be_hidden()
            await expect(page.locator(f"{DESK2} .sample")).to_have_text("zerodha · BSE, NSE · carries orders")
            await expect(page.locator(f"{ZERODHA} .sample")).to_have_text("zerodha")
            meter = page.get_by_role("meter", name="places taken on the account zerodha")
            await expect(meter).to_have_attribute("aria-valuetext", "7 of 10")
            await expect(page.locator("#account-title")).to_have_text("Instruments and keys")
            await page.get_by_role("combobox", name="Symbol").fill("NSE:INFY")
            await page.get_by_role("combobox", name="Symbol").press("Enter")
            await sees(page, "#found", "Its account is zerodha.")
            await expect(page.locator("#found div[data-key=account] dd")).to_have_text("zerodha")

    asyncio.run(main())


def test_of_one_account_nothing_is_shown_that_was_not_there_before() -> None:
    async def main() -> None:
        async with watched(2) as (_, _, _, page):
            await expect(page.locator("#accounts-part")).to_be_hidden()
            await expect(page.locator("#cluster-part")).to_be_hidden()
            await expect(page.locator("#groups > *")).to_have_count(0)
            await expect(page.locator("#connections > li").first).to_be_visible()
            await expect(page.locator("#account-title")).to_have_text("Account and keys")
            await sees(page, "#account", "accepted by the broker")
            await sees(page, "#broker-box", "zerodha · 1 of 3 sockets live")
            await page.get_by_role("combobox", name="Symbol").fill("NSE:RELIANCE")
            await page.get_by_role("combobox", name="Symbol").press("Enter")
            await sees(page, "#found", "It ticks.")
            await expect(page.locator("#found div[data-key=account]")).to_have_count(0)

    asyncio.run(main())


def test_accounts_have_contrast_names_and_fit_a_phone_in_both_schemes() -> None:
    async def main() -> None:
        async with watched_accounts(14) as (two, page):
            await two.refuse_login(0)
            await expect(page.locator(f"{ZERODHA} .state")).to_have_text("login refused", timeout=10_000)
            for size in ({"width": 1280, "height": 900}, PHONE):
                await page.set_viewport_size({"width": size["width"], "height": size["height"]})
                for scheme in ("light", "dark"):
                    await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                    assert await page.evaluate(CONTRAST) == [], (size, scheme)
                    assert await page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            nameless = await page.evaluate(
                "[...document.querySelectorAll('main section, main [role=meter]')]"
                ".filter((n) => !(n.ariaLabel || document.getElementById(n.getAttribute('aria-labelledby'))))"
                ".map((n) => n.outerHTML.slice(0, 60))"
            )
            assert nameless == []
            ids = await page.evaluate("[...document.querySelectorAll('[id]')].map((n) => n.id)")
            assert len(ids) == len(set(ids))

    asyncio.run(main())
