"""The gateway's process is stopped for 20 seconds, as a laptop's lid or a busy machine does it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests import processes
from tests.faults.observer import observing
from tests.rehearsal import until

STOPPED_SECONDS = 20.0


def test_no_socket_is_judged_for_that_time_and_one_warning_is_logged(tmp_path: Path) -> None:
    settings = {"MAX_SYMBOLS_PER_WEBSOCKET": "10"}
    with (
        processes.simulator(tmp_path, symbols=30, rate=300) as broker,
        processes.gateway(tmp_path, **settings) as gateway,
    ):
        control = broker.said["control_url"]
        rows = [*processes.listed(broker).values()]

        async def main() -> None:
            key = processes.api_key(tmp_path)
            async with observing(gateway.said["ws_url"], key, [rows]) as (client,):
                await until(lambda: len(client.last) == 30, seconds=20)
                gateway.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(STOPPED_SECONDS)
                gateway.process.send_signal(signal.SIGCONT)
                client.reset()
                await until(lambda: all(client.ticks and p for p in client.pauses.values()), seconds=10)
                await asyncio.sleep(8)  # longer than any silence that would be judged
                assert not client.ended

        asyncio.run(main())
        stats = processes.get(f"{control}/stats")
        log = (tmp_path / "serve.log").read_text()
        warnings = log.count("stood still")
        print(f"{stats['dials']} dials in all, {warnings} warning")
        assert stats["dials"] == 3, "no reconnect storm"
        assert warnings == 1
