"""The system's Chromium, without a window, on the dashboard of a gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

from tests.gateway_client import KEY

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
)
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}

needs_chromium = pytest.mark.skipif(
    not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing: apt-get install chromium"
)


@asynccontextmanager
async def page_of(url: str, key: str = KEY, *, forgiven: str = "", **options: Any) -> AsyncIterator[Page]:
    """Open the dashboard and log in; fail when the page has complained by the end of the block.

    Complaints that contain what is `forgiven` do not count.
    """
    complaints: list[str] = []
    hosts: set[str] = set()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        try:
            page = await browser.new_page(viewport=options.pop("viewport", DESKTOP), **options)
            page.on(
                "console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None
            )
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: hosts.add(request.url.split("/dashboard")[0]))
            page.set_default_timeout(5_000)
            await page.goto(f"{url}/dashboard")
            await page.get_by_label("API key").fill(key)
            await page.get_by_role("button", name="Open").click()
            await page.locator(".connections > li").first.wait_for()
            yield page
            assert [c for c in complaints if not (forgiven and forgiven in c)] == []
            assert hosts == {url}, "nothing is asked of another host"
        finally:
            await browser.close()
