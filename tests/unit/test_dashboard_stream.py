"""The dashboard's stream: one snapshot for all viewers, none for nobody, and nobody is waited for."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from brokerpool import Instrument
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.event_journal import Event
from brokerpool.feed.pool import WebSocketPool
from brokerpool.gateway.dashboard import Broadcast, Sources
from brokerpool.gateway.dashboard.broadcast import MAX_VIEWERS, WAITING, Stream, Viewer
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.refusal_log import RefusalLog
from brokerpool.gateway.server import Gateway
from tests.gateway_client import KEY, client, gateway, pool_of
from tests.rehearsal import no_task_dies, rehearsal, until

BEARER = {"Authorization": f"Bearer {KEY}"}


def broadcast_of(pool: WebSocketPool, period: float = 0.02) -> Broadcast:
    def stats() -> dict[str, Any]:
        return {**pool.get_pool_stats(), "gateway": fanout.stats()}

    fanout = Fanout(pool.name)
    sources = Sources(pool, fanout, RefusalLog(lambda: 1.0), stats, lambda since: 0.25, lambda: 1.0)
    return Broadcast(sources, pool.journal, period=period)


def allowed() -> bool:
    return True


class Peer:
    """The other end of a stream: takes messages, or blocks for as long as it is told."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.left = asyncio.Event()

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        self.messages.append(message)

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    @property
    def lines(self) -> list[bytes]:
        return [m["body"] for m in self.messages if m["type"] == "http.response.body" and m["body"]]

    def watch(self, broadcast: Broadcast) -> asyncio.Task[None]:
        return asyncio.create_task(Stream(broadcast, {}, allowed)({"type": "http"}, self.receive, self.send))


def test_all_viewers_get_the_same_bytes_of_one_snapshot_and_nothing_is_built_without_viewers() -> None:
    async def main() -> None:
        async with rehearsal() as (_, pool):
            broadcast = broadcast_of(pool)
            await asyncio.sleep(0.1)
            assert broadcast.built == 0
            peers = [Peer() for _ in range(5)]
            tasks = [peer.watch(broadcast) for peer in peers]
            await until(lambda: all(len(peer.lines) >= 8 for peer in peers))
            most = max(len(peer.lines) for peer in peers)
            assert broadcast.built <= most, "not once for each viewer"
            shared = set.intersection(*({id(line) for line in peer.lines[1:]} for peer in peers))
            assert len(shared) >= 6, "each snapshot is encoded once, and the very same bytes go to all"
            assert json.loads(peers[0].lines[0])["kind"] == "journal"
            assert json.loads(peers[0].lines[1])["kind"] == "snapshot"
            for peer in peers:
                peer.left.set()
            await asyncio.gather(*tasks)
            assert broadcast.viewers == 0
            built = broadcast.built
            await asyncio.sleep(0.1)
            assert broadcast.built == built, "nobody looks, and nothing is built"
            assert not [task for task in asyncio.all_tasks() if "dashboard" in task.get_name()]

    asyncio.run(main())


def test_a_viewer_that_does_not_read_is_dropped_and_delays_nobody() -> None:
    async def main() -> None:
        async with rehearsal() as (_, pool):
            broadcast = broadcast_of(pool)
            slow, quick = Peer(), Peer()
            watching = [slow.watch(broadcast), quick.watch(broadcast)]
            await until(lambda: slow.lines and quick.lines)
            slow.reads.clear()
            had = len(quick.lines)
            await asyncio.wait_for(watching[0], 5)
            assert not slow.reads.is_set(), "it was dropped though its write never came to an end"
            assert broadcast.viewers == 1
            assert len(quick.lines) - had <= WAITING + 4
            await until(lambda: len(quick.lines) > had + WAITING)
            watching[1].cancel()
            await asyncio.wait(watching)
            assert broadcast.viewers == 0, "a stream that is cancelled leaves no viewer behind"

    asyncio.run(main())


