"""The access token dies at the broker, and a new one comes: nobody restarts anything."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests import processes
from tests.faults.observer import observing
from tests.rehearsal import until


def test_a_dead_token_parks_with_no_dials_and_a_new_one_in_the_settings_file_restores_within_5_seconds(
    tmp_path: Path,
) -> None:
    settings = {"MAX_SYMBOLS_PER_WEBSOCKET": "10"}
    with (
        processes.simulator(tmp_path, symbols=30, rate=300) as broker,
        processes.gateway(tmp_path, **settings) as gateway,
    ):
        control, stats = broker.said["control_url"], f"{gateway.said['http_url']}/stats"
        rows = [*processes.listed(broker).values()]
        key = processes.api_key(tmp_path)

        async def main() -> None:
            async with observing(gateway.said["ws_url"], key, [rows] * 3) as clients:
                await until(lambda: all(len(c.last) == 30 for c in clients), seconds=20)
                expire = {"expire_token": {"close_sockets": True}}
                await asyncio.to_thread(processes.post, f"{control}/faults", expire)
                states: list[str] = []
                while set(states) != {"parked"}:
                    answer = await asyncio.to_thread(processes.get, stats)
                    states = [c["state"] for c in answer["websocket"]["per_connection"]]
                dead = (await asyncio.to_thread(processes.get, f"{control}/stats"))["refusals"].get("403", 0)
                await asyncio.sleep(4)  # with the usual back-off several dials would follow
                still = (await asyncio.to_thread(processes.get, f"{control}/stats"))["refusals"].get("403", 0)
                assert still == dead, "no dial with a token that the broker has refused"
                for client in clients:
                    client.reset()
                await asyncio.to_thread(
                    processes.post, f"{control}/faults", {"access_token": "tomorrows-token"}
                )
                env = tmp_path / "sim.env"
                old = broker.said["access_token"]
                env.write_text(env.read_text().replace(old, "tomorrows-token"))
                began = time.monotonic()
                await until(lambda: all(c.ticks and len(c.symbol_news("gap")) == 30 for c in clients))
                restored = time.monotonic() - began
                print(
                    f"{dead} dials with the dead token over 3 sockets, none in the 4 s after that; all"
                    f" symbols tick {restored:.1f} s after the new token was written"
                )
                assert dead <= 9
                assert restored < 5
                assert not any(client.ended for client in clients)

        asyncio.run(main())
        log = (tmp_path / "serve.log").read_text()
        assert "tomorrows-token" not in log
        assert broker.said["access_token"] not in log
