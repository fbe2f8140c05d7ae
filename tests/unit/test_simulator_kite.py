"""The simulated Kite over real sockets: its packets, its limits, its heartbeat and its rate."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time

import pytest

from brokerpool.simulator import KiteSimulator
from tests.unit.simulator_client import (
    DEADLINE,
    answer,
    ask,
    dialling,
    error,
    refusal,
    run,
    shape,
    tokens_of,
    until,
)


def test_wrong_or_missing_credentials_get_403() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker:
            wrong = await refusal(broker, access_token="wrong")
            assert wrong.response.status_code == 403
            assert json.loads(wrong.response.body or b"")["error_type"] == "TokenException"
            assert (await refusal(broker, api_key="wrong")).response.status_code == 403
            assert broker.stats()["refusals"] == {"403": 2}

    run(scenario)


def test_a_fourth_socket_gets_429_and_the_three_stay() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker:
            clients = [await dialling(broker) for _ in range(3)]
            assert (await refusal(broker)).response.status_code == 429
            for client in clients:
                await ask(client, "subscribe", [408065])
                assert await shape(client) == [(408065, 44)]
            stats = broker.stats()
            assert (stats["sockets"], stats["peak_sockets"], stats["dials"]) == (3, 3, 4)
            assert stats["violations"] == {"tokens": 0, "sockets": 1}
            assert (stats["duplicate_tokens"], stats["peak_duplicate_tokens"]) == (1, 1)
            assert [status for _, status in stats["dial_log"]] == [101, 101, 101, 429]
            await clients[0].close()
            await until(lambda: len(broker.sockets()) == 2)
            clients[0] = await dialling(broker)
            for client in clients:
                await client.close()
            await until(lambda: not broker.sockets())
            assert broker.stats()["duplicate_tokens"] == 0

    run(scenario)


def test_the_3001st_token_gets_the_brokers_error_and_nothing_else_changes() -> None:
    async def scenario() -> None:
        async with KiteSimulator(symbols=3_010, rate=0, snapshot=False) as broker, dialling(broker) as client:
            tokens = tokens_of(broker)
            for start in range(0, 3_000, 200):
                await ask(client, "subscribe", tokens[start : start + 200])
            await ask(client, "subscribe", tokens[3_000:3_001])
            assert await error(client) == "Can't subscribe to more than 3000 instruments."
            await ask(client, "unsubscribe", tokens[:5])
            await ask(client, "subscribe", tokens[3_000:])
            assert await error(client) == "Can't subscribe to more than 3000 instruments."
            (status,) = broker.sockets()
            assert list(status["tokens"]) == [str(token) for token in tokens[5:3_000]]
            assert status["violations"] == 2
            stats = broker.stats()
            assert stats["peak_tokens_per_socket"] == 3_000
            assert stats["largest_batch"] == 200
            assert stats["violations"] == {"tokens": 2, "sockets": 0}

    run(scenario)


def test_a_subscribe_begins_with_quotes_and_the_mode_decides_the_packet() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker, dialling(broker) as client:
            equity = 408065
            await ask(client, "subscribe", [equity])
            assert await shape(client) == [(equity, 44)]
            for mode, size in (("full", 184), ("ltp", 8), ("quote", 44)):
                await ask(client, "mode", [mode, [equity]])
                assert await shape(client) == [(equity, size)]
                await broker.step(100)
                assert await shape(client) == [(equity, size)]
            await ask(client, "unsubscribe", [equity])
            await until(lambda: not broker.sockets()[0]["tokens"])
            await broker.step(100)
            await ask(client, "dance", None)
            assert "Unknown action" in await error(client)

    run(scenario)


def test_an_index_has_its_own_packets() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker, dialling(broker) as client:
            await ask(client, "subscribe", [256265])
            assert await shape(client) == [(256265, 28)]
            await ask(client, "mode", ["full", [256265]])
            assert await shape(client) == [(256265, 32)]

    run(scenario)


def test_requests_that_arrive_together_are_answered_with_one_packet_a_token() -> None:
    async def scenario() -> None:
        async with KiteSimulator(symbols=1_200, rate=0) as broker, dialling(broker) as client:
            tokens = [token for token in tokens_of(broker) if token & 0xFF != 9]
            async with asyncio.TaskGroup() as group:
                group.create_task(ask(client, "subscribe", tokens))
                group.create_task(ask(client, "mode", ["full", tokens]))
            seen: list[tuple[int, int]] = []
            while len(seen) < len(tokens) or seen[-1] != (tokens[-1], 184):
                seen += await shape(client)
            assert seen[-len(tokens) :] == [(token, 184) for token in tokens]

    run(scenario)


def test_duplicates_are_sent_once_and_unknown_tokens_not_at_all() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker, dialling(broker) as client:
            await ask(client, "subscribe", [408065, 408065, 999])
            assert await shape(client) == [(408065, 44)]
            await broker.step(100)
            assert await shape(client) == [(408065, 44)]
            assert broker.sockets()[0]["tokens"] == {"408065": "quote"}
            assert broker.sockets()[0]["entries"] == 2

    run(scenario)


def test_malformed_requests_get_an_error_and_the_socket_stays() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker, dialling(broker) as client:
            for request in ("", "}{", '{"a":"subscribe","v":{}}', b'{"a":"subscribe","v":[1]}'):
                await client.send(request)
                assert await error(client)
            await ask(client, "subscribe", [408065])
            assert await shape(client) == [(408065, 44)]
            assert broker.stats()["malformed_requests"] == 4

    run(scenario)


def test_an_idle_socket_gets_a_heartbeat_of_one_byte() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0, heartbeat_seconds=0.1) as broker, dialling(broker) as client:
            began = time.monotonic()
            for _ in range(5):
                assert await asyncio.wait_for(client.recv(), DEADLINE) == b"\x00"
            assert 0.4 < time.monotonic() - began < 10

    run(scenario)


def test_without_snapshots_the_first_packet_is_the_first_tick() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0, snapshot=False) as broker, dialling(broker) as client:
            await ask(client, "subscribe", [408065])
            await until(lambda: bool(broker.sockets()[0]["tokens"]))
            assert broker.stats()["snapshots_sent"] == 0
            await broker.step(100)
            assert await shape(client) == [(408065, 44)]

    run(scenario)


def test_ticks_of_one_moment_leave_in_one_frame() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0, snapshot=False) as broker, dialling(broker) as client:
            await ask(client, "subscribe", tokens_of(broker))
            await until(lambda: bool(broker.sockets()[0]["tokens"]))
            await broker.step(100)
            assert sorted(token for token, _ in await shape(client)) == sorted(tokens_of(broker))
            assert broker.sockets()[0]["frames_sent"] == 1

    run(scenario)


@pytest.mark.alone
@pytest.mark.parametrize("rate", [40, 10_000])
def test_the_rate_is_kept(rate: int) -> None:
    async def scenario() -> None:
        async with (
            KiteSimulator(symbols=500, rate=rate, snapshot=False) as broker,
            dialling(broker) as client,
        ):
            await ask(client, "subscribe", tokens_of(broker))
            await shape(client)
            began, before = time.monotonic(), broker.stats()
            received = frames = 0
            while time.monotonic() - began < 1.0:
                received += len(await shape(client))
                frames += 1
            took = time.monotonic() - began
            assert received == pytest.approx(rate * took, rel=0.1, abs=2)
            assert broker.stats()["market_ticks"] - before["market_ticks"] == pytest.approx(
                received, rel=0.05, abs=3
            )
            assert frames <= min(received, took * 100 + 2)

    run(scenario)


def test_a_client_that_does_not_read_costs_bounded_memory_and_is_counted() -> None:
    async def scenario() -> None:
        async with KiteSimulator(symbols=1_000, rate=0) as broker:
            stuck = await dialling(broker)
            await ask(stuck, "subscribe", tokens_of(broker))
            await ask(stuck, "mode", ["full", tokens_of(broker)])
            await until(lambda: len(broker.sockets()[0]["tokens"]) == 1_000)
            reader = await dialling(broker)
            await ask(reader, "subscribe", [408065])
            assert await shape(reader) == [(408065, 44)]
            stuck.transport.pause_reading()
            began = time.monotonic()
            await broker.step(60_000)  # 11 MB, while the kernel takes no more than about 3
            assert time.monotonic() - began < 4.0
            first, second = broker.sockets()
            assert first["buffered_bytes"] < 2 * 1024 * 1024
            assert first["ticks_dropped"] > 20_000
            assert first["ticks_dropped"] == broker.stats()["ticks_dropped"]
            assert second["ticks_dropped"] == 0
            for _ in range(60):
                assert await shape(reader) == [(408065, 44)]
            stuck.transport.abort()

    run(scenario)


def test_no_secret_shows_in_the_representation() -> None:
    broker = KiteSimulator(access_token="s3cret", api_key="k3y")
    assert "s3cret" not in repr(broker)
    assert "k3y" not in repr(broker)


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            broker = KiteSimulator(port=taken.getsockname()[1])
            with pytest.raises(OSError, match=r"(?i)address already in use"):
                await broker.start()

    run(scenario)


def test_the_broker_ends_with_clients_connected() -> None:
    async def scenario() -> None:
        async with KiteSimulator() as broker:
            client = await dialling(broker)
            await ask(client, "subscribe", [408065])
            await shape(client)
        await asyncio.wait_for(client.wait_closed(), DEADLINE)
        assert client.close_code == 1001
        await broker.close()

    run(scenario)


def test_the_frame_count_is_big_endian() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker, dialling(broker) as client:
            await ask(client, "subscribe", tokens_of(broker, 7))
            message = await answer(client)
            assert isinstance(message, bytes)
            assert struct.unpack_from(">HH", message) == (7, 44)

    run(scenario)
