"""An order's members as the broker reads them, over a real socket."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any
from urllib.parse import parse_qsl

import pytest

from brokerpool import Lane
from tests.http_server import broker_and_client

ORDER = {"tradingsymbol": "INFY", "quantity": 1, "price": 0.1 + 0.2, "trigger_price": None, "amo": True}


@pytest.mark.parametrize("kind", ["data", "json", "params"])
def test_an_order_has_no_none_and_no_tail_of_a_float_however_it_is_sent(kind: str) -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            for lane in (Lane.PLACE, Lane.QUERY):
                options: dict[str, Any] = {kind: ORDER}
                await client.request("POST", "/orders/regular", lane=lane, **options)
        for seen in broker.seen:
            if kind == "json":
                wanted = {name: value for name, value in ORDER.items() if value is not None}
                assert json.loads(seen.body) == {**wanted, "price": 0.3}
            else:
                members = seen.query if kind == "params" else parse_qsl(seen.body.decode())
                assert members == [
                    ("tradingsymbol", "INFY"),
                    ("quantity", "1"),
                    ("price", "0.3"),
                    ("amo", "true"),
                ]

    asyncio.run(main())


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": {"price": math.nan}},
        {"json": {"price": math.inf}},
        {"params": {"price": math.nan}},
        {"params": lambda: {"price": math.nan}},
        {"data": {"legs": [1]}},
        {"data": [("price", 1)]},
        {"data": "price=1"},
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_leaves(wrong: dict[str, Any]) -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            with pytest.raises(ValueError, match=r"price|legs|data"):
                await client.request("POST", "/orders/regular", lane=Lane.PLACE, **wrong)
            assert not broker.seen
            assert client.stats()["active_connections"] == 0
            await client.request("POST", "/orders/regular", data=b"as=it+is", lane=Lane.PLACE)
            assert broker.seen[0].body == b"as=it+is"

    asyncio.run(main())