def test_a_viewer_whose_key_is_revoked_sees_no_other_snapshot_and_the_others_go_on() -> None:
    async def main() -> None:
        async with rehearsal() as (_, pool):
            broadcast = broadcast_of(pool)
            revoked, other, keys = Peer(), Peer(), {"valid"}
            stream = Stream(broadcast, {}, lambda: bool(keys))
            watching = [
                asyncio.create_task(stream({"type": "http"}, revoked.receive, revoked.send)),
                other.watch(broadcast),
            ]
            await until(lambda: revoked.lines and other.lines)
            keys.clear()
            had = len(revoked.lines)
            await asyncio.wait_for(watching[0], 5)
            assert len(revoked.lines) <= had + 1, "no more than was on its way"
            seen = len(other.lines)
            await until(lambda: len(other.lines) > seen + 2)
            other.left.set()
            await watching[1]

    asyncio.run(main())


def test_a_viewer_that_is_dropped_before_it_has_begun_ends_too() -> None:
    async def main() -> None:
        viewer, peer = Viewer(allowed), Peer()
        viewer.drop()
        await viewer.carry(peer.send, {"type": "http.response.start"})
        assert peer.messages[-1]["more_body"] is False

    asyncio.run(main())


def test_only_so_many_viewers_are_served_and_one_more_is_told_the_number() -> None:
    async def main() -> None:
        async with rehearsal() as (_, pool):
            broadcast = broadcast_of(pool)
            peers = [Peer() for _ in range(MAX_VIEWERS)]
            tasks = [peer.watch(broadcast) for peer in peers]
            await until(lambda: broadcast.viewers == MAX_VIEWERS)
            with pytest.raises(BrokerpoolError, match=f"{MAX_VIEWERS} dashboards") as caught:
                Stream(broadcast, {}, allowed)
            assert caught.value.code is ErrorCode.TOO_MANY_DASHBOARDS
            broadcast.close()
            await asyncio.gather(*tasks)
            assert all(peer.messages[-1]["more_body"] is False for peer in peers), "closing ends every stream"

    asyncio.run(main())


def test_every_entry_of_the_journal_comes_to_each_viewer_also_to_one_that_joins_late() -> None:
    async def main() -> None:
        async with rehearsal() as (_, pool):
            broadcast = broadcast_of(pool)
            pool.journal.note(Event.LIVE, reason="before")
            early, late = Peer(), Peer()
            tasks = [early.watch(broadcast)]
            await until(lambda: len(early.lines) >= 3)
            pool.journal.note(Event.LOST, reason="between")
            tasks.append(late.watch(broadcast))
            await until(lambda: len(late.lines) >= 3)
            pool.journal.note(Event.LIVE, reason="after")
            expected = {"before", "between", "after"}
            await until(lambda: reasons(early) == expected and reasons(late) == expected)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    asyncio.run(main())


def reasons(peer: Peer) -> set[str]:
    messages = [json.loads(line) for line in peer.lines]
    return {entry["reason"] for m in messages for entry in (m.get("entries") or m.get("journal") or ())}


def test_each_snapshot_tells_the_worst_delay_since_the_one_before() -> None:
    async def main() -> None:
        async with rehearsal() as (_, pool):
            loop, told = asyncio.get_running_loop(), []

            def lag_since(at: float) -> float:
                told.append((at, loop.time()))
                return 0.25

            fanout = Fanout(pool.name)
            stats = pool.get_pool_stats
            sources = Sources(pool, fanout, RefusalLog(), stats, lag_since, wall_clock=lambda: 1.0)
            peer = Peer()
            task = peer.watch(Broadcast(sources, pool.journal, period=0.02))
            await until(lambda: len(peer.lines) >= 5)
            task.cancel()
            await asyncio.wait({task})
            assert {json.loads(line)["lag_ms"] for line in peer.lines[1:]} == {250}
            assert told[0][0] <= told[0][1] - 0.02, "the first one tells of the time that one covers"
            for (since, _), (before, asked) in zip(told[1:], told, strict=False):
                assert before < since <= asked, "nothing between two of them is left out"

    asyncio.run(main())


