"""WebSocketPool when the broker refuses, hangs up, or sends nonsense."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import pytest

from brokerpool import (
    Credentials,
    Instrument,
    Mode,
    PoolListener,
    SymbolState,
    TokenBook,
    WebSocketPool,
    ZerodhaFeed,
)
from brokerpool.brokers.account import Endpoint
from brokerpool.simulator.fault_switches import Malformation, Malformed, Mute, Refuse
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.rehearsal import Prompt, demanded, feed, instruments, no_task_dies, rehearsal, served, until

WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


def states(pool: WebSocketPool) -> list[str]:
    return [c["state"] for c in pool.get_pool_stats()["websocket"]["per_connection"]]


def test_refused_credentials_park_the_connection_with_no_more_dials_until_they_are_renewed() -> None:
    async def main() -> None:
        async with rehearsal(symbols=3) as (broker, pool):
            broker.expire_token()
            pool.subscribe(instruments(broker, 1))
            await until(lambda: states(pool) == ["parked"])
            await asyncio.sleep(0.2)  # with this jitter a re-dial would follow within milliseconds
            assert broker.stats()["dials"] == 1
            broker.renew_token("tomorrow")
            pool.feed.login.renew(Credentials("tomorrow"))
            await pool.wait_live(instruments(broker, 1))
            assert broker.stats()["dials"] == 2

    asyncio.run(main())


def test_retry_after_is_obeyed() -> None:
    async def main() -> None:
        async with rehearsal(symbols=3) as (broker, pool):
            broker.faults.refuse = Refuse(429, retry_after=1, count=1)
            pool.subscribe(instruments(broker, 1))
            await pool.wait_live(instruments(broker, 1))
            (first, _), (second, _) = broker.stats()["dial_log"]
            assert 1.0 <= second - first < 2.0

    asyncio.run(main())


def test_a_killed_socket_is_dialled_again_and_restored_with_the_current_demand() -> None:
    async def main() -> None:
        async with rehearsal(symbols=20, max_symbols=5) as (broker, pool):
            every = instruments(broker)
            pool.subscribe(every[:15], Mode.DEPTH)
            await until(lambda: len(served(broker)) == 15)
            broker.faults.refuse = Refuse(503)
            broker.kill(broker.sockets()[1]["id"])
            await until(lambda: "waiting" in states(pool))
            (lost,) = [i for i, state in enumerate(states(pool)) if state != "live"]
            gone = every[lost * 5]
            pool.unsubscribe(gone)
            pool.subscribe(every[15], Mode.LTP)
            broker.faults.refuse = None
            await until(lambda: served(broker) == demanded(pool))
            assert pool.feed.book.token(gone) not in served(broker)
            stats = broker.stats()
            assert stats["peak_duplicate_tokens"] == 0
            assert stats["peak_sockets"] == 3

    asyncio.run(main())


@pytest.mark.parametrize("kind", list(Malformation))
def test_spoilt_frames_are_counted_and_the_next_ticks_come_through(kind: Malformation) -> None:
    async def main() -> None:
        async with rehearsal(symbols=20) as (broker, pool):
            pool.subscribe(instruments(broker), Mode.DEPTH)
            await pool.wait_live(instruments(broker))
            broker.faults.malformed = Malformed(kind, 3)
            for _ in range(4):
                await broker.step(20)
            (before,) = pool.get_pool_stats()["websocket"]["per_connection"]
            with pool.ticks() as ticks:
                await broker.step(20)
                async with asyncio.timeout(5):
                    assert (await anext(ticks)).ltp > 0
            (after,) = pool.get_pool_stats()["websocket"]["per_connection"]
            assert after["state"] == "live"
            assert after["dials"] == before["dials"] == 1
            assert sum(after["skipped_packets"].values()) > 0

    asyncio.run(main())


def test_a_muted_symbol_is_reported_as_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokerpool.feed.subscriptions.SILENT_SECONDS", 0.3)
    told: list[SymbolState] = []

    class Listener(PoolListener):
        def symbols_changed(self, changed: list[Instrument], state: SymbolState) -> None:
            told.append(state)

    async def main() -> None:
        async with rehearsal(symbols=3) as (broker, pool):
            broker.faults.mute = Mute()
            pool.listen(Listener())
            pool.subscribe(instruments(broker, 1))
            await until(lambda: pool.state(instruments(broker, 1)[0]) is SymbolState.SILENT)
            await until(lambda: told == [SymbolState.SENT, SymbolState.SILENT])

    asyncio.run(main())


def test_another_program_that_holds_a_socket_is_survived() -> None:
    async def main() -> None:
        async with rehearsal(symbols=30, max_symbols=10) as (broker, pool):
            stranger = WebSocketPool(feed(broker))
            stranger.subscribe(instruments(broker, 1))
            await until(lambda: len(broker.sockets()) == 1)
            pool.subscribe(instruments(broker))
            await until(lambda: broker.stats()["refusals"].get("429", 0) >= 2)
            assert len(broker.sockets()) == 3
            await stranger.close()
            await until(lambda: served(broker) == demanded(pool))

    asyncio.run(main())


def test_the_errors_and_the_repr_never_show_credentials() -> None:
    async def main() -> None:
        async with rehearsal(symbols=5, api_key="apikey-secret", access_token="token-secret") as (
            broker,
            pool,
        ):
            broker.faults.refuse = Refuse(403)
            pool.subscribe(instruments(broker, 1))
            await until(lambda: states(pool) == ["parked"])
            shown = f"{pool!r} {pool.get_pool_stats()} {pool.feed!r} {await pool.feed.endpoint()!r}"
            assert "secret" not in shown

    asyncio.run(main())


def test_a_broker_that_is_slow_to_close_never_sees_one_socket_more_than_allowed() -> None:
    async def main() -> None:
        open_now = peak = accepted = 0

        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Complete the handshake and answer nothing after it, a close frame included."""
            nonlocal open_now, peak, accepted
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            key = next(
                line.split()[1] for line in request.split("\r\n") if line.startswith("Sec-WebSocket-Key")
            )
            digest = base64.b64encode(hashlib.sha1(f"{key}{WEBSOCKET_GUID}".encode()).digest())
            head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            writer.write(head + b"Sec-WebSocket-Accept: " + digest + b"\r\n\r\n")
            open_now, accepted = open_now + 1, accepted + 1
            peak = max(peak, open_now)
            await reader.read(-1)
            open_now -= 1
            writer.close()

        server = await asyncio.start_server(deaf, "127.0.0.1", 0)
        book = TokenBook([(Instrument("NSE", "A"), 1), (Instrument("NSE", "B"), 2)])
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        pool = WebSocketPool(ZerodhaFeed("k", "t", ws_url=url, book=book), max_connections=1, linger=0)
        async with server, pool:
            pool.subscribe("NSE:A")
            await until(lambda: states(pool) == ["live"])
            pool.unsubscribe("NSE:A")
            await until(lambda: states(pool) == [])
            pool.subscribe("NSE:B")  # while the old socket is still open at the broker
            await until(lambda: accepted == 2)
            assert peak == 1

    asyncio.run(main())


