"""Orders to a simulated Kite broker that carries them out and breaks off: none twice, each resolved."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

from brokerpool import BrokerClient, Lane, OutcomeUnknown
from brokerpool.simulator import BreakHttp, FaultOrder, KiteSimulator, Refuse
from tests.rehearsal import Prompt, feed

ORDERS = 420

FAULTS = {
    "none": FaultOrder(http_break=None, refuse_http=None),
    "reset after read": FaultOrder(http_break=BreakHttp("reset-after-read", method="POST"), refuse_http=None),
    "reset before read": FaultOrder(http_break=BreakHttp("reset-before-read"), refuse_http=None),
    "reset mid-body": FaultOrder(http_break=BreakHttp("reset-mid-body", method="POST"), refuse_http=None),
    "close after read": FaultOrder(http_break=BreakHttp("close-after-read", method="POST"), refuse_http=None),
    "504 carried out": FaultOrder(http_break=None, refuse_http=Refuse(504, method="POST", carried_out=True)),
    "503": FaultOrder(http_break=None, refuse_http=Refuse(503, method="POST")),
}


def test_no_order_is_made_twice_and_its_tag_tells_what_became_of_it() -> None:
    ends: Counter[str] = Counter()

    async def main() -> None:
        async with KiteSimulator(symbols=5, rate=0, http_rates={}) as broker:
            rest = feed(broker).rest()

            async def find(tag: str) -> int:
                orders = (await client.request("GET", "/orders", group="find")).json()["data"]
                return sum(order["tag"] == tag for order in orders)

            async def place(number: int) -> None:
                tag = f"tag{number}"
                order: dict[str, Any] = {
                    "tradingsymbol": broker.listings[0].tradingsymbol,
                    "exchange": "NSE",
                    "tag": tag,
                    "transaction_type": "BUY",
                    "quantity": 1,
                    "product": "CNC",
                    "order_type": "MARKET",
                }
                try:
                    # A group for each, or the breaker would rightly stop after five of them.
                    answer = await client.request(
                        *("POST", "/orders/regular"),
                        data=order,
                        order_tag=tag,
                        lane=Lane.PLACE,
                        group=tag,
                    )
                    ends["answered"] += 1
                    assert answer.status == 200, answer.body
                    assert made(tag) == 1
                except OutcomeUnknown as error:
                    ends["unknown"] += 1
                    doubts.append(error)

            def made(tag: str) -> int:
                return int(broker.orders.report()["by_tag"].get(tag, 0))

            async with BrokerClient(
                broker.http_url,
                name="orders",
                login=rest.login,
                proof=rest.proof,
                reconcile=find,
                random=Prompt(),
                pool_maxsize=10,
            ) as client:
                doubts: list[OutcomeUnknown] = []
                kinds = list(FAULTS) * (ORDERS // 20 // len(FAULTS) + 1)
                Random(19).shuffle(kinds)
                for batch in range(ORDERS // 20):
                    await broker.throw(FAULTS[kinds[batch]])
                    await asyncio.gather(*(place(batch * 20 + n) for n in range(20)))
                await broker.throw(FAULTS["none"])
                found: Counter[str] = Counter()
                for error in doubts:
                    assert error.tag is not None
                    count = await error.reconcile()
                    assert count == made(error.tag)
                    found["made" if count else "not made"] += 1
            tags = broker.orders.report()["by_tag"]
            print(
                f"{ORDERS} orders: {dict(ends)}; of those in doubt {dict(found)}; {len(tags)} at the broker"
            )
            assert max(tags.values()) == 1, "no duplicate"
            assert ends["unknown"] > ORDERS // 4
            assert found["made"] > 0
            assert found["not made"] > 0

    asyncio.run(main())
