"""One of a broker's sockets is killed in a burst; each party is a process of its own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.every_broker import FIRST, OTHERS, Stage, staged
from tests.faults.observer import Observer, observing, p99
from tests.rehearsal import until

PER_CONNECTION = 100
#: Ticks a second. At 20,000 nothing else may use the machine.
BURST, BESIDE_OTHERS = 20_000, 1_000


def _redial(entries: list[dict[str, Any]]) -> tuple[float, float]:
    """Return when the socket was lost and when it was dialled again, in epoch seconds."""
    lost = next(entry for entry in entries if entry["event"] == "lost")
    redial = next(e for e in entries if e["event"] == "dialled" and e["number"] > lost["number"])
    return lost["at_ms"] / 1000, redial["at_ms"] / 1000


async def _killing(stage: Stage, *, measured: bool) -> tuple[Observer, int, list[float], tuple[float, float]]:
    """Kill a socket and look on for 4 s; return client, symbols of the socket, delays before, and when."""
    symbols = len(stage.rows)
    async with observing(stage.gateway.said["ws_url"], stage.key, [stage.rows]) as (observer,):
        await until(lambda: len(observer.last) == symbols, seconds=20)
        observer.reset()
        await asyncio.sleep(1 if measured else 0)
        before = [d for delays in observer.delays_ms.values() for d in delays]
        observer.reset()
        killed = (await stage.seen("sockets"))[stage.connections // 2]
        began = time.time()
        url = f"{stage.broker.said['control_url']}/sockets/{killed['id']}/kill"
        await asyncio.to_thread(processes.post, url)
        ended, at = time.time(), time.monotonic()
        await asyncio.sleep(4)
        restored = [n for n, last in observer.last.items() if last > at + 3]
        assert len(restored) == symbols, "every symbol ticks again"
        return observer, len(killed["tokens"]), before, (began, ended)


@pytest.mark.parametrize(
    ("broker", "rate"),
    [
        pytest.param(FIRST, BURST, marks=pytest.mark.alone),
        *((broker, BESIDE_OTHERS) for broker in OTHERS),
    ],
)
def test_only_its_symbols_pause_and_they_are_live_again_within_3_seconds_with_one_gap_each(
    tmp_path: Path, broker: str, rate: int
) -> None:
    with staged(tmp_path, broker, each=PER_CONNECTION, rate=rate) as stage:
        observer, carried, before, (began, ended) = asyncio.run(_killing(stage, measured=rate == BURST))
        stats = stage.keeps_its_limits()
        gaps = {gap["symbol"]: gap for gap in observer.symbol_news("gap")}
        paused = max(observer.pauses[symbol] for symbol in gaps)
        others = max((pause for symbol, pause in observer.pauses.items() if symbol not in gaps), default=0.0)
        after = [d for s, delays in observer.delays_ms.items() if s not in gaps for d in delays]
        lost_at, dialled_at = _redial(processes.get(f"{stage.gateway.said['http_url']}/journal")["entries"])
        print(
            f"{observer.ticks} ticks in 4 s; symbols of the killed socket paused {paused:.2f} s at most,"
            f" the others {others:.2f} s; their p99 {p99(before):.1f} ms before, {p99(after):.1f} ms after;"
            f" {len(gaps)} gaps for {carried} symbols; {stats['dials']} dials, the last one"
            f" {dialled_at - lost_at:.2f} s after the loss"
        )
        assert carried == PER_CONNECTION
        assert paused < 3.0
        assert lost_at <= ended + 0.1, "what was on its way is read, and then the loss is seen"
        assert dialled_at - lost_at <= 1.0
        assert others < (0.5 if rate == BURST else 1.5), "the other sockets' ticks do not stop"
        assert rate < BURST or p99(after) < max(2 * p99(before), 10.0)
        assert stats["dials"] == stage.connections + 1
        assert stats["peak_duplicate_tokens"] == 0, "nothing is subscribed twice at the broker"
        assert len(observer.symbol_news("gap")) == len(gaps) == carried, "one gap for each of its symbols"
        for gap in gaps.values():
            assert began - 0.1 - len(stage.rows) / rate <= gap["from"] / 1000, "its last tick before the kill"
            assert gap["from"] <= lost_at * 1000 + 1, "no later than the loss; the journal cuts to whole ms"
            assert gap["from"] < gap["to"] <= (began + paused) * 1000 + 500
            assert not gap["filled"]
