"""Who gets into a running gateway, over real sockets: keys, scopes, guessing, web pages."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest
import websockets
from websockets.asyncio.client import connect

from brokerpool.db.pool import DatabasePool
from brokerpool.gateway.server import Gateway
from brokerpool.simulator import KiteSimulator
from brokerpool.store.gateway_store import Store
from brokerpool.store.keys import Scope
from tests.gateway_client import KEY, Client, client, gateway
from tests.rehearsal import until

GUESSES = 3000

#: The keys of a test by name, with their scopes.
Keys: TypeAlias = Mapping[str, tuple[Scope, ...]]


@asynccontextmanager
async def guarded(
    folder: Path, keys: Keys, symbols: int = 30, /, **environ: str
) -> AsyncIterator[tuple[KiteSimulator, Gateway, Store, dict[str, str]]]:
    """Run a gateway with these keys; the store is another process's, as that of `brokerpool keys`."""
    url = f"sqlite:///{folder / 'keys.db'}"
    async with Store(DatabasePool(url)) as store:
        texts = {name: await store.create_key(name, scopes) for name, scopes in keys.items()}
        async with gateway({"symbols": symbols}, DATABASE_URL=url, **environ) as (broker, served_by):
            yield broker, served_by, store, texts


async def status(url: str, **headers: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        await answer.read()
        return answer.status


async def post(served_by: Gateway, key: str, **headers: str) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{served_by.http_url}/api/v1/ping", json={"apikey": key}, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def authenticate(served_by: Gateway, key: str) -> dict[str, Any]:
    async with connect(served_by.ws_url, compression=None) as connection:
        return await Client(connection).ask(action="authenticate", api_key=key)


def test_each_scope_opens_its_part_on_both_listeners_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        scopes: Keys = {scope.value: (scope,) for scope in Scope}
        # Not on loopback alone, so that the operator's part asks for a key.
        async with guarded(tmp_path, scopes, BROKERPOOL_HTTP_HOST="0.0.0.0") as (_, served_by, _, keys):
            url = served_by.http_url.replace("0.0.0.0", "127.0.0.1")
            for name, key in {**keys, "own": KEY, "wrong": "wrong"}.items():
                has_data, has_admin = name in ("data", "own"), name in ("admin", "own")
                reply = await authenticate(served_by, key)
                assert (reply["status"] == "success") == has_data
                async with (
                    aiohttp.ClientSession() as http,
                    http.post(f"{url}/api/v1/ping", json={"apikey": key}) as answer,
                ):
                    assert answer.status == (200 if has_data else 403)
                refused = 403 if name in scopes else 401
                basic = base64.b64encode(f"me:{key}".encode()).decode()
                # Of what is only to come too; not all of it with a wrong key, which would be locked out.
                paths = ("/stats", "/journal", "/metrics", "/explain/NSE:INFY", "/to-come", "//stats")
                for path in paths if name != "wrong" else paths[:1]:
                    opened = has_admin or (name, path) == ("metrics", "/metrics")
                    expected = {200, 404} if opened else {refused}
                    assert await status(f"{url}{path}", **{"X-API-KEY": key}) in expected, (name, path)
                if name != "wrong":
                    live = await status(f"{url}/dashboard/symbols", Authorization=f"Bearer {key}")
                    assert live == (200 if has_admin else 403), name
                expected = {200} if has_admin else {refused}
                assert await status(f"{url}/stats", Authorization=f"Bearer {key}") in expected
                assert await status(f"{url}/stats", Authorization=f"Basic {basic}") in expected
            assert await status(f"{url}/stats") == 401
            for path in ("/health/live", "/docs", "/openapi.json"):
                assert await status(f"{url}{path}") == 200

    asyncio.run(main())


def test_on_this_machine_alone_the_operators_part_needs_no_key_unless_a_proxy_brought_the_request() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by):
            assert await status(f"{served_by.http_url}/stats") == 200
            assert await status(f"{served_by.http_url}/stats", **{"X-Forwarded-For": "127.0.0.1"}) == 401
        async with gateway(BROKERPOOL_TRUSTED_PROXIES="127.0.0.1") as (_, served_by):
            assert await status(f"{served_by.http_url}/stats") == 401
            assert await status(f"{served_by.http_url}/stats", **{"X-API-KEY": KEY}) == 200

    asyncio.run(main())


