"""One of three broker sockets is killed at 20,000 ticks a second; each party is a process of its own."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests import processes
from tests.rehearsal import until

SYMBOLS, PER_CONNECTION, RATE = 300, 100, 20_000


class Observer:
    """Subscribes to everything in LTP mode and notes when each symbol last ticked, and its longest pause."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self.pauses: dict[str, float] = {}
        self.ticks = 0

    def reset(self) -> None:
        now = time.monotonic()
        self.last = dict.fromkeys(self.last, now)
        self.pauses = dict.fromkeys(self.last, 0.0)
        self.ticks = 0

    async def listen(self, connection: ClientConnection) -> None:
        async for message in connection:
            frame = json.loads(message)
            if frame.get("type") != "market_data":
                continue
            symbol = frame["symbol"]
            now = time.monotonic()
            before = self.last.get(symbol, now)
            self.pauses[symbol] = max(self.pauses.get(symbol, 0.0), now - before)
            self.last[symbol] = now
            self.ticks += 1


async def _subscribe(connection: ClientConnection, key: str, names: list[dict[str, str]]) -> None:
    await connection.send(json.dumps({"action": "authenticate", "api_key": key}))
    await connection.send(json.dumps({"action": "subscribe", "symbols": names, "mode": 1}))


def _sockets(control: str) -> list[dict[str, Any]]:
    sockets: list[dict[str, Any]] = processes.get(f"{control}/sockets")
    return sockets


def test_only_its_symbols_pause_and_they_are_live_again_within_3_seconds(tmp_path: Path) -> None:
    limits = {"MAX_SYMBOLS_PER_WEBSOCKET": str(PER_CONNECTION)}
    with (
        processes.simulator(tmp_path, symbols=SYMBOLS, rate=RATE) as broker,
        processes.gateway(tmp_path, **limits) as gateway,
    ):
        control = broker.said["control_url"]
        names = processes.listed(broker)

        async def main() -> tuple[Observer, set[str]]:
            observer = Observer()
            async with connect(gateway.said["ws_url"], compression=None, max_queue=None) as connection:
                await _subscribe(connection, processes.api_key(tmp_path), [*names.values()])
                listening = asyncio.create_task(observer.listen(connection))
                await until(lambda: len(observer.last) == SYMBOLS, seconds=20)
                observer.reset()
                killed = (await asyncio.to_thread(_sockets, control))[1]
                await asyncio.to_thread(processes.post, f"{control}/sockets/{killed['id']}/kill")
                at = time.monotonic()
                await asyncio.sleep(4)
                listening.cancel()
                restored = [n for n, last in observer.last.items() if last > at + 3]
                assert len(restored) == SYMBOLS, "every symbol ticks again"
                return observer, set(killed["tokens"])

        observer, tokens = asyncio.run(main())
        stats = processes.get(f"{control}/stats")
        lost = {names[int(token)]["symbol"] for token in tokens}
        paused = max(observer.pauses[symbol] for symbol in lost)
        others = max(pause for symbol, pause in observer.pauses.items() if symbol not in lost)
        print(
            f"{observer.ticks} ticks in 4 s; symbols of the killed socket paused {paused:.2f} s at most,"
            f" the others {others:.2f} s; {stats['dials']} dials"
        )
        assert len(lost) == PER_CONNECTION
        assert paused < 3.0
        assert others < 0.5, "the other sockets' ticks do not stop"
        assert stats["dials"] == 4
        assert stats["peak_duplicate_tokens"] == 0, "nothing is subscribed twice at the broker"
        assert stats["violations"] == {"tokens": 0, "sockets": 0}
