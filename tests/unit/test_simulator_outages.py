"""The simulated Kite fails on command, over real sockets, and recovers."""

from __future__ import annotations

import asyncio
import time

import pytest

from brokerpool.simulator import KiteSimulator, Malformation, Malformed, Mute, Refuse
from tests.unit.simulator_client import DEADLINE, ask, dialling, refusal, run, shape, until


def test_a_killed_and_a_closed_socket_end_as_told() -> None:
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


def test_the_newest_sockets_can_be_dropped() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0) as broker:
            clients = [await dialling(broker) for _ in range(3)]
            broker.drop_newest(2)
            await until(lambda: [status["id"] for status in broker.sockets()] == [1])
            for client in clients:
                await client.close()

    run(scenario)


def test_dials_are_refused_on_command_with_a_hint_when_to_come_again() -> None:
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


def test_a_muted_socket_stays_open_and_says_nothing() -> None:
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


def test_an_expired_token_is_refused_until_a_new_one_comes() -> None:
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


def test_a_broker_that_is_down_refuses_tcp_and_comes_back_on_the_same_port() -> None:
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
def test_the_next_frames_are_spoilt_and_those_after_are_not(kind: Malformation) -> None:
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


def test_latency_delays_requests_and_keeps_their_order() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0, latency_ms=100) as broker, dialling(broker) as client:
            began = time.monotonic()
            await ask(client, "subscribe", [408065])
            await ask(client, "mode", ["full", [408065]])
            first = await shape(client)
            assert 0.1 <= time.monotonic() - began < 10
            assert first == [(408065, 184)] or await shape(client) == [(408065, 184)]

    run(scenario)
