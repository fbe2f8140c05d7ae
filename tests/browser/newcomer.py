"""Walks a newcomer's path by the README's commands, and times it: `make newcomer`."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.async_api import expect

from tests.browser.chromium import page_of

CHECKOUT = Path(__file__).parents[2]
#: Installing included, after which the demo ends by itself.
MOST_SECONDS = 600
_DASHBOARD = re.compile(r"dashboard is at (\S+)/dashboard \(its key: (\w+)\)")


@contextmanager
def demo(clone: Path) -> Iterator[tuple[str, str]]:
    """Run `make demo` in a clone; give the address and the key of its dashboard as it prints them."""
    command = ["timeout", str(MOST_SECONDS), "make", "demo", "ARGS=--seconds 20"]
    wide = os.environ | {"COLUMNS": "120"}  # so that the line is not broken
    with subprocess.Popen(command, cwd=clone, env=wide, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = next(filter(None, map(_DASHBOARD.search, process.stdout)), None)
        assert found is not None, "the demo named no dashboard"
        yield found[1], found[2]
        process.communicate()
    assert process.returncode == 0


async def sees_ticks(url: str, key: str) -> None:
    """Return once the dashboard shows connections that tick."""
    async with page_of(url, key) as page:
        connection = page.locator("#connections > li").first
        await expect(connection).to_contain_text("live", timeout=10_000)
        await expect(connection).to_contain_text(re.compile(r"ticks a second\s*[1-9]"), timeout=10_000)


def main() -> None:
    """Clone, run the demo, open its dashboard, and say after how many seconds each was there."""
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "brokerpool"
        subprocess.run(["git", "clone", "--quiet", CHECKOUT, clone], check=True)
        say("cloned")
        with demo(clone) as (url, key):
            say("installed; the demo runs and names its dashboard")
            asyncio.run(sees_ticks(url, key))
            say("live ticks on the dashboard")
        say("the demo has ended by itself")


if __name__ == "__main__":
    main()
