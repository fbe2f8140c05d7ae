"""Ten thousand orders to a broker that accepts and then resets, answers 504, or says nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from random import Random
from typing import Any

from brokerpool import CallFailedError, Lane, OutcomeUnknown
from tests.http_server import Reply, ScriptedBroker, Seen, broker_and_client

ORDERS = 10_000
AT_ONCE = 20


class OrderBook:
    """What the broker did with each tag, whatever it answered."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.placed: Counter[str] = Counter()
        self.endings: Counter[str] = Counter()

    def script(self, seen: Seen) -> Reply:
        if seen.method == "GET":
            known = seen.path.removeprefix("/orders/") in self.placed
            # Reading is no easier at such a broker: some reads fail, and are repeated.
            failing = self._random.random() < 0.1
            return Reply(503) if failing else Reply(body=json.dumps({"known": known}).encode())
        tag = json.loads(seen.body)["tag"]
        kinds = {
            "accepted": 40, "rejected": 25, "reset after accepting": 9, "closed after accepting": 9,
            "504 after accepting": 5, "504 without accepting": 5, "reset without accepting": 4,
            "cut off after accepting": 2, "mute after accepting": 1,
        }  # fmt: skip
        (ending,) = self._random.choices(list(kinds), list(kinds.values()))
        self.endings[ending] += 1
        if ending == "accepted" or ending.endswith("after accepting"):
            self.placed[tag] += 1
        return {
            "accepted": Reply(),
            "rejected": Reply(400),
            "reset": Reply(status=None, then="reset"),
            "closed": Reply(status=None, then="close"),
            "504": Reply(504),
            "cut": Reply(cut=4, then="close"),
            "mute": Reply(status=None, delay=30),
        }[ending.split()[0]]


def test_no_order_is_placed_twice_and_reconciling_resolves_every_one_in_doubt() -> None:
    book = OrderBook(seed=19)
    ends: Counter[str] = Counter()
    in_doubt: list[tuple[str, OutcomeUnknown]] = []

    async def main() -> ScriptedBroker:
        async def reconcile(tag: str) -> bool:
            while True:
                answer = await client.request("GET", f"/orders/{tag}", group=f"read-{tag}")
                if answer.status == 200:
                    return bool(answer.json()["known"])

        async def place(tag: str) -> None:
            order: dict[str, Any] = {"json": {"tag": tag}, "order_tag": tag, "lane": Lane.PLACE}
            try:
                # A group for each, because a breaker would rightly stop this broker after five of them.
                answer = await client.request("POST", "/orders", **order, group=tag, timeout=1.0)
                ends["accepted" if answer.status == 200 else "rejected"] += 1
                assert (tag in book.placed) is (answer.status == 200)
            except OutcomeUnknown as error:
                ends["unknown"] += 1
                in_doubt.append((tag, error))
            except CallFailedError as error:  # a busy machine: its time was up before it could leave
                ends["lost" if error.sent or tag in book.placed else "not sent"] += 1

        async def worker(numbers: Any) -> None:
            for number in numbers:
                await place(f"tag-{number}")

        async with broker_and_client(pool_maxsize=AT_ONCE, reconcile=reconcile) as (broker, client):
            broker.script = book.script
            numbers = iter(range(ORDERS))
            await asyncio.gather(*(worker(numbers) for _ in range(AT_ONCE)))
            for tag, error in in_doubt:
                assert error.tag == tag
                assert await error.reconcile() is (tag in book.placed)
            return broker

    began = time.perf_counter()
    broker = asyncio.run(main())
    seconds = time.perf_counter() - began
    print(f"{ORDERS} orders in {seconds:.1f} s: {dict(ends)}; the broker: {dict(book.endings)}")
    assert max(book.placed.values()) == 1, "no duplicate"
    assert broker.count("POST") == ORDERS - ends["not sent"], "each left exactly once"
    assert sum(ends.values()) == ORDERS
    assert not ends["lost"]
    assert ends["not sent"] < ORDERS // 100
    assert ends["unknown"] > ORDERS // 4, "all of them reconciled"
    # An answer that was too late, on a busy machine, left the order in doubt: it is among those reconciled.
    for end in ("accepted", "rejected"):
        assert 0 <= book.endings[end] - ends[end] < ORDERS // 100
    assert broker.peak <= AT_ONCE
