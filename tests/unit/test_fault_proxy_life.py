"""The proxy goes down, comes up, ends and is cancelled without leaving anything behind."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import time
from typing import Any

import pytest

from brokerpool.simulator import FaultProxy, Latency
from brokerpool.simulator.fault_proxy.connection import ProxiedConnection
from tests.rehearsal import until
from tests.unit.proxied_server import DEADLINE, Place, descriptors, place, run, stalled


async def reset_follows(reader: asyncio.StreamReader) -> None:
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), DEADLINE)


def test_down_cuts_and_refuses_and_up_listens_on_the_same_port() -> None:
    async def scenario() -> None:
        async with place() as at:
            reader, writer, served = await at.dialled()
            port = at.proxy.port
            await at.proxy.down()
            await at.proxy.down()
            await reset_follows(reader)
            await until(lambda: served.lost)
            assert isinstance(served.error, ConnectionResetError)
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await at.dial()
            assert not at.proxy.enabled
            await at.proxy.up()
            await at.proxy.up()
            assert at.proxy.port == port
            reader, writer, _ = await at.dialled()
            writer.write(b"back")
            assert await asyncio.wait_for(reader.readexactly(4), DEADLINE) == b"back"
            writer.close()

    run(scenario)


def test_a_cut_resets_every_connection_and_the_next_one_is_served() -> None:
    async def scenario() -> None:
        async with place() as at:
            ends = [await at.dialled() for _ in range(3)]
            at.proxy.cut()
            for reader, writer, served in ends:
                await reset_follows(reader)
                await until(lambda served=served: served.lost)  # type: ignore[misc]  # mypy: a default is no type
                writer.close()
            _, writer, _ = await at.dialled()
            writer.close()

    run(scenario)


def test_a_server_that_is_not_there_is_seen_as_a_reset() -> None:
    async def scenario() -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            async with FaultProxy("127.0.0.1", bound.getsockname()[1]) as proxy:
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                await reset_follows(reader)
                writer.close()

    run(scenario)


def test_200_connections_leave_no_descriptor_and_no_task() -> None:
    async def scenario() -> None:
        async with place() as at:
            at.proxy.add("slow", Latency(latency=5, jitter=5))
            before, tasks = descriptors(), asyncio.all_tasks()
            for _ in range(10):
                ends = await asyncio.gather(*(at.dial() for _ in range(20)))
                for number, (reader, writer) in enumerate(ends):
                    writer.write(b"ping")
                    assert await asyncio.wait_for(reader.readexactly(4), DEADLINE) == b"ping"
                    (writer.transport.abort if number % 2 else writer.close)()
            await until(lambda: at.proxy.report()["connections"] == 0)
            await until(lambda: all(served.lost for served in at.served))
            assert at.proxy.report()["connections_total"] == 200
            assert descriptors() == before
            assert asyncio.all_tasks() == tasks

    run(scenario)


def test_cancelled_in_the_middle_it_leaves_nothing() -> None:
    async def stream(at: Place, going: asyncio.Event) -> None:
        async with FaultProxy("127.0.0.1", at.proxy.port) as proxy:
            proxy.add("slow", Latency(latency=1))
            ends = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(5)]
            try:
                while True:
                    for reader, writer in ends:
                        writer.write(bytes(10_000))
                        await reader.readexactly(10_000)
                    going.set()
            finally:
                for _, writer in ends:
                    writer.close()

    async def scenario() -> None:
        async with place() as at:
            tasks = asyncio.all_tasks()
            going = asyncio.Event()
            streaming = asyncio.create_task(stream(at, going))
            await asyncio.wait_for(going.wait(), DEADLINE)
            streaming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await streaming
            assert asyncio.all_tasks() == tasks
            await until(lambda: at.proxy.report()["connections"] == 0)

    run(scenario)


@pytest.mark.parametrize("turns", range(6))
def test_cancelled_at_any_turn_of_its_start_and_end_it_leaves_nothing(turns: int) -> None:
    async def scenario() -> None:
        async def live() -> None:
            async with FaultProxy("127.0.0.1", 1):
                pass

        living = asyncio.create_task(live())
        for _ in range(turns):
            await asyncio.sleep(0)
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        # Of a socket that was closed and not given up, the loop would stumble over the number.
        async with place() as at:
            _, writer, _ = await at.dialled()
            writer.close()

    run(scenario)


def test_it_ends_at_once_while_a_dial_to_the_server_hangs() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        # A listener whose queue is full does not answer dials any more.
        with socket.socket() as busy, socket.socket() as first, socket.socket() as second:
            busy.bind(("127.0.0.1", 0))
            busy.listen(0)
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(busy.getsockname())
            async with FaultProxy("127.0.0.1", busy.getsockname()[1]) as proxy:
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                await until(lambda: proxy.report()["connections_total"] == 1)
                assert proxy.report()["connections"] == 1
                # What is sent meanwhile waits with its sender.
                writer.write(bytes(64 * 2**20))
                waiting = await stalled(writer.transport.get_write_buffer_size)
                assert waiting > 32 * 2**20
                began = loop.time()
            assert loop.time() - began < 10, "it does not wait for what nobody takes"
            await reset_follows(reader)
            writer.close()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario)


@pytest.mark.parametrize("turns", range(5))
def test_a_connection_that_is_just_being_accepted_at_the_end_is_not_forgotten(turns: int) -> None:
    async def scenario() -> None:
        async with place() as at:
            before = descriptors()
            async with FaultProxy("127.0.0.1", at.proxy.port) as proxy:
                with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                    client.settimeout(DEADLINE)
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    await proxy.close()
                    with pytest.raises(ConnectionResetError):
                        client.recv(1)
            await until(lambda: at.proxy.report()["connections"] == 0)
            assert descriptors() == before

    run(scenario)


def test_out_of_descriptors_it_tells_once_a_second_and_goes_on_when_there_are_some() -> None:
    async def scenario() -> None:
        told: list[dict[str, Any]] = []
        async with place() as at:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            with socket.create_connection(("127.0.0.1", at.proxy.port)) as client:
                lowest_free = os.dup(0)
                os.close(lowest_free)
                resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
                try:
                    await until(lambda: told)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                await until(lambda: at.served)
                client.sendall(b"ping")
                await until(lambda: at.served[0].got == b"ping")
            assert [type(context["exception"]) for context in told] == [OSError]

    run(scenario)


def test_what_a_connection_waited_for_does_not_keep_it_in_memory() -> None:
    async def scenario() -> None:
        async with place() as at:
            at.proxy.add("slow", Latency(latency=3_600_000))
            _, writer, _ = await at.dialled()
            writer.write(b"ping")
            await until(lambda: at.proxy.report()["upstream_bytes"] == 4)
            at.proxy.cut()
            await until(lambda: at.proxy.report()["connections"] == 0)
            writer.close()
            gc.collect()
            assert not [one for one in gc.get_objects() if isinstance(one, ProxiedConnection)]

    run(scenario)


def test_a_fault_of_its_own_is_reported_and_resets_the_client() -> None:
    async def scenario() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with FaultProxy("127.0.0.1", 70_000) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            await reset_follows(reader)
            writer.close()
        assert [type(context["exception"]) for context in told] == [OverflowError]

    run(scenario)


def test_a_taken_port_is_told_and_a_closed_proxy_stays_closed() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            proxy = FaultProxy("127.0.0.1", 1, port=taken.getsockname()[1])
            with pytest.raises(OSError, match="in use"):
                await proxy.start()
        await proxy.start()
        began = time.monotonic()
        await proxy.close()
        await proxy.close()
        assert time.monotonic() - began < 5
        with pytest.raises(RuntimeError, match="not started"):
            await proxy.up()

    run(scenario)
