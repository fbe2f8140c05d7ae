"""Clients that do not read, or send what they should not: nobody else notices, and nothing grows."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokerpool.transport import Link
from tests.gateway_client import client, gateway, masked, raw_client, read_frame
from tests.rehearsal import served, until

SMALL = {"BROKERPOOL_CLIENT_BUFFER_BYTES": "4096", "BROKERPOOL_CLIENT_STUCK_SECONDS": "0.5"}


def test_a_client_that_does_not_read_gets_newest_values_when_it_does_and_delays_nobody() -> None:
    async def main() -> None:
        async with gateway({"symbols": 5, "snapshot": False}, BROKERPOOL_CLIENT_BUFFER_BYTES="8192") as (
            broker,
            served_by,
        ):
            rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
            async with client(served_by) as quick:
                reader, writer = await raw_client(served_by.ws_url, rows)
                await quick.ask(action="subscribe", symbols=rows, mode=3)
                await until(lambda: len(served(broker)) == 5)
                for _ in range(100):
                    await broker.step(100)
                    assert len(await quick.take(100)) == 100, "the quick client gets every tick"
                    if served_by.stats()["gateway"]["slow_clients"]:
                        break
                assert served_by.stats()["gateway"]["slow_clients"] == 1
                await broker.step(100)
                newest = {t["symbol"]: t["data"] for t in await quick.take(100)}
                seen: dict[str, Any] = {}
                async with asyncio.timeout(5):
                    while seen != newest:
                        frame = await read_frame(reader)
                        if frame.get("type") == "market_data":
                            seen[frame["symbol"]] = frame["data"]
                assert served_by.stats()["gateway"]["frames_conflated"] > 0
                writer.close()

    asyncio.run(main())


def test_a_client_that_never_reads_is_closed_with_4408_and_costs_bounded_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "brokerpool.gateway")

    async def main() -> None:
        peak = 0
        async with gateway({"symbols": 5, "rate": 5000}, **SMALL) as (broker, served_by):
            rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
            _, writer = await raw_client(served_by.ws_url, rows)
            await until(lambda: served_by.stats()["gateway"]["slow_clients"] == 1)
            (subscriber,) = served_by._fanout._subscribers
            link = subscriber.outlet
            assert isinstance(link, Link)
            while served_by.clients:
                peak = max(peak, link.buffered)
                await asyncio.sleep(0.01)
            assert 0 < peak < 4096 + 64 * 1024, "its limit, and the one flush that crossed it"
            writer.close()

    asyncio.run(main())
    assert "left: 4408 the client does not read" in caplog.text


def test_a_client_that_asks_and_never_reads_the_answers_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "brokerpool.gateway")

    async def main() -> None:
        # Not the stuck client's deadline, but the bound on what is kept for it.
        limits = {**SMALL, "BROKERPOOL_CLIENT_STUCK_SECONDS": "60"}
        async with gateway(**limits) as (_, served_by):
            _, writer = await raw_client(served_by.ws_url, [])
            text = masked(json.dumps({"action": "ping", "timestamp": "x" * 3000}).encode())

            async def ask_for_ever() -> None:
                while True:
                    writer.write(text)
                    await writer.drain()

            asking = asyncio.create_task(ask_for_ever())
            await until(lambda: served_by.clients == 0)
            assert "left: 4408 replies are not read" in caplog.text
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            writer.close()

    asyncio.run(main())


garbage = (
    st.binary(max_size=300)
    | st.text(max_size=100)
    | st.dictionaries(
        st.sampled_from(["action", "symbols", "symbol", "exchange", "mode", "request_id"]),
        st.sampled_from(["subscribe", "unsubscribe", "authenticate", "ping", "\ud800"[:0]])
        | st.integers()
        | st.none()
        | st.lists(st.text(max_size=3) | st.none(), max_size=3)
        | st.lists(
            st.dictionaries(st.sampled_from(["symbol", "exchange", "mode"]), st.text(max_size=5)), max_size=3
        ),
    ).map(json.dumps)
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(garbage, min_size=1, max_size=40))
def test_whatever_a_client_sends_no_task_dies_and_no_other_client_notices(frames: list[str | bytes]) -> None:
    async def main() -> None:
        async with gateway({"symbols": 3}) as (broker, served_by), client(served_by) as healthy:
            await healthy.subscribe("INFY")
            await until(lambda: served(broker))
            async with client(served_by) as odd:
                for frame in frames:
                    await odd.connection.send(frame)
                assert (await odd.ask(action="ping", _pingId="last"))["status"] in ("success", "error")
            await broker.step(30)
            assert await healthy.drain()
            assert served_by.pool.connected

    asyncio.run(main())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(min_size=1, max_size=400))
def test_whatever_bytes_come_over_tcp_no_other_client_notices(raw: bytes) -> None:
    async def main() -> None:
        async with gateway({"symbols": 3}) as (_, served_by), client(served_by) as healthy:
            host, port = served_by.ws_url.removeprefix("ws://").split(":")
            for handshake in (False, True):
                if handshake:
                    _, writer = await raw_client(served_by.ws_url, [])
                else:
                    _, writer = await asyncio.open_connection(host, int(port))
                writer.write(raw)
                assert (await healthy.ask(action="ping"))["type"] == "pong"
                writer.close()

    asyncio.run(main())
