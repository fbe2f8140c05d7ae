"""Who has shown no key: it is slow, it is small, and it gives its place to whoever comes after it."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
import time

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from brokerpool.gateway.stranger_log import StrangerLog
from tests.gateway_client import KEY, client, gateway
from tests.rehearsal import until

PING = json.dumps({"action": "ping"})


def test_strangers_do_not_keep_clients_out_and_the_longest_waiting_of_them_gives_way() -> None:
    async def main() -> None:
        async with gateway(BROKERPOOL_MAX_CLIENTS="5", WS_AUTH_GRACE_SECONDS="60") as (_, served_by):
            strangers = [await connect(served_by.ws_url) for _ in range(5)]
            async with client(served_by) as first, client(served_by) as second:
                for connection in strangers[:2]:
                    with pytest.raises(ConnectionClosed):
                        await asyncio.wait_for(connection.recv(), 5)
                    assert connection.close_code == 1013
                assert (await first.ask(action="ping"))["type"] == "pong"
                assert (await second.ask(action="ping"))["type"] == "pong"
                for connection in strangers[2:]:
                    await connection.send(PING)
                    assert json.loads(await connection.recv())["type"] == "pong"
                await until(lambda: served_by.clients == 5)
            for connection in strangers:
                await connection.close()

    asyncio.run(main())


def test_clients_with_a_key_keep_their_places_and_one_too_many_is_refused() -> None:
    async def main() -> None:
        async with gateway(BROKERPOOL_MAX_CLIENTS="2") as (_, served_by):
            async with client(served_by) as one, client(served_by) as two:
                for _ in range(10):
                    with pytest.raises(InvalidStatus) as refused:
                        await connect(served_by.ws_url)
                    assert refused.value.response.status_code == 503
                assert (await one.ask(action="ping"))["type"] == "pong"
                assert (await two.ask(action="ping"))["type"] == "pong"
            await until(lambda: served_by.clients == 0)
            async with client(served_by) as three:
                assert (await three.ask(action="ping"))["type"] == "pong"

    asyncio.run(main())


def test_a_flood_of_strangers_leaves_nothing_behind_and_a_client_comes_through_it() -> None:
    async def main() -> None:
        async with gateway(BROKERPOOL_MAX_CLIENTS="20") as (_, served_by), client(served_by) as early:
            host, port = served_by.ws_url.removeprefix("ws://").split(":")
            head = (
                f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
            writers = []
            for number in range(300):
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(head)
                writers.append(writer)
                if number % 50 == 0:
                    async with client(served_by) as late:
                        assert (await late.ask(action="ping"))["type"] == "pong"
                assert served_by.clients <= 20
            assert (await early.ask(action="ping"))["type"] == "pong"
            for writer in writers:
                writer.transport.abort()
            await until(lambda: served_by.clients == 1)
            assert len(served_by._slots) == 1

    asyncio.run(main())


def test_a_stranger_s_messages_wait_their_turn_and_end_waiting_with_the_key() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by), connect(served_by.ws_url) as stranger:
            began = time.monotonic()
            for _ in range(50):
                await stranger.send(PING)
            for _ in range(50):
                assert json.loads(await stranger.recv())["type"] == "pong"
            assert 1.9 < time.monotonic() - began < 6, "20 a second"
            await stranger.send(json.dumps({"action": "authenticate", "api_key": KEY}))
            assert json.loads(await stranger.recv())["status"] == "success"
            began = time.monotonic()
            for _ in range(500):
                await stranger.send(PING)
            for _ in range(500):
                assert json.loads(await stranger.recv())["type"] == "pong"
            assert time.monotonic() - began < 2

    asyncio.run(main())


def _reset_in_the_middle_of_pings(host: str, port: int) -> None:
    """Connect, send thousands of pings, read nothing, and reset the connection."""
    with socket.create_connection((host, port)) as sock:
        sock.sendall(
            f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        sock.recv(4096)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.settimeout(0.1)
        try:
            for _ in range(20):
                sock.sendall((b"\x89\xe4" + bytes(4) + b"p" * 100) * 100)
        except OSError:
            pass  # it is not read any more


def test_what_strangers_do_is_a_few_lines_of_the_log_however_often_they_do_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with gateway() as (_, served_by):
            (ws_host, ws_port), (host, port) = (
                url.partition("//")[2].split(":") for url in (served_by.ws_url, served_by.http_url)
            )
            caplog.clear()
            for number in range(60):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"nonsense\r\n\r\n")
                await reader.read()
                writer.close()
                async with connect(served_by.ws_url) as stranger:
                    await stranger.send("x" * 5000 if number % 2 else b"\xff")
                if number % 10 == 0:
                    await asyncio.to_thread(_reset_in_the_middle_of_pings, ws_host, int(ws_port))
            await until(lambda: served_by.clients == 0)

    asyncio.run(main())
    lines = [record for record in caplog.records if "stops" not in record.getMessage()]
    assert 2 <= len(lines) <= 15
    assert {record.levelno for record in lines} == {logging.INFO}


def test_what_was_counted_is_told_after_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "brokerpool.gateway")
    now = 0.0
    log = StrangerLog(lambda: now)
    for _ in range(100):
        log.note("left: 4429 too many wrong keys")
    log.review()
    now = 61.0
    log.review()
    log.review()
    assert [record.getMessage() for record in caplog.records] == [
        "a client without a key left: 4429 too many wrong keys",
        "clients without a key: 99 more in 61 s, the last one: left: 4429 too many wrong keys",
    ]
