"""The socket is open, heartbeats come and no data: in an open market, and in a closed one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests import processes
from tests.faults.observer import observing
from tests.rehearsal import until

SYMBOLS, PER_CONNECTION, RATE = 60, 30, 600


@pytest.mark.parametrize("market", ["open", "closed"])
def test_a_mute_socket_is_noticed_probed_and_replaced_within_20_seconds_but_not_in_a_closed_market(
    tmp_path: Path, market: str
) -> None:
    hours = {"open": "always", "closed": "MCX=00:00-00:01"}[market]
    settings = {"MAX_SYMBOLS_PER_WEBSOCKET": str(PER_CONNECTION), "BROKERPOOL_MARKET_HOURS": hours}
    with (
        processes.simulator(tmp_path, symbols=SYMBOLS, rate=RATE) as broker,
        processes.gateway(tmp_path, **settings) as gateway,
    ):
        control = broker.said["control_url"]
        names = processes.listed(broker)
        key = processes.api_key(tmp_path)

        async def main() -> None:
            async with observing(gateway.said["ws_url"], key, [[*names.values()]]) as (client,):
                await until(lambda: len(client.last) == SYMBOLS, seconds=20)
                await asyncio.sleep(3)  # long enough for the pool to learn how often symbols tick
                sockets = await asyncio.to_thread(processes.get, f"{control}/sockets")
                mute = sockets[0]
                muted = {names[int(token)]["symbol"] for token in mute["tokens"]}
                order = {"mute": {"sockets": [mute["id"]]}}
                await asyncio.to_thread(processes.post, f"{control}/faults", order)
                began = time.monotonic()
                if market == "closed":
                    await asyncio.sleep(16)
                    assert client.symbol_news("stale") == []
                    left = await asyncio.to_thread(processes.get, f"{control}/sockets")
                    assert [s["id"] for s in left] == [s["id"] for s in sockets]
                    print("in a closed market: 16 s of heartbeats alone, nothing stale, no dial")
                    return
                await until(lambda: len(client.symbol_news("stale")) == len(muted))
                flagged = time.monotonic() - began
                await until(lambda: len(client.symbol_news("gap")) == len(muted), seconds=25)
                replaced = time.monotonic() - began
                assert {gap["symbol"] for gap in client.symbol_news("gap")} == muted
                others = {s: p for s, p in client.pauses.items() if s not in muted}
                print(
                    f"stale after {flagged:.1f} s, ticking on a new socket after {replaced:.1f} s;"
                    f" the other socket's symbols paused {max(others.values()):.2f} s at most"
                )
                assert flagged < 8
                assert replaced < 20
                assert max(others.values()) < 3

        asyncio.run(main())
        expected = 2 if market == "closed" else 3
        assert processes.get(f"{control}/stats")["dials"] == expected
