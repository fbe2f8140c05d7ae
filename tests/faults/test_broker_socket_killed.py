"""One of three broker sockets is killed at 20,000 ticks a second; each party is a process of its own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.faults.observer import Observer, observing, p99
from tests.rehearsal import until

SYMBOLS, PER_CONNECTION, RATE = 300, 100, 20_000


pytestmark = pytest.mark.alone


def _redial(entries: list[dict[str, Any]]) -> tuple[float, float]:
    """Return when the socket was lost and when it was dialled again, in epoch seconds."""
    lost = next(entry for entry in entries if entry["event"] == "lost")
    redial = next(e for e in entries if e["event"] == "dialled" and e["number"] > lost["number"])
    return lost["at_ms"] / 1000, redial["at_ms"] / 1000


def test_only_its_symbols_pause_and_they_are_live_again_within_3_seconds_with_one_gap_each(
    tmp_path: Path,
) -> None:
    limits = {"MAX_SYMBOLS_PER_WEBSOCKET": str(PER_CONNECTION)}
    with (
        processes.simulator(tmp_path, symbols=SYMBOLS, rate=RATE) as broker,
        processes.gateway(tmp_path, **limits) as gateway,
    ):
        control = broker.said["control_url"]
        names = processes.listed(broker)

        async def main() -> tuple[Observer, set[str], list[float], tuple[float, float]]:
            key = processes.api_key(tmp_path)
            async with observing(gateway.said["ws_url"], key, [[*names.values()]]) as (observer,):
                await until(lambda: len(observer.last) == SYMBOLS, seconds=20)
                observer.reset()
                await asyncio.sleep(2)
                before = [d for delays in observer.delays_ms.values() for d in delays]
                observer.reset()
                killed = (await asyncio.to_thread(processes.get, f"{control}/sockets"))[1]
                began = time.time()
                await asyncio.to_thread(processes.post, f"{control}/sockets/{killed['id']}/kill")
                ended = time.time()
                at = time.monotonic()
                await asyncio.sleep(4)
                restored = [n for n, last in observer.last.items() if last > at + 3]
                assert len(restored) == SYMBOLS, "every symbol ticks again"
                return observer, set(killed["tokens"]), before, (began, ended)

        observer, tokens, before, (began, ended) = asyncio.run(main())
        stats = processes.get(f"{control}/stats")
        lost = {names[int(token)]["symbol"] for token in tokens}
        paused = max(observer.pauses[symbol] for symbol in lost)
        others = max(pause for symbol, pause in observer.pauses.items() if symbol not in lost)
        after = [d for s, delays in observer.delays_ms.items() if s not in lost for d in delays]
        gaps = {gap["symbol"]: gap for gap in observer.symbol_news("gap")}
        lost_at, dialled_at = _redial(processes.get(f"{gateway.said['http_url']}/journal")["entries"])
        print(
            f"{observer.ticks} ticks in 4 s; symbols of the killed socket paused {paused:.2f} s at most,"
            f" the others {others:.2f} s; their p99 {p99(before):.1f} ms before, {p99(after):.1f} ms after;"
            f" {len(gaps)} gaps for {len(lost)} symbols; {stats['dials']} dials, the last one"
            f" {dialled_at - lost_at:.2f} s after the loss"
        )
        assert len(lost) == PER_CONNECTION
        assert paused < 3.0
        assert lost_at <= ended + 0.1, "what was on its way is read, and then the loss is seen"
        assert dialled_at - lost_at <= 1.0
        assert others < 0.5, "the other sockets' ticks do not stop"
        assert p99(after) < max(2 * p99(before), 10.0)
        assert stats["dials"] == 4
        assert stats["peak_duplicate_tokens"] == 0, "nothing is subscribed twice at the broker"
        assert stats["violations"] == {"tokens": 0, "sockets": 0}
        assert len(observer.symbol_news("gap")) == len(gaps), "one gap for each symbol"
        assert set(gaps) == lost
        for gap in gaps.values():
            assert began - 0.1 <= gap["from"] / 1000, "from the last tick before the kill"
            assert gap["from"] <= lost_at * 1000 + 1, "no later than the loss; the journal cuts to whole ms"
            assert gap["from"] < gap["to"] <= (began + paused) * 1000 + 500
            assert not gap["filled"]
