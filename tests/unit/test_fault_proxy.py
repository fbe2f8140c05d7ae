"""Each toxic does on real sockets what it is called, to new connections and to open ones."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from brokerpool.simulator import (
    Bandwidth,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)
from tests.rehearsal import until
from tests.unit.proxied_server import DEADLINE, place, run, stalled

#: How long nothing must come for a stream to count as silent.
SILENCE = 0.1


async def answer(reader: asyncio.StreamReader, size: int) -> bytes:
    return await asyncio.wait_for(reader.readexactly(size), DEADLINE)


async def rest(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(), DEADLINE)


async def silent(reader: asyncio.StreamReader) -> bool:
    try:
        return not await asyncio.wait_for(reader.read(1), SILENCE) and not reader.at_eof()
    except TimeoutError:
        return True


def test_bytes_pass_unchanged_both_ways_and_are_counted() -> None:
    async def scenario() -> None:
        async with place() as at:
            reader, writer, served = await at.dialled()
            data = bytes(range(256)) * 4000
            writer.write(data)
            assert await answer(reader, len(data)) == data
            assert at.proxy.report() == {
                "enabled": True,
                "port": at.proxy.port,
                "connections": 1,
                "connections_total": 1,
                "upstream_bytes": len(data),
                "downstream_bytes": len(data),
            }
            writer.close()
            await until(lambda: served.lost)
            await until(lambda: at.proxy.report()["connections"] == 0)
            assert at.proxy.report()["downstream_bytes"] == len(data)

    run(scenario)


def test_a_side_that_has_finished_still_gets_what_the_other_one_says() -> None:
    async def scenario() -> None:
        async with place() as at:
            at.proxy.add("slow", Latency(latency=30))
            reader, writer, served = await at.dialled()
            writer.write(b"last words")
            writer.write_eof()
            assert await rest(reader) == b"last words"
            assert served.ended
            assert served.error is None
            writer.close()

    run(scenario)


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_latency_makes_an_open_connection_late_and_is_gone_when_it_is_removed(stream: str) -> None:
    async def scenario() -> None:
        async with place() as at:
            reader, writer, _ = await at.dialled()
            at.proxy.add("slow", Latency(latency=80, stream=stream))  # type: ignore[arg-type]
            began = time.monotonic()
            writer.write(b"ping")
            await answer(reader, 4)
            assert 0.08 <= time.monotonic() - began < 10
            at.proxy.remove("slow")
            at.proxy.add("for ever", Latency(latency=60_000, stream=stream))  # type: ignore[arg-type]
            writer.write(b"ping")
            assert await silent(reader)
            at.proxy.remove("for ever")
            assert await answer(reader, 4) == b"ping"
            writer.close()

    run(scenario)


def test_bandwidth_takes_its_time() -> None:
    async def scenario() -> None:
        async with place() as at:
            at.proxy.add("thin", Bandwidth(rate=200))
            reader, writer, _ = await at.dialled()
            began = time.monotonic()
            writer.write(bytes(60_000))
            await answer(reader, 60_000)
            assert 0.28 <= time.monotonic() - began < 10
            writer.close()

    run(scenario)


def test_slices_arrive_one_by_one() -> None:
    async def scenario() -> None:
        async with place() as at:
            at.proxy.add("sliced", Slicer(average_size=10, delay=10_000))
            reader, writer, _ = await at.dialled()
            writer.write(bytes(200))
            pieces: list[int] = []
            while sum(pieces) < 200:
                pieces.append(len(await asyncio.wait_for(reader.read(200), DEADLINE)))
            # A busy machine may see two at once, and never all of them.
            assert len(pieces) > 5
            writer.close()

    run(scenario)


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_a_reset_is_seen_as_such_on_both_sides(stream: str) -> None:
    async def scenario() -> None:
        async with place() as at:
            reader, writer, served = await at.dialled()
            writer.write(b"ping")
            await answer(reader, 4)
            at.proxy.add("reset", ResetPeer(timeout=50, stream=stream))  # type: ignore[arg-type]
            writer.write(b"pong")
            assert await answer(reader, 4) == b"pong"
            with pytest.raises(ConnectionResetError):
                await rest(reader)
            await until(lambda: served.lost)
            assert isinstance(served.error, ConnectionResetError)
            writer.close()

    run(scenario)


def test_a_reset_by_the_server_reaches_the_client_as_a_reset_after_what_came_before() -> None:
    async def scenario() -> None:
        async with place() as at:
            at.proxy.add("slow", Latency(latency=50))
            reader, writer, served = await at.dialled()
            writer.write(b"last words")
            await until(lambda: served.got == b"last words")
            await until(lambda: at.proxy.report()["upstream_bytes"] == 10)
            sock = served.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await asyncio.sleep(0.01)  # a reset at once would overtake the answer in the kernel
            served.transport.abort()
            assert await answer(reader, 10) == b"last words"
            with pytest.raises(ConnectionResetError):
                await rest(reader)
            writer.close()

    run(scenario)


def test_a_timeout_swallows_data_and_then_closes() -> None:
    async def scenario() -> None:
        async with place() as at:
            at.proxy.add("dead", Timeout(timeout=100))
            began = time.monotonic()
            reader, writer, served = await at.dialled()
            writer.write(b"ping")
            assert await rest(reader) == b""
            assert 0.1 <= time.monotonic() - began < 10
            await until(lambda: served.lost)
            writer.close()

    run(scenario)


@pytest.mark.parametrize("stream", ["upstream", "downstream"])
def test_a_black_hole_keeps_the_connection_open_and_heals_without_a_gap(stream: str) -> None:
    async def scenario() -> None:
        async with place() as at:
            reader, writer, served = await at.dialled()
            writer.write(b"one ")
            assert await answer(reader, 4) == b"one "
            at.proxy.add("hole", Timeout(timeout=0, stream=stream))  # type: ignore[arg-type]
            writer.write(b"two ")
            assert await silent(reader)
            assert not served.lost
            assert served.got == (b"one " if stream == "upstream" else b"one two ")
            assert at.proxy.report()["connections"] == 1
            at.proxy.remove("hole")
            writer.write(b"three")
            assert await answer(reader, 9) == b"two three"
            writer.close()

    run(scenario)


def test_the_end_of_a_connection_is_not_seen_through_a_black_hole() -> None:
    async def scenario() -> None:
        async with place() as at:
            at.proxy.add("hole", Timeout())
            reader, writer, served = await at.dialled()
            served.transport.close()
            assert await silent(reader)
            assert not reader.at_eof()
            at.proxy.clear()
            assert await rest(reader) == b""
            writer.close()

    run(scenario)


def test_a_slow_close_is_late_and_what_came_before_is_not() -> None:
    async def scenario() -> None:
        async with place() as at:
            at.proxy.add("slow", SlowClose(delay=400))
            reader, writer, served = await at.dialled()
            served.transport.write(b"bye")
            served.transport.close()
            began = time.monotonic()
            assert await answer(reader, 3) == b"bye"
            came = time.monotonic() - began
            assert await rest(reader) == b""
            closed = time.monotonic() - began
            assert 0.4 <= closed < 10
            assert came < closed / 2
            writer.close()

    run(scenario)


def test_a_limit_lets_exactly_so_much_pass_and_closes_both_sides() -> None:
    async def scenario() -> None:
        async with place() as at:
            at.proxy.add("limit", LimitData(bytes=1000))
            reader, writer, served = await at.dialled()
            writer.write(bytes(400))
            await answer(reader, 400)
            writer.write(bytes(5000))
            assert await rest(reader) == bytes(600)
            await until(lambda: served.lost)
            writer.close()

    run(scenario)


def test_toxicity_is_the_share_of_connections_that_are_hit() -> None:
    async def scenario() -> None:
        async with place() as at:
            at.proxy.add("never", ResetPeer(toxicity=0.0))
            ends = [await at.dialled() for _ in range(30)]
            at.proxy.add("some", ResetPeer(toxicity=0.5))
            await until(lambda: at.proxy.report()["connections"] < 30)
            left = at.proxy.report()["connections"]
            assert 5 < left < 25
            for _, writer, _ in ends:
                writer.close()

    run(scenario)


@pytest.mark.parametrize("toxic", [Timeout(), None], ids=["black hole", "reader that does not read"])
def test_a_sender_waits_when_nothing_leaves_and_loses_nothing(toxic: Toxic | None) -> None:
    sent = 64 * 2**20

    async def scenario() -> None:
        async with place() as at:
            if toxic is not None:
                at.proxy.add("hole", toxic)
            reader, writer, served = await at.dialled()
            chunk = bytes(range(256)) * 256
            for _ in range(sent // len(chunk)):
                served.transport.write(chunk)
            waiting = await stalled(served.transport.get_write_buffer_size)
            # What has left the server is in the kernel's buffers and in the proxy's.
            assert waiting > sent // 2
            at.proxy.clear()
            for _ in range(sent // len(chunk)):
                assert await answer(reader, len(chunk)) == chunk
            writer.close()

    run(scenario)


def test_names_are_unique_and_must_be_known() -> None:
    async def scenario() -> None:
        async with place() as at:
            at.proxy.add("hole", Timeout())
            with pytest.raises(ValueError, match="there is a toxic 'hole' already"):
                at.proxy.add("hole", Latency(latency=1))
            with pytest.raises(LookupError, match=r"there is no toxic 'fog'; there are \['hole'\]"):
                at.proxy.remove("fog")
            assert [toxic["name"] for toxic in at.proxy.toxics()] == ["hole"]
            at.proxy.clear()
            assert at.proxy.toxics() == []

    run(scenario)
