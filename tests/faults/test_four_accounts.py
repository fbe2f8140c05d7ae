"""An account at each broker behind one gateway: what that costs, and that each one's outage is covered."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from brokerpool.brokers import registry
from brokerpool.simulator.tick_rate import INTERVAL_SECONDS
from tests import processes
from tests.every_broker import BROKERS, FIRST
from tests.one_exchange import (
    GRACE,
    Exchange,
    Shape,
    Trader,
    accounts,
    api_key,
    exchange,
    in_order,
    seen_after,
    serving,
    trader,
    without_a_hole,
)
from tests.rehearsal import until

#: Ticks a second that reach the client; `make brokers` has 20,000.
RATE = int(os.environ.get("BROKERPOOL_TEST_BROKER_TICKS", "400"))
MEASURED = "BROKERPOOL_TEST_BROKER_TICKS" in os.environ
LATE = 0.0 if MEASURED else 6.0
SECONDS = 20.0 if MEASURED else 2.0
#: Symbols in all.
SYMBOLS = RATE * 2 // 5
#: Those with a login of their own; the others stand in front of such a one.
NAMES = [name for name in BROKERS if not registry.broker(name).key_is_login]
#: Each of these is measured so often, in turns.
ROUNDS = 3


class Arm(NamedTuple):
    """What is measured: a gateway of these brokers, which tell of their trades every `interval` seconds."""

    names: Sequence[str]
    interval: float = INTERVAL_SECONDS


ALL = Arm(NAMES)
ALONE = Arm([FIRST])
#: The same ticks in as many pieces as those of all brokers come in: a read costs as much as several ticks.
ALONE_IN_PIECES = Arm([FIRST], INTERVAL_SECONDS / len(NAMES))


class Cost(NamedTuple):
    """What the gateway spent on what its client got."""

    frames: int
    cpu_seconds: float

    @property
    def each(self) -> float:
        """Microseconds of CPU a frame."""
        return self.cpu_seconds * 1e6 / self.frames


def shapes(names: Sequence[str], room: int) -> list[tuple[str, Shape]]:
    """Return room for so many symbols of each account, on as many connections as its broker lets it have."""
    limits = [(name, min(3, registry.broker(name).limits.max_connections)) for name in names]
    return [(name, Shape(connections, -(-room // connections))) for name, connections in limits]


async def at_home(
    client: Trader, several: Exchange, gateway: processes.Running, home: int
) -> list[list[str]]:
    """Give each account `home` symbols, and return them, once all tick.

    Accounts are filled in order of preference: the rest of each one's room is given back when all are full.
    """
    rooms = [shape.connections * shape.symbols_each for shape in several.shapes]
    held, start = [], 0
    for room in rooms:
        for at in range(start, start + room, 500):
            await client.subscribe(several.symbols[at : min(at + 500, start + room)])
        held.append(several.symbols[start : start + room])
        start += room
    found = await accounts(gateway)
    assert [each["symbols_home"] for each in found] == rooms
    if spare := [symbol for symbols in held for symbol in symbols[home:]]:
        await client.unsubscribe(spare)
    homes = [symbols[:home] for symbols in held]
    await until(lambda: all(seen_after(client, symbols, 0.0) for symbols in homes), seconds=60)
    return homes


async def all_tick(client: Trader, symbols: list[str], since: float, seconds: float) -> None:
    """Return once each has ticked after `since`."""
    await until(lambda: seen_after(client, symbols, since), seconds=seconds)


async def measured(client: Trader, gateway: processes.Running, homes: Sequence[Sequence[str]]) -> Cost:
    """Look on, fail where a trade is missing or comes twice, and return what the gateway has spent."""
    process = psutil.Process(gateway.process.pid)
    client.seen.clear()
    began, spent, got = time.monotonic(), sum(process.cpu_times()[:2]), client.trades
    await asyncio.sleep(SECONDS)
    cost = Cost(client.trades - got, sum(process.cpu_times()[:2]) - spent)
    assert time.monotonic() - began < 1.5 * SECONDS
    wanted = [symbol for symbols in homes for symbol in symbols]
    await until(lambda: seen_after(client, wanted, began), seconds=20)
    return cost


async def covered(
    client: Trader, several: Exchange, gateway: processes.Running, homes: list[list[str]]
) -> None:
    """Let each broker be gone for a while, and see its symbols tick from the others and go home again."""
    for number, symbols in enumerate(homes):
        broker = several.brokers[number]
        others = [symbol for other, each in enumerate(homes) if other != number for symbol in each]
        began = time.monotonic()
        await broker.down()
        gone = time.monotonic()
        await all_tick(client, symbols, gone + GRACE / 2, seconds=GRACE + 3 + LATE)
        took = max(next(seen.at for seen in client.seen[s] if seen.at > gone + GRACE / 2) for s in symbols)
        told = (await accounts(gateway))[number]
        assert (told["symbols_home"], told["symbols_away"]) == (len(symbols), len(symbols))
        await broker.up()
        back = time.monotonic()
        async with asyncio.timeout(60):
            while (await accounts(gateway))[number]["symbols_away"]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        home = time.monotonic() - back
        print(
            f"without {broker.name} its symbols tick {took - gone:.2f} s later, and at home in {home:.1f} s"
        )
        await all_tick(client, symbols, back, seconds=20)
        for symbol in others:
            without_a_hole(client, several, symbol, began)


async def costing(folder: Path, arm: Arm, *, outages: bool = False) -> Cost:
    """Run a gateway of the brokers' accounts at the full rate, and return what its frames cost."""
    names = arm.names
    home = SYMBOLS // len(names)
    # With one account dead, a third of its symbols fits on each of three others.
    room = -(-home * 4 // 3) if len(names) > 1 else home
    listed = -(-(room + 3) * len(names) * 9 // 8) + 20
    trades = RATE * listed / SYMBOLS
    async with (
        exchange(folder, shapes(names, room), listed, trades, arm.interval) as several,
        serving(folder) as gateway,
        trader(gateway.said["ws_url"], api_key(folder)) as client,
    ):
        homes = await at_home(client, several, gateway, home)
        cost = await measured(client, gateway, homes)
        if outages:
            await covered(client, several, gateway, homes)
        in_order(client)
        for number in range(len(names)):
            several.keeps_its_limits(number)
        return cost


def cost_of(folder: Path, arm: Arm, *, outages: bool = False) -> Cost:
    """Return what a frame costs in a run of its own, in a folder that is made for it."""
    folder.mkdir()
    return asyncio.run(costing(folder, arm, outages=outages))


def median(costs: Iterable[Cost]) -> float:
    """Return the middle one of what a frame cost, in microseconds."""
    return statistics.median(cost.each for cost in costs)


@pytest.mark.skipif(len(NAMES) < 2, reason="one broker covers nobody's outage: install the others")
@pytest.mark.timeout(900 if MEASURED else 180)
def test_accounts_of_all_brokers_lose_nothing_cost_what_one_costs_and_cover_each_others_outage(
    tmp_path: Path,
) -> None:
    several = [cost_of(tmp_path / "all-0", ALL, outages=True)]
    if not MEASURED:
        return
    alone, in_pieces = list[Cost](), list[Cost]()
    for number in range(ROUNDS):
        alone.append(cost_of(tmp_path / f"alone-{number}", ALONE))
        in_pieces.append(cost_of(tmp_path / f"in-pieces-{number}", ALONE_IN_PIECES))
        if number:
            several.append(cost_of(tmp_path / f"all-{number}", ALL))
    told = [f"{cost.each:.1f}" for cost in several]
    print(f"a frame of {len(NAMES)} brokers takes {', '.join(told)} us of CPU")
    for arm, costs in ((f"{FIRST} alone", alone), (f"{FIRST} alone, in as many reads", in_pieces)):
        told = [f"{cost.each:.1f}" for cost in costs]
        print(f"a frame of {arm}: {', '.join(told)} us; {median(several) / median(costs):.2f} times as much")
    assert min(cost.frames for cost in several) > 0.95 * RATE * SECONDS
    assert median(several) <= 1.1 * median(in_pieces)