def test_a_fault_in_a_snapshot_ends_the_streams_and_the_next_viewer_begins_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with no_task_dies(), rehearsal() as (_, pool):
            broken = True

            def stats() -> dict[str, Any]:
                if broken:
                    raise ZeroDivisionError
                return {**pool.get_pool_stats(), "gateway": {}}

            sources = Sources(
                pool, Fanout(pool.name), RefusalLog(), stats, lambda since: 0.25, wall_clock=lambda: 1.0
            )
            broadcast = Broadcast(sources, pool.journal, period=0.02)
            peer = Peer()
            await asyncio.wait_for(peer.watch(broadcast), 5)
            assert "the dashboard has no snapshot" in caplog.text
            broken = False
            peer = Peer()
            task = peer.watch(broadcast)
            await until(lambda: len(peer.lines) >= 2)
            task.cancel()
            await asyncio.wait({task})

    asyncio.run(main())


# -- over HTTP --------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no TCP_USER_TIMEOUT: run it on Linux"
)
def test_the_connection_of_a_dropped_viewer_is_cut_off_though_it_never_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("brokerpool.gateway.rest.listener._UNREAD_MS", 500)
    monkeypatch.setattr("brokerpool.gateway.dashboard.snapshot.SYMBOLS", 5000)
    large = {Instrument("NSE", f"S{n}"): (ErrorCode.MAX_CAPACITY_REACHED, "x" * 1000) for n in range(20)}

    async def main() -> None:
        async with gateway() as (_, served_by):
            assert served_by._rest is not None
            connections = served_by._rest._server.server_state.connections
            for number in range(10):
                served_by._refusals.note(number, large)
            served_by._broadcast._period = 0.002
            with socket.socket() as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.connect(("127.0.0.1", served_by._rest.port))
                head = f"Host: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n"
                peer.sendall(f"GET /dashboard/stream HTTP/1.1\r\n{head}".encode())
                await until(lambda: served_by._broadcast.viewers == 1)
                await until(lambda: served_by._broadcast.viewers == 0)
                await until(lambda: not connections)

    asyncio.run(main())


@asynccontextmanager
async def serving(**environ: str) -> AsyncIterator[tuple[Any, Gateway, aiohttp.ClientSession]]:
    async with (
        gateway({"rate": 200}, **environ) as (broker, served_by),
        aiohttp.ClientSession(served_by.http_url) as http,
    ):
        yield broker, served_by, http


def test_without_the_key_there_is_no_stream_no_symbol_and_no_order() -> None:
    async def main() -> None:
        async with serving() as (_, served_by, http):
            wanted = [
                ("GET", "/dashboard/stream"),
                ("GET", "/dashboard/symbols?q=INFY"),
                ("GET", "/dashboard/symbols/NSE:INFY"),
                ("POST", "/dashboard/connections/zerodha-1/rotate"),
            ]
            for method, path in wanted:
                for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
                    async with http.request(method, path, headers=headers) as answer:
                        assert answer.status == 403, (path, headers)
                        assert (await answer.json())["code"] == "AUTHENTICATION_ERROR"
                # The key belongs into the header: a URL is written to logs.
                async with http.request(method, path, params={"apikey": KEY}) as answer:
                    assert answer.status == 403
            assert served_by.stats()["websocket"]["connections"] == 0

    asyncio.run(main())


def test_wrong_keys_are_counted_as_at_every_other_endpoint() -> None:
    async def main() -> None:
        async with serving(API_RATE_LIMIT="3 per minute") as (_, _, http):
            for _ in range(3):
                async with http.get("/dashboard/stream", headers={"Authorization": "Bearer x"}) as answer:
                    assert answer.status == 403
            async with http.get("/dashboard/stream", headers={"Authorization": "Bearer x"}) as answer:
                assert answer.status == 429

    asyncio.run(main())