def test_wrong_keys_are_counted_for_whom_the_proxy_names_and_not_for_whom_the_client_made_up() -> None:
    key_is_wrong = json.dumps({"apikey": "wrong"}).encode()

    async def guess(served_by: Gateway, lines: bytes) -> bytes:
        host, _, port = served_by.http_url.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = b"POST /api/v1/ping HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        rest = b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(key_is_wrong)
        writer.write(head + lines + rest + key_is_wrong)
        answered = await reader.read()
        writer.close()
        return answered.split()[1]

    async def authenticate_as(served_by: Gateway, made_up: str, seen: str) -> Any:
        lines = [("X-Forwarded-For", made_up), ("X-Forwarded-For", seen)]
        async with connect(served_by.ws_url, compression=None, additional_headers=lines) as connection:
            return (await Client(connection).ask(action="authenticate", api_key="wrong"))["code"]

    async def main() -> None:
        async with gateway(BROKERPOOL_TRUSTED_PROXIES="127.0.0.0/8") as (_, served_by):
            for made_up in range(11):
                lines = b"Forwarded: for=6.6.6.%d\r\nForwarded: for=203.0.113.7\r\n" % made_up
                assert await guess(served_by, lines) == (b"403" if made_up < 9 else b"429")
            codes = [await authenticate_as(served_by, f"7.7.7.{n}", "203.0.113.9") for n in range(11)]
            assert codes[8:] == ["AUTHENTICATION_ERROR", "ADDRESS_LOCKED_OUT", "ADDRESS_LOCKED_OUT"]
            locked = [
                e.reason.split()[0] for e in served_by.upstream.journal.entries() if "locked" in e.event.value
            ]
            assert locked == ["203.0.113.7", "203.0.113.9"]

    asyncio.run(main())


