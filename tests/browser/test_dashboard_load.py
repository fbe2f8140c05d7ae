"""A full pool and 200 clients behind one open dashboard: the page stays smooth, and it costs little."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests import processes
from tests.browser.chromium import needs_chromium, page_of
from tests.faults.observer import observing
from tests.rehearsal import until

pytestmark = [needs_chromium, pytest.mark.alone]

SYMBOLS, CLIENTS, RATE = 3000, 200, 3000
OF_EACH = 15
WINDOW_SECONDS = 3.0
MOST_FRAME_MS = 50.0
#: The goal is 2 % of a core; twice that is judged, for the windows differ by a percent among themselves.
MOST_CORE = 0.04

FRAMES = """(milliseconds) => new Promise((resolve) => {
  const gaps = [], began = performance.now();
  let before = began;
  const frame = (now) => {
    gaps.push(now - before);
    before = now;
    if (now - began < milliseconds) requestAnimationFrame(frame);
    else resolve(gaps.slice(1).sort((a, b) => a - b));
  };
  requestAnimationFrame(frame);
})"""


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def share_of_a_core(pid: int) -> float:
    began, spent = time.monotonic(), cpu_seconds(pid)
    await asyncio.sleep(WINDOW_SECONDS)
    return (cpu_seconds(pid) - spent) / (time.monotonic() - began)


def test_3000_symbols_and_200_clients_leave_the_page_smooth_and_cost_the_gateway_little(
    tmp_path: Path,
) -> None:
    with (
        processes.fresh(),  # the gateway's processor time is judged
        processes.simulator(tmp_path, symbols=SYMBOLS, rate=RATE) as broker,
        processes.gateway(tmp_path, BROKERPOOL_MARKET_HOURS="always") as gateway,
    ):
        rows, key = [*processes.listed(broker).values()], processes.api_key(tmp_path)
        parts = [rows[n * OF_EACH : (n + 1) * OF_EACH] for n in range(CLIENTS - 1)]
        pid = gateway.process.pid

        async def main() -> tuple[list[float], float, float]:
            async with observing(gateway.said["ws_url"], key, [rows, *parts]) as clients:
                await until(lambda: len(clients[0].last) == SYMBOLS, seconds=30)
                without = await share_of_a_core(pid)
                async with page_of(gateway.said["http_url"], key) as page:
                    await page.locator("#clients tr").nth(19).wait_for()
                    frames, shown = await asyncio.gather(
                        page.evaluate(FRAMES, WINDOW_SECONDS * 1000), share_of_a_core(pid)
                    )
                    assert f"{CLIENTS} clients" in await page.locator("#clients-sum").inner_text()
                return frames, without, shown

        frames, without, shown = asyncio.run(main())
    p95, cost = frames[int(len(frames) * 0.95)], shown - without
    print(
        f"{len(frames)} frames: p95 {p95:.1f} ms, longest {frames[-1]:.1f} ms; gateway"
        f" {shown:.1%} of a core with a dashboard and {without:.1%} without: {cost:+.1%}"
    )
    assert p95 < MOST_FRAME_MS
    assert cost < MOST_CORE
