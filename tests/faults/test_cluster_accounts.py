"""Accounts of a cluster, each at a feed node of its own: overflow, cover, homecoming, and one that comes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from brokerpool.cluster.nats_server import program
from tests import processes
from tests.cluster import SECONDS, cluster, ended, gapped, ticking, ticks_on, until
from tests.one_exchange import Trader
from tests.processes import Running

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(program() is None, reason="needs the program nats-server"),
]

RATE = 200
#: Room for 20 symbols at each account.
EACH = {"MAX_SYMBOLS_PER_WEBSOCKET": "10", "MAX_WEBSOCKET_CONNECTIONS": "2"}
ROOM = 20
#: How long others wait to stand in for an account that is out.
GRACE = {"BROKERPOOL_FAILOVER_SECONDS": "2"}


async def stats(gateway: Running) -> list[dict[str, Any]]:
    """Return how each account stands, as the gateway says."""
    told = await asyncio.to_thread(processes.get, f"{gateway.said['http_url']}/stats")
    found: list[dict[str, Any]] = told["websocket"]["accounts"]
    return found


def told_of_each(client: Trader, symbols: Sequence[str]) -> bool:
    """Tell whether the client was told of one gap of each of these, and of no other."""
    return gapped(client) == sorted(symbols)


async def told_of(gateway: Running, accounts: int) -> None:
    """Return once the gateway has so many accounts."""
    async with asyncio.timeout(SECONDS):
        while len(await stats(gateway)) != accounts:  # noqa: ASYNC110  (another process' state)
            await asyncio.sleep(0.1)


async def counted(gateway: Running, *, away: int) -> None:
    """Return once the gateway says that so many symbols of the first account are at the second one."""
    async with asyncio.timeout(SECONDS):
        while True:
            first, second = await stats(gateway)
            if (first["symbols_away"], second["symbols"]) == (away, away):
                return
            await asyncio.sleep(0.1)


async def explained(gateway: Running, symbol: str) -> dict[str, Any]:
    """Return what the gateway tells of a symbol."""
    url = f"{gateway.said['http_url']}/explain/NSE:{symbol}"
    told: dict[str, Any] = await asyncio.to_thread(processes.get, url)
    return told


def test_symbols_overflow_to_the_account_of_another_node_and_both_gateways_have_them_at_the_same_one(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=RATE, accounts=2, symbols=40, max_sockets=2) as stage:
            await stage.feed_of(0, "one", **EACH)
            await stage.feed_of(1, "two", **EACH)
            gateways = [await stage.gateway("a", **GRACE), await stage.gateway("b", **GRACE)]
            wanted = stage.symbols[:30]
            async with stage.clients(4, *gateways, symbols=wanted) as clients:
                assert (stage.carried(0), stage.carried(1)) == (ROOM, 10), "each symbol once in all"
                served: Counter[str] = Counter()
                for symbol in wanted:
                    told = [await explained(gateway, symbol) for gateway in gateways]
                    assert told[0]["account"] == told[1]["account"]
                    (connection,) = told[0]["connections"]
                    assert connection["name"].startswith(told[0]["account"])
                    served[told[0]["account"]] += 1
                assert served == {"zerodha": ROOM, "zerodha-2": 10}
                await ticks_on(clients, time.monotonic())
                for client in clients:
                    assert gapped(client) == []
                    stage.nothing_is_lost_in_silence(client)
            stage.keeps_its_limits(2)

    asyncio.run(scene())


def test_an_account_is_asked_for_its_exchanges_alone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=RATE, accounts=2, symbols=40, max_sockets=2) as stage:
            stage.restrict(0, "NFO")
            await stage.feed("both", **EACH)
            gateway = await stage.gateway("a")
            async with stage.clients(1, gateway, symbols=stage.symbols[:5]) as clients:
                assert (stage.carried(0), stage.carried(1)) == (0, 5)
                await ticks_on(clients, time.monotonic())
            stage.keeps_its_limits(2)

    asyncio.run(scene())


def test_an_account_whose_token_dies_is_covered_by_that_of_another_node_and_has_its_symbols_back_after_login(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=RATE, accounts=2, symbols=40, max_sockets=2) as stage:
            await stage.feed_of(0, "one", **EACH)
            await stage.feed_of(1, "two", **EACH)
            gateways = [await stage.gateway("a", **GRACE), await stage.gateway("b", **GRACE)]
            wanted = stage.symbols[:15]
            async with stage.clients(4, *gateways, symbols=wanted) as clients:
                assert (stage.carried(0), stage.carried(1)) == (15, 0)
                await asyncio.sleep(3.0)  # an outage that comes sooner is that of the start
                await stage.let_token_die(0)
                died = time.monotonic()
                await until(lambda: ticking(clients, died + 0.5))
                print(f"every symbol ticks from the other account {time.monotonic() - died:.2f} s later")
                assert (stage.carried(0), stage.carried(1)) == (0, 15)
                for client in clients:
                    await until(partial(told_of_each, client, wanted))
                await counted(gateways[0], away=15)
                assert "until then it comes from" in (await explained(gateways[1], wanted[0]))["why"]
                await stage.log_in(0)
                await until(lambda: (stage.carried(0), stage.carried(1)) == (15, 0))
                await ticks_on(clients, time.monotonic())
                for client in clients:
                    assert not client.ended
                    assert gapped(client) == sorted(wanted), "one gap a symbol, and none on the way home"
                    stage.nothing_is_lost_in_silence(client)
            stage.keeps_its_limits(2)

    asyncio.run(scene())


def test_a_killed_node_is_replaced_by_its_standby_and_without_one_the_other_account_covers_for_it(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=RATE, accounts=2, symbols=40, max_sockets=2) as stage:
            first = await stage.feed_of(0, "one", **EACH)
            await stage.feed_of(1, "two", **EACH)
            standby = await stage.feed_of(0, "standby", **EACH)
            gateway = await stage.gateway("a")  # which waits 5 s before others cover
            wanted = stage.symbols[:15]
            async with stage.clients(2, gateway, symbols=wanted) as clients:
                await asyncio.sleep(3.0)
                for killed, account, within in ((first, 0, 5.0), (standby, 1, 9.0)):
                    killed.process.kill()
                    at = time.monotonic()
                    await until(partial(ticking, clients, at + 1.0))
                    took = time.monotonic() - at
                    print(f"account {account} serves {took:.2f} s after the kill")
                    assert took < within + stage.round_seconds
                    assert stage.carried(account) == 15
                    await asyncio.sleep(3.0)
                for client in clients:
                    assert not client.ended
                    assert gapped(client) == sorted(2 * wanted)
                    stage.nothing_is_lost_in_silence(client)
            stage.keeps_its_limits(2)

    asyncio.run(scene())


def test_an_account_that_a_node_brings_later_has_room_at_gateways_that_run(tmp_path: Path) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=RATE, accounts=2, symbols=40, max_sockets=2) as stage:
            await stage.feed_of(0, "one", **EACH)
            gateway = await stage.gateway("a")
            wanted = stage.symbols[:30]
            async with stage.clients(1, gateway, symbols=wanted[:ROOM]) as (client,):
                said = await client.subscribe(wanted[ROOM:])
                assert said["status"] != "success", "there is no room yet"
                second = await stage.feed_of(1, "two", **EACH)
                await told_of(gateway, accounts=2)
                said = await client.subscribe(wanted[ROOM:])
                assert said["status"] == "success", said
                await until(lambda: len(client.seen) == len(wanted))
                assert (stage.carried(0), stage.carried(1)) == (ROOM, 10)
                assert gapped(client) == []
                stage.nothing_is_lost_in_silence(client)
                assert await ended(second) == 0
            stage.keeps_its_limits(2)

    asyncio.run(scene())
