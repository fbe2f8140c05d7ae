"""The socket is open, heartbeats come and no data: in an open market, and in a closed one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.every_broker import BROKERS, FIRST, Stage, staged
from tests.faults.observer import observing
from tests.rehearsal import until

PER_CONNECTION, RATE = 30, 300


@pytest.mark.parametrize(("broker", "market"), [*((broker, "open") for broker in BROKERS), (FIRST, "closed")])
def test_a_mute_socket_is_noticed_probed_and_replaced_within_20_seconds_but_not_in_a_closed_market(
    tmp_path: Path, broker: str, market: str
) -> None:
    async def main(stage: Stage) -> None:
        async with observing(stage.gateway.said["ws_url"], stage.key, [stage.rows]) as (client,):
            await until(lambda: len(client.last) == len(stage.rows), seconds=20)
            await asyncio.sleep(3)  # long enough for the pool to learn how often symbols tick
            sockets = await stage.seen("sockets")
            mute = sockets[0]
            await stage.throw(mute={"sockets": [mute["id"]]})
            began = time.monotonic()
            if market == "closed":
                await asyncio.sleep(16)
                assert client.symbol_news("stale") == []
                left = await stage.seen("sockets")
                assert [s["id"] for s in left] == [s["id"] for s in sockets]
                print("in a closed market: 16 s of heartbeats alone, nothing stale, no dial")
                return
            await until(lambda: len(client.symbol_news("stale")) == len(mute["tokens"]))
            flagged = time.monotonic() - began
            await until(lambda: len(client.symbol_news("gap")) == len(mute["tokens"]), seconds=25)
            replaced = time.monotonic() - began
            muted = {gap["symbol"] for gap in client.symbol_news("gap")}
            assert muted == {news["symbol"] for news in client.symbol_news("stale")}
            others = max((p for s, p in client.pauses.items() if s not in muted), default=0.0)
            print(
                f"stale after {flagged:.1f} s, ticking on a new socket after {replaced:.1f} s;"
                f" the other sockets' symbols paused {others:.2f} s at most"
            )
            assert flagged < 8
            assert replaced < 20
            assert others < 3

    hours = {"open": "always", "closed": "MCX=00:00-00:01"}[market]
    with staged(
        tmp_path, broker, each=PER_CONNECTION, rate=RATE, connections=2, BROKERPOOL_MARKET_HOURS=hours
    ) as stage:
        asyncio.run(main(stage))
        again = 0 if market == "closed" else 1
        assert stage.keeps_its_limits()["dials"] == stage.connections + again