def test_the_stream_shows_connections_clients_and_refused_symbols_and_ends_with_the_gateway() -> None:
    async def main() -> None:
        full = {"MAX_SYMBOLS_PER_WEBSOCKET": "2", "MAX_WEBSOCKET_CONNECTIONS": "2"}
        async with serving(**full) as (_, served_by, http), client(served_by) as session:
            names = ("RELIANCE", "INFY", "SBIN", "TCS", "HDFCBANK")
            await session.subscribe(*names)
            await until(lambda: served_by.upstream.connected)
            async with http.get("/dashboard/stream", headers=BEARER) as answer:
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["Content-Type"] == "application/x-ndjson"
                backlog = json.loads(await answer.content.readline())
                assert {entry["event"] for entry in backlog["entries"]} >= {"dialled"}
                moment = json.loads(await answer.content.readline())
                assert moment["broker"] == "zerodha"
                assert moment["pictured"]["zerodha-1"] == ["NSE:RELIANCE", "NSE:INFY"]
                assert [c["subscriptions"] for c in moment["clients"]] == [4]
                assert [r["instrument"] for r in moment["refused"]] == ["NSE:HDFCBANK"]
                assert moment["refused"][0]["code"] == "MAX_CAPACITY_REACHED"
                assert moment["refused_total"] == 1
                assert moment["stats"].keys() == served_by.stats().keys()
                async with asyncio.timeout(5):
                    closing = asyncio.create_task(served_by.close())
                    while await answer.content.readline():
                        pass
                await closing

    asyncio.run(main())


def test_a_search_finds_wanted_symbols_and_tells_where_they_are() -> None:
    async def main() -> None:
        async with serving() as (_, served_by, http), client(served_by) as one, client(served_by) as other:
            await one.subscribe("INFY", "RELIANCE", mode=3)
            await other.subscribe("INFY", mode=1)
            infy = next(iter(served_by.upstream.demand.instruments()))
            await pool_of(served_by).wait_live(infy)
            async with http.get("/dashboard/symbols", params={"q": "inf"}, headers=BEARER) as answer:
                assert (await answer.json()) == {"symbols": ["NSE:INFY"]}
            async with http.get("/dashboard/symbols/NSE:INFY", headers=BEARER) as answer:
                found = await answer.json()
            assert (found["state"], found["mode"], found["owners"]) == ("live", "Depth", 2)
            assert found["connections"] == ["zerodha-1"]
            assert found["gap"] is None
            assert 0 <= found["age_seconds"] < 5
            assert found["ltp"] > 0
            for nobody in ("NSE:NOPE", "nonsense", "NSE:"):
                async with http.get(f"/dashboard/symbols/{nobody}", headers=BEARER) as answer:
                    assert answer.status == 404

    asyncio.run(main())


def test_orders_over_http_move_symbols_and_refusals_say_why() -> None:
    async def main() -> None:
        async with serving() as (_, served_by, http), client(served_by) as session:
            await session.subscribe("INFY", "RELIANCE")
            await pool_of(served_by).wait_live(served_by.upstream.demand.instruments())
            for path, status, code in (
                ("nobody/rotate", 404, "CONNECTION_UNKNOWN"),
                ("zerodha-1/drain", 409, "CONNECTION_NOT_MOVABLE"),
                ("zerodha-1/explode", 404, "UNKNOWN_ENDPOINT"),
            ):
                async with http.post(f"/dashboard/connections/{path}", headers=BEARER) as answer:
                    assert (answer.status, (await answer.json())["code"]) == (status, code)
            async with http.post("/dashboard/connections/zerodha-1/rotate", headers=BEARER) as answer:
                assert await answer.json() == {"status": "success", "symbols": 2}
            await until(lambda: names(served_by) == ["zerodha-2"], seconds=20)

    asyncio.run(main())


def names(served_by: Gateway) -> list[str]:
    return [c["name"] for c in served_by.upstream.get_pool_stats()["websocket"]["per_connection"]]
