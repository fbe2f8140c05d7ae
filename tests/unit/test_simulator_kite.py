"""The simulated Kite over real sockets, asked by a WebSocket client that is not ours."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from brokerpool.simulator import KiteSimulator, Malformation, Malformed, Mute, Refuse
from brokerpool.simulator.kite_wire import packet_token, packets

DEADLINE = 5.0


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 30))


def dialling(broker: KiteSimulator, **changed: str) -> connect:
    query = {"api_key": broker.api_key, "access_token": broker.access_token, **changed}
    url = broker.ws_url + "?" + "&".join(f"{name}={value}" for name, value in query.items())
    return connect(url, max_size=None, ping_interval=None)


async def refusal(broker: KiteSimulator, **changed: str) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as refused:
        await dialling(broker, **changed)
    return refused.value


async def ask(client: ClientConnection, action: str, value: object) -> None:
    await client.send(json.dumps({"a": action, "v": value}))


async def answer(client: ClientConnection) -> bytes | str:
    """The next message that is not a heartbeat."""
    async with asyncio.timeout(DEADLINE):
        while (message := await client.recv()) == b"\x00":
            pass
    return message


async def error(client: ClientConnection) -> str:
    message = await answer(client)
    assert isinstance(message, str)
    notice = json.loads(message)
    assert notice["type"] == "error"
    return str(notice["data"])


async def shape(client: ClientConnection) -> list[tuple[int, int]]:
    """Token and length of every packet in the next binary message."""
    message = await answer(client)
    assert isinstance(message, bytes)
    return [(packet_token(packet) or 0, len(packet)) for packet in packets(message)]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(DEADLINE / 1_000)
    raise TimeoutError("the condition did not come true in time")


def tokens_of(broker: KiteSimulator, count: int | None = None) -> list[int]:
    return [listing.token for listing in broker.listings[:count]]


def test_wrong_or_missing_credentials_get_403():
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker:
            wrong = await refusal(broker, access_token="wrong")
            assert wrong.response.status_code == 403
            assert json.loads(wrong.response.body or b"")["error_type"] == "TokenException"
            assert (await refusal(broker, api_key="wrong")).response.status_code == 403
            assert broker.stats()["refusals"] == {"403": 2}

    run(scenario)


def test_a_fourth_socket_gets_429_and_the_three_stay():
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


def test_the_3001st_token_gets_the_brokers_error_and_nothing_else_changes():
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


def test_a_subscribe_begins_with_quotes_and_the_mode_decides_the_packet():
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


def test_an_index_has_its_own_packets():
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker, dialling(broker) as client:
            await ask(client, "subscribe", [256265])
            assert await shape(client) == [(256265, 28)]
            await ask(client, "mode", ["full", [256265]])
            assert await shape(client) == [(256265, 32)]

    run(scenario)


def test_requests_that_arrive_together_are_answered_with_one_packet_a_token():
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


def test_duplicates_are_sent_once_and_unknown_tokens_not_at_all():
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker, dialling(broker) as client:
            await ask(client, "subscribe", [408065, 408065, 999])
            assert await shape(client) == [(408065, 44)]
            await broker.step(100)
            assert await shape(client) == [(408065, 44)]
            assert broker.sockets()[0]["tokens"] == {"408065": "quote"}
            assert broker.sockets()[0]["entries"] == 2

    run(scenario)


def test_malformed_requests_get_an_error_and_the_socket_stays():
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker, dialling(broker) as client:
            for request in ("", "}{", '{"a":"subscribe","v":{}}', b'{"a":"subscribe","v":[1]}'):
                await client.send(request)
                assert await error(client)
            await ask(client, "subscribe", [408065])
            assert await shape(client) == [(408065, 44)]
            assert broker.stats()["malformed_requests"] == 4

    run(scenario)


def test_an_idle_socket_gets_a_heartbeat_of_one_byte():
    async def scenario() -> None:
        async with KiteSimulator(rate=0, heartbeat_seconds=0.1) as broker, dialling(broker) as client:
            began = time.monotonic()
            for _ in range(5):
                assert await asyncio.wait_for(client.recv(), DEADLINE) == b"\x00"
            assert 0.4 < time.monotonic() - began < 1.5

    run(scenario)


def test_without_snapshots_the_first_packet_is_the_first_tick():
    async def scenario() -> None:
        async with KiteSimulator(rate=0, snapshot=False) as broker, dialling(broker) as client:
            await ask(client, "subscribe", [408065])
            await until(lambda: bool(broker.sockets()[0]["tokens"]))
            assert broker.stats()["snapshots_sent"] == 0
            await broker.step(100)
            assert await shape(client) == [(408065, 44)]

    run(scenario)


def test_ticks_of_one_moment_leave_in_one_frame():
    async def scenario() -> None:
        async with KiteSimulator(rate=0, snapshot=False) as broker, dialling(broker) as client:
            await ask(client, "subscribe", tokens_of(broker))
            await until(lambda: bool(broker.sockets()[0]["tokens"]))
            await broker.step(100)
            assert sorted(token for token, _ in await shape(client)) == sorted(tokens_of(broker))
            assert broker.sockets()[0]["frames_sent"] == 1

    run(scenario)


@pytest.mark.parametrize("rate", [40, 10_000])
def test_the_rate_is_kept(rate: int):
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


def test_a_client_that_does_not_read_costs_bounded_memory_and_is_counted():
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


def test_a_killed_and_a_closed_socket_end_as_told():
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker:
            killed, closed = await dialling(broker), await dialling(broker)
            broker.kill(1)
            broker.close_socket(2)
            await asyncio.wait_for(asyncio.gather(killed.wait_closed(), closed.wait_closed()), DEADLINE)
            assert (killed.close_code, closed.close_code) == (1006, 1001)
            await until(lambda: not broker.sockets())
            with pytest.raises(LookupError, match="no socket 1 is open"):
                broker.kill(1)

    run(scenario)


def test_the_newest_sockets_can_be_dropped():
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker:
            clients = [await dialling(broker) for _ in range(3)]
            broker.drop_newest(2)
            await until(lambda: [status["id"] for status in broker.sockets()] == [1])
            for client in clients:
                await client.close()

    run(scenario)


def test_dials_are_refused_on_command_with_a_hint_when_to_come_again():
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker:
            broker.faults.refuse = Refuse(429, retry_after=7, count=2)
            for _ in range(2):
                refused = await refusal(broker)
                assert refused.response.status_code == 429
                assert refused.response.headers["Retry-After"] == "7"
            async with dialling(broker):
                assert broker.stats()["refusals"] == {"429": 2}

    run(scenario)


def test_a_muted_socket_stays_open_and_says_nothing():
    async def scenario() -> None:
        broker = KiteSimulator(rate=0, heartbeat_seconds=0.05)
        async with broker, dialling(broker) as muted, dialling(broker) as other:
            for client in (muted, other):
                await ask(client, "subscribe", [408065])
                assert await shape(client) == [(408065, 44)]
            broker.faults.mute = Mute([1])
            await broker.step(100)
            assert await shape(other) == [(408065, 44)]
            assert await asyncio.wait_for(muted.recv(), DEADLINE) == b"\x00"
            assert broker.sockets()[0]["ticks_muted"] == 1

            broker.faults.mute = Mute([1], heartbeats=False)
            silent, talking = (status["frames_sent"] for status in broker.sockets())
            await until(lambda: broker.sockets()[1]["frames_sent"] >= talking + 4)
            assert broker.sockets()[0]["frames_sent"] == silent
            await asyncio.wait_for(await muted.ping(), DEADLINE)

            broker.faults.mute = None
            await broker.step(100)
            assert await shape(muted) == [(408065, 44)]

    run(scenario)


def test_an_expired_token_is_refused_until_a_new_one_comes():
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker:
            old = broker.access_token
            first = await dialling(broker)
            broker.expire_token()
            assert (await refusal(broker)).response.status_code == 403
            assert len(broker.sockets()) == 1
            broker.expire_token(close_sockets=True)
            await asyncio.wait_for(first.wait_closed(), DEADLINE)
            broker.renew_token("fresh")
            assert (await refusal(broker, access_token=old)).response.status_code == 403
            async with dialling(broker):
                pass

    run(scenario)


def test_a_broker_that_is_down_refuses_tcp_and_comes_back_on_the_same_port():
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker:
            url = broker.ws_url
            client = await dialling(broker)
            await broker.down()
            await asyncio.wait_for(client.wait_closed(), DEADLINE)
            assert client.close_code == 1006
            with pytest.raises(ConnectionRefusedError):
                await dialling(broker)
            await broker.down()
            await broker.up()
            await broker.up()
            assert broker.ws_url == url
            async with dialling(broker):
                pass

    run(scenario)


@pytest.mark.parametrize("kind", list(Malformation))
def test_the_next_frames_are_spoilt_and_those_after_are_not(kind: Malformation):
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker, dialling(broker) as client:
            await ask(client, "subscribe", [408065])
            assert await shape(client) == [(408065, 44)]
            broker.faults.malformed = Malformed(kind, frames=2)
            for _ in range(2):
                await broker.step(100)
                assert await shape(client) != [(408065, 44)]
            await broker.step(100)
            assert await shape(client) == [(408065, 44)]

    run(scenario)


def test_latency_delays_requests_and_keeps_their_order():
    async def scenario() -> None:
        async with KiteSimulator(rate=0, latency_ms=100) as broker, dialling(broker) as client:
            began = time.monotonic()
            await ask(client, "subscribe", [408065])
            await ask(client, "mode", ["full", [408065]])
            first = await shape(client)
            assert 0.1 <= time.monotonic() - began < 1.0
            assert first == [(408065, 184)] or await shape(client) == [(408065, 184)]

    run(scenario)


def test_no_secret_shows_in_the_representation():
    broker = KiteSimulator(access_token="s3cret", api_key="k3y")
    assert "s3cret" not in repr(broker)
    assert "k3y" not in repr(broker)


def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open():
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            broker = KiteSimulator(port=taken.getsockname()[1])
            with pytest.raises(OSError, match="address already in use"):
                await broker.start()

    run(scenario)


def test_the_broker_ends_with_clients_connected():
    async def scenario() -> None:
        async with KiteSimulator() as broker:
            client = await dialling(broker)
            await ask(client, "subscribe", [408065])
            await shape(client)
        await asyncio.wait_for(client.wait_closed(), DEADLINE)
        assert client.close_code == 1001
        await broker.close()

    run(scenario)


def test_the_frame_count_is_big_endian():
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker, dialling(broker) as client:
            await ask(client, "subscribe", tokens_of(broker, 7))
            message = await answer(client)
            assert isinstance(message, bytes)
            assert struct.unpack_from(">HH", message) == (7, 44)

    run(scenario)
