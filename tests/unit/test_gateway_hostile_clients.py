"""Clients that do not read, or send what they should not: nobody else notices, and nothing grows."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokerpool.gateway.server import Gateway
from brokerpool.transport import Link
from brokerpool.transport.frames import server_frame
from tests.gateway_client import KEY, client, gateway, masked, raw_client, read_frame, trade
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
            assert 0 < peak < 4096 + 256 * 1024, "its limit, and the one flush that crossed it"
            writer.close()

    asyncio.run(main())
    assert "left: 4408 the client does not read" in caplog.text


def _sole_link(served_by: Gateway) -> Link:
    assert served_by._links is not None
    (link,) = served_by._links._links
    return link


async def _send_until_it_takes_no_more(served_by: Gateway, writer: asyncio.StreamWriter, block: bytes) -> int:
    """Send blocks until the other side reads none any more; return how many it took."""
    sent = 0
    while True:
        writer.write(block)
        taken = asyncio.ensure_future(writer.drain())
        while not (await asyncio.wait({taken}, timeout=0.5))[0]:
            if _sole_link(served_by).reading_paused:  # else it is the machine that stands still
                taken.cancel()
                return sent
        sent += 1


@pytest.mark.parametrize(("kind", "key"), [("request", KEY), ("ping", KEY), ("ping", None)])
def test_who_does_not_read_the_answers_is_not_read_and_has_all_of_them_later(
    kind: str, key: str | None
) -> None:
    text = masked(json.dumps({"action": "ping", "timestamp": "x" * 3000}).encode())
    block = text if kind == "request" else masked(b"p" * 125, opcode=9) * 20

    async def main() -> None:
        limits = {"BROKERPOOL_CLIENT_BUFFER_BYTES": "4096", "WS_AUTH_GRACE_SECONDS": "60"}
        async with gateway(**limits) as (_, served_by):
            reader, writer = await raw_client(served_by.ws_url, [], key)
            writer.transport.set_write_buffer_limits(0)
            sent = await _send_until_it_takes_no_more(served_by, writer, block)
            link = _sole_link(served_by)
            assert link.reading_paused
            # Its limit, and what one turn may answer: 32 requests of 3 kB.
            assert link.buffered < 4096 + 32 * 3100
            assert served_by.clients == 1
            pongs = 0
            async with asyncio.timeout(20):
                while pongs <= sent if kind == "request" else link.reading_paused:
                    pongs += (await read_frame(reader)).get("type") == "pong"
            if kind == "request":
                assert pongs == sent + 1, "nothing was left out: the one that was under way is answered too"
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("again", [b"", json.dumps({"action": "authenticate", "api_key": KEY}).encode()])
@pytest.mark.parametrize("key", [KEY, None], ids=["client", "stranger"])
def test_who_does_not_read_is_closed_in_time_whatever_it_sends_meanwhile(
    key: str | None, again: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "brokerpool.gateway")
    # A stranger's requests wait their turn, so that it is the answers to pings that it does not read.
    text = masked(json.dumps({"action": "ping", "timestamp": "x" * 3000}).encode())
    flood = text if key else masked(b"p" * 125, opcode=9) * 20

    async def main() -> None:
        async with gateway(**SMALL) as (_, served_by):
            _, writer = await raw_client(served_by.ws_url, [], key)
            writer.transport.set_write_buffer_limits(2**20)  # nothing here waits for the gateway to read
            loop = asyncio.get_running_loop()
            link = _sole_link(served_by)
            behind = 0
            while behind < 20:  # turns, for the kernel takes some of it when there is room again
                if link.buffered <= 4096:
                    behind = 0
                    writer.write(flood)
                behind += 1
                await asyncio.sleep(0.001)
            began = loop.time()
            while served_by.clients:
                writer.write(masked(again) if again else b"")
                await asyncio.sleep(0.05)
                assert loop.time() - began < 10
            writer.close()

    asyncio.run(main())
    assert "left: 4408 the client does not read" in caplog.text


def test_news_for_everybody_waits_for_a_client_that_does_not_read_and_only_the_last_is_kept() -> None:
    async def main() -> None:
        async with gateway({"symbols": 3}, BROKERPOOL_CLIENT_BUFFER_BYTES="4096") as (_, served_by):
            reader, writer = await raw_client(served_by.ws_url, [])
            writer.transport.set_write_buffer_limits(0)
            text = masked(json.dumps({"action": "ping", "timestamp": "x" * 3000}).encode())
            await _send_until_it_takes_no_more(served_by, writer, text)
            link = _sole_link(served_by)
            before = link.buffered
            for number in range(1000):
                served_by._fanout.tell_all(server_frame(json.dumps({"news": number}).encode()))
            assert link.buffered == before
            news: list[int] = []
            async with asyncio.timeout(20):
                while not news:
                    frame = await read_frame(reader)
                    news += [frame["news"]] if "news" in frame else []
            assert news == [999]
            writer.close()

    asyncio.run(main())


def test_a_stranger_may_send_small_messages_only() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by), client(served_by, key=None) as stranger:
            padded = {"action": "authenticate", "api_key": "wrong", "more": "x" * 3900}
            assert (await stranger.ask(**padded))["status"] == "error", "so much is read"
            await stranger.connection.send(json.dumps({"action": "subscribe", "symbols": [{}] * 1500}))
            async with asyncio.timeout(5):
                await stranger.connection.wait_closed()
            assert stranger.connection.close_code == 1009
            assert "4096" in (stranger.connection.close_reason or "")

    asyncio.run(main())


def test_a_request_of_too_many_symbols_is_refused_whole_with_the_limit_and_the_next_is_served() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by), client(served_by) as session:
            infy = {"symbol": "INFY", "exchange": "NSE"}
            for action in ("subscribe", "unsubscribe"):
                refused = await session.ask(action=action, symbols=[infy] * 4001)
                assert refused["code"] == "REQUEST_TOO_LARGE"
                assert "4000" in refused["message"]
                assert served_by.upstream.demand.count("client-1") == 0
            reply = await session.ask(action="subscribe", symbols=[infy] * 4000)
            assert len(reply["subscriptions"]) == 4000
            assert len(served_by.upstream.demand) == 1
        # Who may hold more may ask for all of it at once.
        async with (
            gateway(BROKERPOOL_MAX_SYMBOLS_PER_CLIENT="5000") as (_, served_by),
            client(served_by) as session,
        ):
            assert (
                len((await session.ask(action="subscribe", symbols=[infy] * 5000))["subscriptions"]) == 5000
            )

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
            await trade(broker, served_by, 30)
            assert await healthy.drain()
            assert served_by.upstream.connected

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
