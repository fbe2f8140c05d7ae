"""HTTP answers that break off on command: which bytes come, how it ends, and whether the order was made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from brokerpool.simulator import BreakHttp, FaultOrder, KiteSimulator, Refuse
from tests.unit.kite_http_client import DEADLINE, ORDER, RawClient, Received, exchange, request
from tests.unit.simulator_client import until


def with_broker(scenario: Callable[[KiteSimulator], Awaitable[None]]) -> None:
    async def run() -> None:
        async with KiteSimulator(rate=0, symbols=30, http_rates={}) as broker:
            await scenario(broker)

    asyncio.run(asyncio.wait_for(run(), 30))


async def place(broker: KiteSimulator, tag: str = "t", within: float = DEADLINE) -> Received:
    return await exchange(broker, "POST", "/orders/regular", {**ORDER, "tag": tag}, within)


def made(broker: KiteSimulator) -> dict[str, int]:
    tags: dict[str, int] = broker.orders.report()["by_tag"]
    return tags


async def throw(broker: KiteSimulator, **switches: Any) -> None:
    await broker.throw(FaultOrder.parse(json.dumps(switches).encode()))


@pytest.mark.parametrize(("kind", "end"), [("reset-after-read", "reset"), ("close-after-read", "closed")])
def test_the_order_is_made_and_not_a_byte_of_the_answer_comes(kind: str, end: str) -> None:
    async def scenario(broker: KiteSimulator) -> None:
        await throw(broker, http_break={"kind": kind, "count": 1})
        assert await place(broker) == (b"", end)
        assert made(broker) == {"t": 1}
        assert (await place(broker, "next")).status == 200
        assert made(broker) == {"t": 1, "next": 1}
        assert broker.stats()["http_broken"] == 1

    with_broker(scenario)


def test_a_reset_before_reading_leaves_no_order() -> None:
    async def scenario(broker: KiteSimulator) -> None:
        await throw(broker, http_break={"kind": "reset-before-read", "count": 2})
        for _ in range(2):
            assert await place(broker) == (b"", "reset")
        assert made(broker) == {}
        assert broker.stats()["http_requests"] == {}
        assert broker.stats()["http_connections"] == {"accepted": 2, "open": 0, "peak": 1}
        assert (await place(broker)).status == 200

    with_broker(scenario)


def test_a_new_connection_is_reset_before_anything_is_sent_on_it() -> None:
    async def scenario(broker: KiteSimulator) -> None:
        broker.faults.http_break = BreakHttp("reset-before-read", count=1)
        client = await RawClient.connect(broker)
        assert await client.received() == (b"", "reset")
        client.close()

    with_broker(scenario)


def test_an_idle_connection_is_reset_when_the_next_request_comes_on_it() -> None:
    async def scenario(broker: KiteSimulator) -> None:
        client = await RawClient.connect(broker)
        kept_alive = request(broker, "GET", "/user/profile").replace(b"Connection: close\r\n", b"")
        await client.send(kept_alive)
        await client.answered()
        await throw(broker, http_break={"kind": "reset-before-read", "count": 1})
        await client.send(request(broker, "POST", "/orders/regular", ORDER))
        assert await client.received() == (b"", "reset")
        client.close()
        assert broker.orders.latest() == []
        assert broker.stats()["http_requests"] == {"/user/profile": 1}

    with_broker(scenario)


def test_a_reset_in_the_middle_lets_the_headers_and_half_of_the_body_through() -> None:
    async def scenario(broker: KiteSimulator) -> None:
        whole = await exchange(broker, "GET", "/quote/ltp?i=NSE:INFY")
        await throw(broker, http_break={"kind": "reset-mid-body"})
        data, end = await exchange(broker, "GET", "/quote/ltp?i=NSE:INFY")
        head, _, body = data.partition(b"\r\n\r\n")
        full_body = whole.data.partition(b"\r\n\r\n")[2]
        assert end == "reset"
        assert data.startswith(b"HTTP/1.1 200 OK\r\n")
        assert f"Content-Length: {len(full_body)}".encode() in head
        assert body == full_body[: len(full_body) // 2]
        data, end = await exchange(broker, "GET", "/instruments")
        assert (data.startswith(b"HTTP/1.1 200 OK\r\n"), end) == (True, "reset")
        await place(broker)
        assert made(broker) == {"t": 1}

    with_broker(scenario)


def test_no_answer_means_none_until_the_client_gives_up() -> None:
    async def scenario(broker: KiteSimulator) -> None:
        await throw(broker, http_break={"kind": "no-answer", "count": 1})
        assert await place(broker, within=0.3) == (b"", "open")
        assert made(broker) == {"t": 1}
        await until(lambda: broker.stats()["http_connections"]["open"] == 0)
        assert (await place(broker)).status == 200

    with_broker(scenario)


def test_the_simulator_ends_though_a_client_waits_for_an_answer() -> None:
    async def scenario() -> Received:
        async with KiteSimulator(rate=0, symbols=30) as broker:
            broker.faults.http_break = BreakHttp("no-answer")
            waiting = asyncio.create_task(exchange(broker, "GET", "/user/profile"))
            await until(lambda: broker.stats()["http_broken"] == 1)
        return await waiting

    assert asyncio.run(asyncio.wait_for(scenario(), 10)).data == b""


def test_only_the_named_calls_break() -> None:
    async def scenario(broker: KiteSimulator) -> None:
        await throw(broker, http_break={"kind": "reset-after-read", "path": "/orders", "method": "POST"})
        assert (await exchange(broker, "GET", "/orders")).status == 200
        assert (await exchange(broker, "GET", "/user/profile")).status == 200
        assert (await place(broker)).end == "reset"
        await throw(broker, http_break=None)
        assert (await place(broker)).status == 200

    with_broker(scenario)


def test_an_error_may_stand_for_an_order_that_was_made_or_for_one_that_was_not() -> None:
    async def scenario(broker: KiteSimulator) -> None:
        posts = {"path": "/orders", "method": "POST", "count": 1}
        await throw(broker, refuse_http={"status": 504, "carried_out": True, **posts})
        assert (await exchange(broker, "GET", "/orders")).status == 200
        assert (await place(broker, "made")).status == 504
        await throw(broker, refuse_http={"status": 504, **posts})
        assert (await place(broker, "not")).status == 504
        assert made(broker) == {"made": 1}
        assert (await place(broker, "not")).status == 200
        assert broker.stats()["http_answers"] == {"200": 2, "504": 2}

    with_broker(scenario)


def test_a_refusal_may_be_plain_text_as_angels_403_that_means_too_fast() -> None:
    async def scenario(broker: KiteSimulator) -> None:
        text = "Access denied because of exceeding access rate"
        broker.faults.refuse_http = Refuse(403, count=1, text=text)
        received = await exchange(broker, "GET", "/quote/ltp?i=NSE:INFY")
        assert received.status == 403
        assert b"text/plain" in received.data
        assert received.data.endswith(text.encode())
        broker.faults.refuse_http = Refuse(403, count=1)
        received = await exchange(broker, "GET", "/quote/ltp?i=NSE:INFY")
        assert b'"error_type": "TokenException"' in received.data

    with_broker(scenario)


def test_an_order_of_which_half_arrives_is_none() -> None:
    async def scenario(broker: KiteSimulator) -> None:
        client = await RawClient.connect(broker)
        await client.send(request(broker, "POST", "/orders/regular", ORDER)[:-5])
        await until(lambda: bool(broker.stats()["http_requests"]))
        client.close()
        await until(lambda: broker.stats()["http_connections"]["open"] == 0)
        assert broker.orders.latest() == []

    with_broker(scenario)
