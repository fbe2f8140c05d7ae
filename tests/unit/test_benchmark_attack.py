"""The benchmark of a gateway under attack: every attack is one, and what was measured is judged."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest

from benchmarks.attack.attacks import ATTACKS, Target
from benchmarks.attack.measure import Deliveries, Result
from benchmarks.attack.pacing import Pace
from benchmarks.attack.report import met, rows
from benchmarks.attack.rig import Order
from tests.gateway_client import client, gateway
from tests.rehearsal import until

JUDGED = ["p99, ms", "clients lost", "gateway's memory (VmRSS), MB", "log lines", "ERROR lines"]


def test_every_attack_reaches_a_gateway_and_ends_when_it_is_told() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by), client(served_by) as other:
            target = Target(*(int(url.rpartition(":")[2]) for url in (served_by.ws_url, served_by.http_url)))
            paces = {attack: Pace(attack.most) for attack in ATTACKS}
            threads = [threading.Thread(target=a.run, args=(target, pace)) for a, pace in paces.items()]
            for thread in threads:
                thread.start()
            await until(lambda: all(pace.done for pace in paces.values()), 30)
            assert (await other.ask(action="ping"))["type"] == "pong"
            for pace in paces.values():
                pace.stop()
            await until(lambda: not any(thread.is_alive() for thread in threads), 30)

    asyncio.run(main())


def result(*, p99_ms: float = 2.0, **found: object) -> Result:
    order = Order(50, 20_000, 60, [a.name for a in ATTACKS], 1, alone=False, ahead=False)
    of_ten_us = {name: Counter({round(ms * 100) - 1: 100}) for name, ms in (("calm", 1.0), ("busy", p99_ms))}
    calm, busy = (Deliveries(seconds=60, frames=1_200_000, buckets=buckets) for buckets in of_ten_us.values())
    return Result(order, calm, busy, **{"memory_before": 110.0, "memory_peak": 210.0, **found})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("missed", "found"),
    [
        ("p99, ms", {"p99_ms": 2.01}),
        ("clients lost", {"lost": ["closed with 4408 the client does not read"]}),
        ("gateway's memory (VmRSS), MB", {"memory_peak": 211.0}),
        ("log lines", {"log_kinds": [("INFO a", 60), ("INFO b", 41)]}),
        ("ERROR lines", {"log_errors": ["ERROR c"]}),
    ],
)
def test_each_mark_is_missed_by_itself_and_all_are_met_at_their_limits(
    missed: str, found: dict[str, object]
) -> None:
    at_the_limits = result(log_kinds=[("INFO a", 100)])
    assert met(at_the_limits)
    assert [row.what for row in rows(at_the_limits) if row.met is not None] == JUDGED
    beyond = result(**found)  # type: ignore[arg-type]
    assert not met(beyond)
    assert [row.what for row in rows(beyond) if row.met is False] == [missed]
