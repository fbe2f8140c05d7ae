"""The bus over real NATS servers: what is told and kept, and servers that go and come back."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from nats.aio.client import Client

from brokerpool.cluster import nats_bus
from brokerpool.cluster.bus import Bus, BusError, Entry
from brokerpool.cluster.nats_bus import WAITING_BYTES, NatsBus
from brokerpool.cluster.nats_server import NatsServer, nats_server, program
from brokerpool.cluster.subjects import LEASES
from tests.nats import bus, cluster_settings, refused, run
from tests.rehearsal import until

pytestmark = pytest.mark.skipif(program() is None, reason="needs the program nats-server")


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[tuple[NatsServer, NatsBus, NatsBus]]:
    with nats_server(folder) as server:
        async with bus(server.url, "one") as one, bus(server.url, "two") as two:
            yield server, one, two


def test_messages_arrive_in_the_order_of_their_sender_until_the_subscription_is_closed(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with pair(tmp_path) as (_, one, two):
            seen: list[tuple[str, bytes]] = []
            subscription = two.subscribe(
                "a.ticks.*", lambda subject, payload: seen.append((subject, payload))
            )
            await settled(two)
            for number in range(500):
                one.publish("a.ticks.1", str(number).encode())
            one.publish("a.other", b"is not meant")
            await until(lambda: len(seen) >= 500)
            assert seen == [("a.ticks.1", str(number).encode()) for number in range(500)]
            subscription.close()
            subscription.close()
            await settled(two)
            one.publish("a.ticks.1", b"too late")
            await settled(one)
            await settled(two)
            assert len(seen) == 500

    run(test())


async def settled(one: NatsBus) -> None:
    """Return once the server has read all that this bus has sent."""
    with pytest.raises(BusError):
        await one.request("nobody.is.here", b"", 5)


def test_a_handler_that_raises_takes_no_message_from_itself_or_others(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as (_, one, two):
            seen: list[bytes] = []

            def broken(subject: str, payload: bytes) -> None:
                seen.append(payload)
                raise ValueError("a stranger's fault")

            two.subscribe("a", broken)
            await settled(two)
            one.publish("a", b"1")
            one.publish("a", b"2")
            await until(lambda: seen == [b"1", b"2"])

    run(test())


def test_a_message_larger_than_the_server_takes_is_lost_counted_and_told_and_the_bus_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with pair(tmp_path) as (_, one, two):
            seen: list[bytes] = []
            two.subscribe("a", lambda subject, payload: seen.append(payload))
            await settled(two)
            before = one.counts.published
            one.publish("a", bytes(1024 * 1024 + 1))
            assert (one.counts.lost, one.counts.published) == (1, before)
            assert "publishing on a" in caplog.text
            one.publish("a", bytes(1024 * 1024))
            await until(lambda: [len(payload) for payload in seen] == [1024 * 1024])
            assert one.connected

    run(test())


def test_a_message_to_who_answers_requests_is_no_request_and_harms_nobody(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as (_, one, two):
            asked: list[bytes] = []

            async def answer(subject: str, payload: bytes) -> bytes:
                asked.append(payload)
                return payload

            two.serve("a", answer)
            await settled(two)
            one.publish("a", b"told")
            assert await one.request("a", b"asked", 5) == b"asked"
            assert asked == [b"asked"], "nobody waits for the other answer"
            await settled(two)
            assert await one.request("a", b"again", 5) == b"again"
            assert (two.connected, two.counts.reconnects, two.counts.lost) == (True, 0, 0)

    run(test())


def test_a_request_is_answered_and_without_anybody_ends_at_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as (_, one, two):

            async def answer(subject: str, payload: bytes) -> bytes:
                if payload == b"raise":
                    raise ValueError("no answer")
                return payload.upper()

            serving = two.serve("ask", answer)
            await settled(two)
            assert await one.request("ask", b"text", 5) == b"TEXT"
            with pytest.raises(BusError, match="ask"):
                await one.request("ask", b"raise", 0.2)
            serving.close()
            await settled(two)
            began = time.monotonic()
            with pytest.raises(BusError):
                await one.request("ask", b"text", 30)
            assert time.monotonic() - began < 10

    run(test())


def test_so_many_requests_are_answered_at_once_and_one_beyond_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_bus, "_MOST_ANSWERING", 3)

    async def test() -> None:
        async with pair(tmp_path) as (_, one, two):
            free = asyncio.Event()

            async def answer(subject: str, payload: bytes) -> bytes:
                await free.wait()
                return payload

            serving = two.serve("ask", answer)
            await settled(two)
            asked = [asyncio.create_task(one.request("ask", b"%d" % n, 20)) for n in range(3)]
            await settled(one)
            with pytest.raises(BusError):
                await one.request("ask", b"beyond", 0.5)
            assert two.counts.overrun == 1
            free.set()
            assert await asyncio.gather(*asked) == [b"0", b"1", b"2"]
            assert await one.request("ask", b"again", 20) == b"again"
            serving.close()

    run(test())


def test_a_key_is_written_by_whoever_knows_its_last_revision_and_by_nobody_else(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as (_, one, two):
            mine, theirs = one.store(LEASES), two.store(LEASES)
            assert await mine.get("zerodha") is None
            first = await mine.create("zerodha", b"one")
            assert first is not None
            assert await theirs.create("zerodha", b"two") is None
            assert await theirs.get("zerodha") == Entry("zerodha", b"one", first)
            second = await mine.update("zerodha", b"again", first)
            assert second is not None
            assert second > first
            assert await theirs.update("zerodha", b"two", first) is None
            assert not await theirs.delete("zerodha", first)
            assert await theirs.get("zerodha") == Entry("zerodha", b"again", second)
            third = await theirs.put("zerodha", b"whatever it was")
            assert third > second
            assert await mine.delete("zerodha", third)
            assert await mine.get("zerodha") is None
            assert await theirs.create("zerodha", b"two") is not None

    run(test())


def test_a_watch_tells_what_is_there_what_changes_and_what_goes(tmp_path: Path) -> None:
    async def test() -> None:
        async with pair(tmp_path) as (_, one, two):
            store = one.store(LEASES)
            await store.put("a.1", b"before")
            await store.put("b.1", b"of another prefix")
            told: list[Entry] = []
            watch = two.store(LEASES).watch("a.", told.append)
            await until(lambda: len(told) == 1)
            await store.put("a.2", b"after")
            await store.delete("a.1")
            await until(lambda: len(told) == 3)
            assert [(entry.key, entry.value) for entry in told] == [
                ("a.1", b"before"),
                ("a.2", b"after"),
                ("a.1", None),
            ]
            assert [e.revision for e in told] == sorted({e.revision for e in told})
            watch.close()
            watch.close()
            await settled(two)
            await store.put("a.3", b"unseen")
            await settled(two)
            assert len(told) == 3

    run(test())


def test_a_server_that_was_killed_forgets_no_lease_and_what_was_published_meanwhile_is_lost(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with pair(tmp_path) as (server, one, two):
            seen: list[bytes] = []
            told: list[Entry] = []
            changes: list[bool] = []
            two.subscribe("a", lambda subject, payload: seen.append(payload))
            two.store(LEASES).watch("", told.append)
            one.on_connection(changes.append)
            revision = await one.store(LEASES).create("zerodha", b"one")
            await until(lambda: told)
            server.kill()
            await until(lambda: not one.connected and not two.connected)
            assert one.round_trip is None
            one.publish("a", b"of the time without a server")
            with pytest.raises(BusError):
                await one.store(LEASES).get("zerodha")
            with pytest.raises(BusError):  # at once, and it does not come once the server is back
                await one.store(LEASES).update("zerodha", b"late", revision or 0)
            with pytest.raises(BusError):
                await one.request("a", b"", 1)
            server.start()
            await until(lambda: one.connected and two.connected)
            assert changes == [False, True]
            assert await one.store(LEASES).get("zerodha") == Entry("zerodha", b"one", revision or 0)
            await until(lambda: len(told) >= 2)  # all is told again
            later = await one.store(LEASES).update("zerodha", b"two", revision or 0)
            await until(lambda: told[-1] == Entry("zerodha", b"two", later or 0))
            one.publish("a", b"after")
            await until(lambda: seen)
            assert seen == [b"after"]
            assert one.counts.lost == 1
            assert one.counts.reconnects >= 1

    run(test())


def test_a_server_that_stands_still_is_noticed_within_five_seconds_and_memory_stays_bounded(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with pair(tmp_path) as (server, one, _):
            process = server.process
            assert process is not None
            process.send_signal(signal.SIGSTOP)
            try:
                began = time.monotonic()
                block = bytes(65_536)
                while one.connected and time.monotonic() - began < 10:
                    one.publish("a", block)
                    await asyncio.sleep(0.001)
                assert time.monotonic() - began < 5
                assert one.counts.lost > 0
                assert one.counts.published_bytes < 4 * WAITING_BYTES
            finally:
                process.send_signal(signal.SIGCONT)
            await until(lambda: one.connected)

    run(test())


def test_with_several_urls_the_bus_goes_on_at_the_next_server(tmp_path: Path) -> None:
    async def test() -> None:
        with nats_server(tmp_path / "1") as first, nats_server(tmp_path / "2") as second:
            async with bus(f"{first.url},{second.url}") as one:
                (first if at(one, first) else second).kill()
                await until(lambda: not one.connected)
                await until(lambda: one.connected)
                await one.store(LEASES).put("a", b"b")

    run(test())


def at(one: NatsBus, server: NatsServer) -> bool:
    return server.url.endswith(str(one._client.connected_url.port))  # type: ignore[union-attr]


def _cancelled(asking: asyncio.Task[None], _: object) -> None:
    asking.cancel()


def test_a_question_that_is_cancelled_at_the_moment_of_its_answer_ends_whoever_asks_for_ever(
    tmp_path: Path,
) -> None:
    async def answer(subject: str, payload: bytes) -> bytes:
        return payload

    async def ask(one: NatsBus) -> None:
        while True:
            await one.request("a.question", b"", 5)

    async def put(one: NatsBus) -> None:
        while True:
            await one.store(LEASES).put("lease.a", b"")

    async def test() -> None:
        async with pair(tmp_path) as (_, one, two):
            two.serve("a.question", answer)
            await settled(two)
            for asked in (ask, put):
                asking = asyncio.create_task(asked(one))
                await until(lambda: len(one._client._resp_map) > 0)
                (answered,) = one._client._resp_map.values()
                answered.add_done_callback(partial(_cancelled, asking))
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(asyncio.shield(asking), 10)

    run(test())


def test_a_cancellation_that_was_dropped_on_the_way_ends_the_dials_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = Client._process_connect_init

    async def dropping(connection: Client) -> None:
        try:
            await read(connection)
        except asyncio.CancelledError:
            raise OSError("It came with the server's answer.") from None

    monkeypatch.setattr(Client, "_process_connect_init", dropping)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async def test() -> None:
        mute = await asyncio.start_server(say_nothing, "127.0.0.1")
        async with mute:
            url = f"nats://127.0.0.1:{mute.sockets[0].getsockname()[1]}"
            await asyncio.wait_for(refused(url), 10)
            opening = asyncio.create_task(NatsBus(cluster_settings(url), "test").open())
            await asyncio.sleep(0.1)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(asyncio.shield(opening), 10)

    run(test())


def test_it_is_what_the_cluster_calls_a_bus() -> None:
    bus: Bus = NatsBus(cluster_settings("nats://127.0.0.1:4222"), "test")
    assert not bus.connected