@pytest.mark.parametrize("heartbeats", [False, True])
def test_a_socket_without_heartbeats_is_replaced_and_a_quiet_one_with_heartbeats_is_left_alone(
    heartbeats: bool,
) -> None:
    told: list[str] = []

    class Listener(PoolListener):
        def connection_changed(self, name: str, state: str, reason: str) -> None:
            told.append(f"{state}: {reason}")

    async def main() -> None:
        async with (
            no_task_dies(),
            KiteSimulator(symbols=3, rate=0, heartbeat_seconds=0.1) as broker,
            WebSocketPool(feed(broker, silence_seconds=0.4), random=Prompt()) as pool,
        ):
            (infy,) = instruments(broker, 1)
            pool.subscribe(infy)
            await pool.wait_live(infy)
            pool.listen(Listener())
            first = broker.sockets()[0]["id"]
            broker.faults.mute = Mute(sockets=[first], heartbeats=heartbeats)
            if heartbeats:
                await asyncio.sleep(1.0)  # more than twice the limit
                assert [socket["id"] for socket in broker.sockets()] == [first]
                assert told == []
                return
            await until(lambda: broker.sockets() and broker.sockets()[0]["id"] != first, seconds=3)
            await pool.wait_live(infy)
            assert told[0].startswith("stale: nothing came for 0.4 s")
            assert broker.stats()["dials"] == 2

    asyncio.run(main())


def test_an_endpoint_that_raises_costs_one_dial_and_is_told_by_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Faulty(ZerodhaFeed):
        asked = 0

        async def endpoint(self) -> Endpoint:
            self.asked += 1
            if self.asked == 1:
                raise RuntimeError("a bug")
            return await super().endpoint()

    async def main() -> None:
        async with no_task_dies(), KiteSimulator(symbols=3, rate=0) as broker:
            faulty = Faulty(broker.api_key, broker.access_token, ws_url=broker.ws_url, book=feed(broker).book)
            async with WebSocketPool(faulty, random=Prompt()) as pool:
                pool.subscribe(instruments(broker, 1))
                await pool.wait_live(instruments(broker, 1))
                assert "Faulty.endpoint raised RuntimeError" in caplog.text
                assert pool.get_pool_stats()["websocket"]["faults"] == {"Faulty.endpoint": 1}

    asyncio.run(main())
