"""3,500 symbols are asked of a pool for 3,000."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests import processes
from tests.faults.observer import observing
from tests.rehearsal import until

ASKED, CAPACITY = 3500, 3000


def test_the_first_3000_are_carried_and_each_of_the_other_500_is_refused_with_its_reason(
    tmp_path: Path,
) -> None:
    settings = {"BROKERPOOL_MAX_SYMBOLS_PER_CLIENT": str(ASKED)}
    with (
        processes.simulator(tmp_path, symbols=ASKED, rate=5000) as broker,
        processes.gateway(tmp_path, **settings) as gateway,
    ):
        rows = [*processes.listed(broker).values()]

        async def main() -> dict[str, list[dict[str, str]]]:
            key = processes.api_key(tmp_path)
            async with observing(gateway.said["ws_url"], key, [rows]) as (client,):
                await until(lambda: any(f.get("type") == "subscribe" for f in client.news), seconds=20)
                reply = next(frame for frame in client.news if frame.get("type") == "subscribe")
                await until(lambda: len(client.last) == CAPACITY, seconds=30)
                return reply

        reply = asyncio.run(main())
        items = reply["subscriptions"]
        refused = [item for item in items if item["status"] == "error"]
        stats = processes.get(f"{broker.said['control_url']}/stats")
        print(
            f"{len(items) - len(refused)} carried, {len(refused)} refused: {json.dumps(refused[0])[:160]};"
            f" at most {stats['peak_tokens_per_socket']} tokens on a socket"
        )
        assert [item["symbol"] for item in refused] == [row["symbol"] for row in rows[CAPACITY:]]
        assert {item["code"] for item in refused} == {"MAX_CAPACITY_REACHED"}
        assert all("3000 of 3000 places" in item["message"] for item in refused)
        assert stats["violations"] == {"tokens": 0, "sockets": 0}
