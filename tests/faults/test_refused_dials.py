"""A broker refuses dials with 429 and Retry-After: nothing leaves on that key before the time is up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.every_broker import FIRST, OTHERS, Stage, staged
from tests.faults.observer import observing
from tests.rehearsal import until


@pytest.mark.parametrize(("broker", "retry_after"), [(FIRST, 7), *((broker, 3) for broker in OTHERS)])
def test_no_dial_leaves_within_retry_after_and_then_the_account_comes_back_one_by_one(
    tmp_path: Path, broker: str, retry_after: int
) -> None:
    async def main(stage: Stage) -> None:
        # The first ones leave together, before any answer; after that the answer holds for all.
        count = stage.connections + 1
        await stage.throw(refuse={"status": 429, "retry_after": retry_after, "count": count})
        async with observing(stage.gateway.said["ws_url"], stage.key, [stage.rows]) as (client,):
            await until(lambda: len(client.last) == len(stage.rows), seconds=60)

    with staged(tmp_path, broker, each=10, rate=300) as stage:
        asyncio.run(main(stage))
        log = stage.keeps_its_limits()["dial_log"]
        refused = [at for at, status in log if status == 429]
        later = [at for at, _ in log if at > refused[0] + 0.5]
        print(
            f"{len(refused)} dials refused; after the first refusal the next dial left"
            f" {later[0] - refused[0]:.2f} s later, after the next one {later[1] - later[0]:.2f} s"
        )
        assert len(refused) == stage.connections + 1
        assert later[0] - refused[0] >= retry_after
        assert later[1] - later[0] >= retry_after, "one dial tries for all of them"
        assert [status for _, status in log[-stage.connections :]] == [101] * stage.connections
