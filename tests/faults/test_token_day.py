"""The access token dies at the broker, and a new one comes: nobody restarts anything."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.every_broker import BROKERS, Stage, staged
from tests.faults.observer import observing
from tests.rehearsal import until

TOKEN = "tomorrows-token"


@pytest.mark.parametrize("broker", BROKERS)
def test_a_dead_token_parks_with_no_dials_and_a_new_one_in_the_settings_file_restores_within_5_seconds(
    tmp_path: Path, broker: str
) -> None:
    async def main(stage: Stage) -> None:
        symbols = len(stage.rows)
        async with observing(stage.gateway.said["ws_url"], stage.key, [stage.rows] * 3) as clients:
            await until(lambda: all(len(c.last) == symbols for c in clients), seconds=20)
            alive = (await stage.seen("stats"))["dials"]
            await stage.throw(expire_token={"close_sockets": True})
            async with asyncio.timeout(30):
                while set(await stage.states()) != {"parked"}:
                    pass
            dead = (await stage.seen("stats"))["dials"] - alive
            await asyncio.sleep(4)  # with the usual back-off several dials would follow
            still = (await stage.seen("stats"))["dials"] - alive
            assert still == dead, "no dial with a token that the broker has refused"
            reads = (await stage.stats())["broker"]["instruments_reads"]
            for client in clients:
                client.reset()
            await stage.throw(access_token=TOKEN)
            stage.renew(TOKEN)
            began = time.monotonic()
            await until(lambda: all(c.ticks and len(c.symbol_news("gap")) == symbols for c in clients))
            restored = time.monotonic() - began
            print(
                f"{dead} dials with the dead token over {stage.connections} sockets, none in the 4 s after"
                f" that; all symbols tick {restored:.1f} s after the new token was written"
            )
            assert dead <= 3 * stage.connections
            assert restored < 5
            assert not any(client.ended for client in clients)
            async with asyncio.timeout(10):
                while (await stage.stats())["broker"]["instruments_reads"]["taken"] == reads["taken"]:
                    pass  # the new day's list is read

    with staged(tmp_path, broker, each=10, rate=300) as stage:
        asyncio.run(main(stage))
        stage.keeps_its_limits()
        log = (tmp_path / "serve.log").read_text()
        assert TOKEN not in log
        assert stage.token not in log
