"""A permission that ends takes with it what it had opened: connections, waiting requests, changed keys."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from pathlib import Path

import websockets

from brokerpool.store.keys import Scope
from tests.gateway_client import client
from tests.rehearsal import until
from tests.unit.test_access import guarded

DATA = (Scope.DATA,)


def test_a_kept_connection_opens_nothing_more_once_its_key_is_revoked(tmp_path: Path) -> None:
    def ping(kept: http.client.HTTPConnection, key: str) -> tuple[int, object]:
        kept.request(
            "POST", "/api/v1/ping", json.dumps({"apikey": key}), {"Content-Type": "application/json"}
        )
        answer = kept.getresponse()
        answer.read()
        return answer.status, kept.sock and kept.sock.getsockname()

    async def main() -> None:
        # However quickly this machine asks until the other process's change is noticed.
        rate = dict.fromkeys(("API_RATE_LIMIT", "BROKERPOOL_KEY_RATE_LIMIT"), "100000 per second")
        async with guarded(tmp_path, {"one": DATA}, **rate) as (_, served_by, store, keys):
            kept = http.client.HTTPConnection(served_by.http_url.removeprefix("http://"))
            status, opened = await asyncio.to_thread(ping, kept, keys["one"])
            assert status == 200
            await store.revoke_key("one")
            async with asyncio.timeout(5):
                while status == 200:
                    status, now = await asyncio.to_thread(ping, kept, keys["one"])
            assert status == 403
            assert now == opened, "the test is about one connection"
            kept.close()

    asyncio.run(main())


def test_requests_that_wait_for_their_turn_are_not_carried_out_once_their_key_is_revoked(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        limit = {"BROKERPOOL_KEY_RATE_LIMIT": "5 per second"}
        async with (
            guarded(tmp_path, {"one": DATA}, **limit) as (broker, served_by, store, keys),
            client(served_by, key=keys["one"]) as session,
        ):
            for row in broker.listings:
                wanted = [{"symbol": row.tradingsymbol, "exchange": row.exchange}]
                await session.connection.send(
                    json.dumps({"action": "subscribe", "symbols": wanted, "mode": 1})
                )
            await until(lambda: len(served_by.upstream.demand) == 5)
            await store.revoke_key("one")
            async with asyncio.timeout(5):
                with contextlib.suppress(websockets.ConnectionClosed):
                    async for _ in session.connection:
                        pass
            assert session.connection.close_code == 4403
            await until(lambda: len(served_by.upstream.demand) == 0)

    asyncio.run(main())


def test_a_client_that_has_changed_its_key_is_closed_with_the_new_one_and_not_with_the_old(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with (
            guarded(tmp_path, {"old": DATA, "new": DATA}) as (_, served_by, store, keys),
            client(served_by, key=keys["old"]) as changed,
            client(served_by, key=keys["old"]) as witness,
        ):
            assert (await changed.ask(action="authenticate", api_key=keys["new"]))["status"] == "success"
            await store.revoke_key("old")
            async with asyncio.timeout(5):
                await witness.connection.wait_closed()
            assert (await changed.ask(action="ping"))["type"] == "pong"
            await store.revoke_key("new")
            async with asyncio.timeout(5):
                await changed.connection.wait_closed()
            assert changed.connection.close_code == 4403

    asyncio.run(main())


def test_a_failed_attempt_at_another_key_keeps_no_client_beyond_the_end_of_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            guarded(tmp_path, {"own": DATA}) as (_, served_by, store, keys),
            client(served_by, key=keys["own"]) as session,
        ):
            await session.subscribe("INFY")
            assert (await session.ask(action="authenticate", api_key="wrong"))["status"] == "error"
            await store.revoke_key("own")
            async with asyncio.timeout(5):
                await session.connection.wait_closed()
            assert session.connection.close_code == 4403
            await until(lambda: len(served_by.upstream.demand) == 0)

    asyncio.run(main())
