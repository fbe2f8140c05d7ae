"""The broker refuses dials with 429 and Retry-After: nothing leaves on that key before the time is up."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests import processes
from tests.faults.observer import observing
from tests.rehearsal import until

RETRY_AFTER = 7


def test_no_dial_leaves_within_retry_after_and_then_the_account_comes_back_one_by_one(tmp_path: Path) -> None:
    settings = {"MAX_SYMBOLS_PER_WEBSOCKET": "10"}
    with (
        processes.simulator(tmp_path, symbols=30, rate=300) as broker,
        processes.gateway(tmp_path, **settings) as gateway,
    ):
        control = broker.said["control_url"]
        rows = [*processes.listed(broker).values()]

        async def main() -> None:
            refuse = {"refuse": {"status": 429, "retry_after": RETRY_AFTER, "count": 4}}
            await asyncio.to_thread(processes.post, f"{control}/faults", refuse)
            key = processes.api_key(tmp_path)
            async with observing(gateway.said["ws_url"], key, [rows]) as (client,):
                await until(lambda: len(client.last) == 30, seconds=60)

        asyncio.run(main())
        log = processes.get(f"{control}/stats")["dial_log"]
        refused = [at for at, status in log if status == 429]
        # The three first ones left together, before any answer; after that the answer holds for all.
        later = [at for at, _ in log if at > refused[0] + 0.5]
        print(
            f"{len(refused)} dials refused; after the first refusal the next dial left"
            f" {later[0] - refused[0]:.2f} s later, after the next one {later[1] - later[0]:.2f} s"
        )
        assert len(refused) == 4
        assert later[0] - refused[0] >= RETRY_AFTER
        assert later[1] - later[0] >= RETRY_AFTER, "one dial tries for all of them"
        assert [status for _, status in log[-3:]] == [101, 101, 101]
