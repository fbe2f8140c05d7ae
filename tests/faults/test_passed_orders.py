"""Orders through the gateway to an upstream that accepts and then resets, answers 5xx or says nothing."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter

import pytest

from tests.http_server import Reply, Seen
from tests.order_stage import Ledger, passing
from tests.rehearsal import until

#: `make orders` sends 10,000.
ORDERS = int(os.environ.get("BROKERPOOL_TEST_ORDERS", "1000"))
AT_ONCE = 40


@pytest.mark.timeout(600)
def test_no_order_is_made_twice_and_each_ends_accepted_rejected_or_unknown() -> None:
    ledger = Ledger(seed=15)
    ends: Counter[str] = Counter()
    waited: Counter[str] = Counter()

    async def main() -> None:
        async with passing(POOL_MAXSIZE="20", BROKERPOOL_HTTP_TIMEOUT="1") as stage:
            stage.upstream.script = ledger.script
            numbers = iter(range(ORDERS))

            async def trader() -> None:
                for number in numbers:
                    name = f"order-{number}"
                    answer = await stage.program.place(name)
                    # The breaker of a broker that fails is open, or a busy machine left no time to send it.
                    while answer.json.get("code") in ("BREAKER_OPEN", "CALL_TIMED_OUT"):
                        assert answer.status == (503 if answer.json["code"] == "BREAKER_OPEN" else 502)
                        assert ledger.sent[name] == 0, "refused before it left"
                        waited["times"] += 1
                        await asyncio.sleep(answer.json.get("retry_after", 0.0))
                        answer = await stage.program.place(name)
                    if answer.status == 504:
                        assert answer.json["code"] == "OUTCOME_UNKNOWN"
                        end = "unknown"
                    elif answer.status == 200:
                        end = "accepted"
                        assert ledger.orders[name] == 1
                    else:
                        assert answer.status == 400
                        end = "rejected"
                        assert ledger.orders[name] == 0
                    ends[end] += 1

            began = time.monotonic()
            await asyncio.gather(*(trader() for _ in range(AT_ONCE)))
            seconds = time.monotonic() - began
            stats = stage.gateway.stats()["orders"]["calls"]
        print(
            f"{ORDERS} orders in {seconds:.1f} s: {dict(ends)}, waited {waited['times']} times;"
            f" the upstream: {dict(ledger.endings)}"
        )
        assert sum(ends.values()) == ORDERS
        assert max(ledger.sent.values()) == 1, "none left twice"
        assert max(ledger.orders.values()) == 1, "no duplicate"
        # An answer that was too late, on a busy machine, left the order's outcome unknown.
        for end in ("accepted", "rejected"):
            assert 0 <= ledger.endings[end] - ends[end] < ORDERS // 50
        assert ends["unknown"] > ORDERS // 25
        assert ledger.wrong_keys == 0
        assert stats["place accepted"] == ends["accepted"]
        assert stats["place unknown"] == ends["unknown"]

    asyncio.run(main())


@pytest.mark.alone
@pytest.mark.parametrize("query_seconds", [0.5, 2.0])
def test_a_cancel_passes_within_50_ms_while_1000_queries_wait(query_seconds: float) -> None:
    async def main() -> None:
        async with passing(
            connections=1300, BROKERPOOL_MAX_CLIENTS="1400", BROKERPOOL_HTTP_TIMEOUT="30"
        ) as stage:

            def script(seen: Seen) -> Reply:
                return Reply(delay=0.0 if "cancel" in seen.path else query_seconds)

            await asyncio.gather(*(stage.program.post("ping") for _ in range(30)))
            stage.upstream.script = script
            # As many as may wait, those on their way, and some for whom there is no room.
            queries = [asyncio.create_task(stage.program.post("orderbook")) for _ in range(1050)]

            def under_way() -> int:
                return int(stage.gateway.stats()["orders"]["queries_under_way"])

            # All have come, so that no burst of new ones is measured.
            await until(lambda: under_way() + sum(query.done() for query in queries) == len(queries))
            took = []
            for number in range(5):
                began = time.monotonic()
                answer = await stage.program.post("cancelorder", orderid=str(number))
                took.append(time.monotonic() - began)
                assert answer.status == 200
            waiting = stage.gateway.stats()["http"]["queued"]["query"]
            print(f"{waiting} queries wait; cancels took {', '.join(f'{t * 1000:.1f}' for t in took)} ms")
            assert waiting > 950
            assert max(took) < 0.05
            for query in queries:
                query.cancel()
            await asyncio.gather(*queries, return_exceptions=True)

    asyncio.run(main())