@pytest.mark.alone
def test_a_revoked_key_closes_its_clients_with_4403_within_a_second_and_opens_nothing(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with (
            guarded(tmp_path, {"one": (Scope.DATA,), "two": (Scope.DATA,)}) as (_, served_by, store, keys),
            client(served_by, key=keys["one"]) as revoked,
            client(served_by, key=keys["two"]) as other,
        ):
            await revoked.subscribe("INFY")
            await store.revoke_key("one")
            began = time.perf_counter()
            async with asyncio.timeout(2):
                await revoked.connection.wait_closed()
            took = time.perf_counter() - began
            assert (revoked.connection.close_code, revoked.connection.close_reason) == (
                4403,
                "the API key was revoked",
            )
            assert took < 1
            assert (await post(served_by, keys["one"]))[0] == 403
            assert (await authenticate(served_by, keys["one"]))["code"] == "AUTHENTICATION_ERROR"
            assert (await other.ask(action="ping"))["type"] == "pong"
            await until(lambda: len(served_by.upstream.demand) == 0)
            events = [(entry.event.value, entry.reason) for entry in served_by.upstream.journal.entries()]
            assert ("key revoked", "one; 1 clients are closed") in events
            print(f"closed {took * 1000:.0f} ms after the revocation in another process")

    asyncio.run(main())


def test_a_key_that_cannot_be_looked_up_is_not_called_wrong_and_counts_for_no_lock_out() -> None:
    async def main() -> None:
        async with gateway(DATABASE_URL="postgresql://u:p@127.0.0.1:1/away") as (_, served_by):
            for _ in range(12):
                reply = await authenticate(served_by, "a-stored-key")
                assert (reply["status"], reply["code"]) == ("error", "KEYS_NOT_READ")
                assert "ok" not in json.dumps(reply).lower(), "one client takes that for a welcome"
            refused, told = await post(served_by, "a-stored-key")
            assert (refused, told["code"], told["retry_after"]) == (503, "KEYS_NOT_READ", 5)
            assert served_by.stats()["access"]["wrong_keys"] == 0
            assert (await authenticate(served_by, KEY))["status"] == "success"

    asyncio.run(main())


@pytest.mark.alone
def test_keys_that_are_made_while_the_gateway_runs_are_valid_within_a_second(tmp_path: Path) -> None:
    async def main() -> None:
        # No other key is known than the first of the database.
        async with guarded(tmp_path, {"first": ()}, BROKERPOOL_API_KEY="") as (_, served_by, store, _):
            text = await store.create_key("second")
            began = time.perf_counter()
            while (await authenticate(served_by, text))["status"] != "success":
                assert time.perf_counter() - began < 1

    asyncio.run(main())


def test_the_clients_of_one_key_share_its_symbols_and_its_seats(tmp_path: Path) -> None:
    limits = {"BROKERPOOL_MAX_SYMBOLS_PER_KEY": "3", "BROKERPOOL_MAX_CLIENTS_PER_KEY": "2"}

    async def main() -> None:
        async with (
            guarded(tmp_path, {"one": (Scope.DATA,)}, **limits) as (_, served_by, _, keys),
            client(served_by, key=keys["one"]) as first,
            client(served_by, key=keys["one"]) as second,
        ):
            assert (await first.subscribe("INFY", "SBIN"))["status"] == "success"
            reply = await second.subscribe("INFY", "TCS")
            assert [s.get("code") for s in reply["subscriptions"]] == [None, "KEY_SYMBOL_LIMIT"]
            assert (await authenticate(served_by, keys["one"]))["code"] == "KEY_CLIENT_LIMIT"
            await first.connection.close()
            await until(lambda: served_by.clients == 1)
            assert (await authenticate(served_by, keys["one"]))["status"] == "success"
            assert (await second.subscribe("TCS"))["status"] == "success"

    asyncio.run(main())


def test_long_lists_of_two_clients_at_once_hold_no_more_than_their_key_may(tmp_path: Path) -> None:
    async def main() -> None:
        limit = {"BROKERPOOL_MAX_SYMBOLS_PER_KEY": "700"}
        async with (
            guarded(tmp_path, {"one": (Scope.DATA,)}, 1500, **limit) as (broker, served_by, _, keys),
            client(served_by, key=keys["one"]) as first,
            client(served_by, key=keys["one"]) as second,
        ):
            rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
            for session, mine in ((first, rows[:500]), (second, rows[500:1000])):
                await session.connection.send(json.dumps({"action": "subscribe", "symbols": mine, "mode": 1}))
            replies = [await first.reply(), await second.reply()]
            told = [item.get("code") for reply in replies for item in reply["subscriptions"]]
            assert len(served_by.upstream.demand) == told.count(None) == 700
            assert told.count("KEY_SYMBOL_LIMIT") == 300
            # Another mode is no new symbol, and is refused to nobody.
            held = await first.ask(action="list_subscriptions")
            again = await first.ask(action="subscribe", symbols=held["subscriptions"], mode=3)
            assert again["status"] == "success"

    asyncio.run(main())


def test_a_client_that_changes_its_key_brings_no_more_symbols_than_that_one_may_hold(tmp_path: Path) -> None:
    async def main() -> None:
        keys_of: Keys = {"one": (Scope.DATA,), "two": (Scope.DATA,)}
        async with (
            guarded(tmp_path, keys_of, BROKERPOOL_MAX_SYMBOLS_PER_KEY="2") as (_, served_by, _, keys),
            client(served_by) as owner,
            client(served_by, key=keys["one"]) as other,
        ):
            assert (await other.subscribe("INFY"))["status"] == "success"
            assert (await owner.subscribe("INFY", "SBIN"))["status"] == "success"
            refused = await owner.ask(action="authenticate", api_key=keys["one"])
            assert (refused["type"], refused["code"]) == ("auth", "KEY_SYMBOL_LIMIT")
            assert (await owner.subscribe("TCS"))["status"] == "success", "it keeps the key that it had"
            await owner.ask(action="unsubscribe", symbols=[{"symbol": "TCS", "exchange": "NSE"}])
            assert (await owner.ask(action="authenticate", api_key=keys["two"]))["status"] == "success"
            assert (await owner.subscribe("TCS"))["subscriptions"][0]["code"] == "KEY_SYMBOL_LIMIT"

    asyncio.run(main())


def test_requests_beyond_a_keys_rate_wait_on_the_websocket_and_are_refused_over_rest(tmp_path: Path) -> None:
    async def main() -> None:
        limit = {"BROKERPOOL_KEY_RATE_LIMIT": "5 per second"}
        async with (
            guarded(tmp_path, {"one": (Scope.DATA,)}, **limit) as (_, served_by, _, keys),
            client(served_by, key=keys["one"]) as session,
        ):
            began = time.perf_counter()
            for _ in range(11):
                await session.connection.send(json.dumps({"action": "ping"}))
            replies = [await session.reply() for _ in range(11)]
            assert [reply["type"] for reply in replies] == ["pong"] * 11
            assert 1.9 < time.perf_counter() - began < 10
            answers = [await post(served_by, keys["one"]) for _ in range(6)]
            assert answers[-1][0] == 429
            assert answers[-1][1]["code"] == "KEY_RATE_LIMIT"

    asyncio.run(main())


@pytest.mark.alone
def test_thousands_of_wrong_keys_slow_no_right_one_and_end_in_a_lock_out_of_their_address() -> None:
    async def main() -> None:
        async with gateway(API_RATE_LIMIT="100000 per second") as (_, served_by), client(served_by) as user:

            async def ping() -> float:
                before = time.perf_counter()
                assert (await user.ask(action="ping"))["type"] == "pong"
                return time.perf_counter() - before

            calm = sorted([await ping() for _ in range(300)])
            statuses: list[int] = []

            async def guess(http: aiohttp.ClientSession) -> None:
                for _ in range(GUESSES // 10):
                    url = f"{served_by.http_url}/api/v1/ping"
                    async with http.post(url, json={"apikey": "wrong"}) as answer:
                        statuses.append(answer.status)

            async with aiohttp.ClientSession() as http:
                began = time.perf_counter()
                guessing = asyncio.gather(*(guess(http) for _ in range(10)))
                busy = []
                while not guessing.done():
                    busy.append(await ping())
                await guessing
                took = time.perf_counter() - began
            busy.sort()
            print(
                f"{GUESSES} wrong keys in {took:.1f} s ({GUESSES / took * 60:.0f} a minute): a ping took"
                f" {calm[len(calm) // 2] * 1000:.1f} ms before and {busy[len(busy) // 2] * 1000:.1f} ms"
                f" (p99 {busy[int(len(busy) * 0.99)] * 1000:.1f}) meanwhile, guessers in the same process"
            )
            assert statuses.count(403) == 9
            assert statuses.count(429) == GUESSES - 9
            assert busy[int(len(busy) * 0.99)] < 0.25
            assert (await post(served_by, KEY))[0] == 200, "from the address that is locked out"
            async with connect(served_by.ws_url, compression=None) as connection:
                refusal = await Client(connection).ask(action="authenticate", api_key="wrong")
                assert refusal["code"] == "ADDRESS_LOCKED_OUT"
                with pytest.raises(websockets.ConnectionClosed):
                    await connection.recv()
                assert connection.close_code == 4429
            assert (await authenticate(served_by, KEY))["status"] == "success"
            assert served_by.stats()["access"]["addresses_locked_out"] == 1

    asyncio.run(main())


def test_web_pages_of_other_hosts_and_names_that_are_not_the_gateways_get_nowhere() -> None:
    async def upgrade(served_by: Gateway, **headers: str) -> int:
        try:
            async with connect(served_by.ws_url, additional_headers=headers):
                return 101
        except websockets.InvalidStatus as refused:
            return refused.response.status_code

    async def main() -> None:
        async with gateway(BROKERPOOL_ALLOWED_ORIGINS="https://desk.example") as (_, served_by):
            for origin, allowed in {
                "https://evil.example": False,
                "null": False,
                "http://127.0.0.1:3000": True,
                "https://desk.example": True,
            }.items():
                assert await upgrade(served_by, Origin=origin) == (101 if allowed else 403)
                assert (await post(served_by, KEY, Origin=origin))[0] == (200 if allowed else 403)
            for host in ("evil.example", "127.0.0.1.evil.example:8765"):
                answer = await post(served_by, KEY, Host=host)
                assert (answer[0], answer[1]["code"]) == (403, "HOST_NOT_ALLOWED")
                for path in ("/stats", "/health/live", "/docs"):
                    assert await status(f"{served_by.http_url}{path}", Host=host) == 403
            port = int(served_by.ws_url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET / HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            answered = await reader.read()
            writer.close()
            assert answered.startswith(b"HTTP/1.1 403")
            assert b"HOST_NOT_ALLOWED" in answered

    asyncio.run(main())
