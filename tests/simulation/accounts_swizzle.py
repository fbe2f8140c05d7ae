"""Swizzle over several accounts: they die, park, fill and return in random order, all of it from one seed.

`python -m tests.simulation.accounts_swizzle` runs many seeds; with `--seed N` it replays one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from brokerpool import Instrument, Mode
from brokerpool.errors import SubscriptionError
from brokerpool.feed.backoff import CAP_SECONDS, PROVEN_SECONDS
from brokerpool.feed.routing_table import RoutingTable
from tests.simulation.accounts_stage import Account, Accounts, account, over
from tests.simulation.accounts_witness import AccountsWitness
from tests.simulation.seeds import Report, for_a_while, play_seeds, played

by_priority = RoutingTable.by_priority  # kept, for those who break it
CHAOS_SECONDS = 45.0
#: After all faults are healed every account serves within this: a back-off of a minute, and one besides.
RECOVERY_SECONDS = 135.0
#: How much longer than the grace symbols of an account that is out may take to tick again.
AWAY_SECONDS = 3.0
#: How much longer than its hold an account may take to have all its symbols back.
HOME_SECONDS = 15.0
MAX_STEPS = 400_000


def rehearse(seed: int) -> Report:
    """Play the seed's scenario to its end and report what the router did that it must not do."""
    report = Report(seed, "accounts_swizzle")
    return played(report, lambda: _play(seed, report), MAX_STEPS)


async def _play(seed: int, report: Report) -> None:
    random, loop = Random(seed), asyncio.get_running_loop()
    begun = loop.time()
    sizes = [(random.randint(2, 5), random.randint(1, 2)) for _ in range(random.choice((2, 2, 3)))]
    symbols = max(3, int(sum(places * sockets for places, sockets in sizes) * random.uniform(0.5, 1.1)))
    accounts: list[Account] = []
    for number, (places, connections) in enumerate(sizes):
        left_out = set(random.sample(range(1, symbols + 1), random.choice((0, 0, symbols // 4))))
        accounts.append(
            account(
                f"acc{number}",
                random,
                symbols,
                places=places,
                connections=connections,
                listed=partial(_not_among, left_out),
                lag_ms=random.choice((0, 0, 300, 1500)),
                broker={"beats": (2, 8), "snapshots": random.random() < 0.7},
                grace=random.uniform(1, 3),
                linger=random.uniform(1, 10),
            )
        )
    ledger = accounts[0].broker.ledger
    report.trace = ledger.lines
    witness = AccountsWitness(accounts, ledger)
    try:
        async with over(accounts, grace=random.uniform(1, 4)) as scene:
            scene.router.listen(witness)
            party = _Party(random, scene, witness, report)
            await party.chaos()
            await party.recover()
            await party.outage()
            witness.finish()
            if faults := scene.router.get_pool_stats()["websocket"]["faults"]:
                report.problems.append(f"faults: {faults}")
    finally:
        report.problems += witness.problems
        report.virtual_seconds = loop.time() - begun
        report.trace_hash = ledger.trace_hash()
        report.counts.update(ticks=witness.ticks, gaps=witness.gaps, moves=witness.moves)


class _Party:
    """Owners and a nemesis, and what is to be seen once the nemesis rests."""

    def __init__(self, random: Random, scene: Accounts, witness: AccountsWitness, report: Report) -> None:
        self._random = random
        self._scene = scene
        self._router = scene.router
        self._witness = witness
        self._report = report
        self._priorities: dict[Instrument, int] = {}

    # -- chaos --------------------------------------------------------------------------------------------

    async def chaos(self) -> None:
        parties = [self._own(f"owner {n}") for n in range(2)]
        # Drawn apart, so that the other parties of a seed do what they did.
        holds = Random(f"holds of {self._report.seed}")
        if holds.random() < 0.5:
            parties.append(self._hold(holds))
        parties += [self._rage() for _ in range(self._random.choice((1, 2)))]
        await for_a_while(parties, CHAOS_SECONDS)

    async def _own(self, owner: str) -> None:
        random, router, every = self._random, self._router, self._scene.instruments
        while True:
            some = random.sample(every, random.randint(1, len(every)))
            mode = random.choice(list(Mode))
            match random.randrange(8):
                case 0:
                    router.release(owner)
                case 1 | 2:
                    router.unsubscribe(some[: len(some) // 2], random.choice((None, mode)), owner=owner)
                case 3:
                    before = _held(router.demand.instruments(), self._scene)
                    try:
                        router.subscribe(some, mode, owner=owner)
                    except SubscriptionError:
                        if _held(router.demand.instruments(), self._scene) != before:
                            self._report.problems.append(
                                "a batch that was refused whole has changed something"
                            )
                case _:
                    priority = random.choice((0, 0, 1, 5))
                    done = router.subscribe(some, mode, owner=owner, priority=priority, partial=True)
                    self._judge([r.instrument for r in done.refused])
            self._witness.look(router)
            self._check()
            await asyncio.sleep(random.expovariate(0.3))

    async def _hold(self, random: Random) -> None:
        """Have a connection of each account held open, and no more, for ever."""
        while True:
            for on in (True, False):
                self._router.hold_open(on)
                self._report.covered["held open" if on else "held no more"] += 1
                await asyncio.sleep(random.expovariate(0.1))

    def _judge(self, refused: Sequence[Instrument]) -> None:
        """Look whether any account had room for what was refused."""
        for instrument in refused:
            for member in self._router._members:
                homes, places = self._router._table.homes[member.number], member.inspection.status().capacity
                if member.lists(instrument) and len(homes) < places:
                    self._report.problems.append(f"{instrument} is refused, and {member.name} has room")

    def _check(self) -> None:
        """Look whether the router, the pools and the demand agree."""
        router, table = self._router, self._router._table
        if set(table.ways) != set(router.demand.instruments()):
            self._report.problems.append(f"{table!r} is not what is wanted: {router.demand!r}")
        for member in router._members:
            carried = {*table.homes[member.number], *table.guests[member.number]}
            if set(member.pool.demand.instruments()) != carried:
                self._report.problems.append(f"{member.name} carries other symbols than the router knows")

    async def _rage(self) -> None:
        random = self._random
        deeds = (
            self._die,
            self._die,
            self._outage,
            self._outage,
            self._kill,
            self._mute,
            self._flap,
            self._slow,
        )
        while True:
            await asyncio.sleep(random.expovariate(0.3))
            each, deed = random.choice(self._scene.accounts), random.choice(deeds)
            self._report.covered[deed.__name__.strip("_")] += 1
            self._say(f"nemesis: {deed.__name__} of {each.name}")
            await deed(each)

    async def _die(self, each: Account) -> None:
        each.broker.expire(f"{each.broker.token}+", politely=self._random.random() < 0.5)
        await self._pause(15)
        each.log_in()

    async def _outage(self, each: Account) -> None:
        each.broker.down = self._random.choice(("refused", "unreachable"))
        each.broker.kill_all()
        await self._pause(20)
        each.broker.down = ""

    async def _kill(self, each: Account) -> None:
        for socket in list(each.broker.sockets):
            if self._random.random() < 0.6:
                self._random.choice((socket.kill, socket.black_hole))()

    async def _mute(self, each: Account) -> None:
        """Keep all ticks back on sockets that work."""
        tokens = [t for i in each.feed.book if (t := each.feed.book.token(i)) is not None]
        each.broker.muted.update(tokens)
        await self._pause(20)
        each.broker.muted.clear()

    async def _flap(self, each: Account) -> None:
        each.broker.flap = self._random.choice((0.05, 0.5, 3.0))
        each.broker.kill_all()
        await self._pause(15)
        each.broker.flap = None

    async def _slow(self, each: Account) -> None:
        each.broker.slowness = self._random.uniform(0.5, 8)
        each.broker.kill_all()
        await self._pause(10)
        each.broker.slowness = 0.0

    # -- afterwards ---------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Heal everything: each symbol ticks again, at home."""
        for each in self._scene.accounts:
            each.broker.heal()
            each.log_in()
        self._say("all faults are healed")
        await asyncio.sleep(1)  # a socket that was killed just now looks well until the news has arrived
        hold = max(member.steadiness.hold for member in self._router._members)
        bound = RECOVERY_SECONDS + hold + HOME_SECONDS
        if not await self._soon(lambda: self._scene.live() and self._all_home(), bound):
            self._report.problems.append(f"{bound:g} s after all faults were healed: {self._wrong()}")

    async def outage(self) -> None:
        """Let one account fail while all others are well: its symbols move, by priority, and come home."""
        scene, router, random = self._scene, self._router, self._random
        for instrument in scene.instruments:
            priority = random.choice((0, 0, 1, 2))
            router.subscribe([instrument], Mode.DEPTH, owner="prober", priority=priority, partial=True)
        self._witness.look(router)
        if not await self._soon(lambda: scene.live() and self._all_home(), RECOVERY_SECONDS):
            self._report.problems.append(f"not all of what is wanted ticks: {self._wrong()}")
            return
        number = random.randrange(len(scene.accounts))
        failing, expected = scene.accounts[number], self._expected(number)
        grace, parks = router._moves._grace, random.random() < 0.5
        # A socket that did not live for long before rests for longer, whatever becomes of its neighbours.
        rest = 10.0 if _have_proven_themselves(failing) else CAP_SECONDS
        self._say(f"the outage of {failing.name}: {len(expected)} symbols should move")
        if parks:
            failing.die()
        else:
            failing.broker.down = "refused"
            failing.broker.kill_all()
        await self._soon(lambda: not failing.pool.connected, 1)
        others = [each for each in scene.accounts if each is not failing]
        theirs, within = [*router._table.homes[number]], grace + AWAY_SECONDS
        hindered = not all(map(_may_dial, others))
        taken_over = await self._soon(lambda: self._as_good(theirs, expected), within)
        if not taken_over and (hindered or not all(map(_may_dial, others))):
            within += RECOVERY_SECONDS  # another one was out too, or has to wait for its dials
            taken_over = await self._soon(lambda: self._as_good(theirs, expected), RECOVERY_SECONDS)
        if not taken_over:
            late = [f"{i} {router.state(i)}" for i in expected if not scene.live([i])]
            self._report.problems.append(f"not within {within:.1f} s from another account: {late}")
        await asyncio.sleep(random.uniform(0, 5))
        moved = [i for i in theirs if router._table.ways[i].guest is not None and scene.live([i])]
        dials = len(failing.broker.ledger.dials)
        gaps = len(self._witness.holes)
        failing.broker.down = ""
        if parks and len(failing.broker.ledger.dials) > dials:
            self._report.problems.append(f"{failing.name} is parked and dials")
        failing.log_in()
        failing.pool.renew()
        bound = router._members[number].steadiness.hold + HOME_SECONDS + rest
        if not await self._soon(lambda: scene.live() and self._all_home(), bound):
            self._report.problems.append(
                f"not home {bound:.1f} s after {failing.name} is back: {self._wrong()}"
            )
        if told := [str(i) for i in self._witness.holes[gaps:] if i in moved]:
            self._report.problems.append(f"gaps were told on the way home: {told}")

    def _expected(self, failing: int) -> list[Instrument]:
        """Return the symbols of an account that others have room for, by the rules."""
        table, members = self._router._table, self._router._members
        room = [m.inspection.status().capacity - len(table.homes[m.number]) for m in members]
        expected = []
        for instrument in by_priority(table, table.homes[failing]):
            for member in members:
                if member.number != failing and member.lists(instrument) and room[member.number]:
                    room[member.number] -= 1
                    expected.append(instrument)
                    break
        return expected

    def _as_good(self, symbols: Sequence[Instrument], expected: Sequence[Instrument]) -> bool:
        """Tell whether as many of the symbols tick as are expected, and none of a lower priority."""
        ways = self._router._table.ways
        live = sorted((ways[i].priority for i in symbols if self._scene.live([i])), reverse=True)
        least = sorted((ways[i].priority for i in expected), reverse=True)
        return len(live) >= len(least) and all(has >= due for has, due in zip(live, least, strict=False))

    def _all_home(self) -> bool:
        return not any(self._router._table.guests)

    def _wrong(self) -> str:
        router = self._router
        states = [f"{i} {router.state(i)}" for i in router.demand.instruments() if not self._scene.live([i])]
        return f"{router._table!r} {'; '.join(states)}"

    # -- inside -------------------------------------------------------------------------------------------

    async def _soon(self, condition: Callable[[], object], seconds: float) -> bool:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not condition():
            if loop.time() - begun > seconds:
                return False
            await asyncio.sleep(0.1)
        return True

    async def _pause(self, most: float) -> None:
        await asyncio.sleep(self._random.uniform(0, most))

    def _say(self, text: str) -> None:
        self._scene[0].broker.ledger.say(asyncio.get_running_loop().time(), text)


def _may_dial(each: Account) -> bool:
    connections = each.pool.get_pool_stats()["websocket"]["per_connection"]
    all_live = bool(connections) and all(connection["state"] == "live" for connection in connections)
    return all_live and not each.pool._account.budget.wait(asyncio.get_running_loop().time())


def _have_proven_themselves(each: Account) -> bool:
    proven = asyncio.get_running_loop().time() - PROVEN_SECONDS
    return all(c.opened_at <= proven for r in each.pool._replicas for c in r.connections.values())


def _not_among(left_out: set[int], instrument: Instrument) -> bool:
    return int(instrument.symbol[1:]) not in left_out


def _held(instruments: Sequence[Instrument], scene: Accounts) -> dict[Instrument, list[object]]:
    demand = scene.router.demand
    return {i: [demand.mode(i), demand.priority(i)] for i in instruments}


if __name__ == "__main__":
    sys.exit(play_seeds("accounts_swizzle", rehearse, __doc__))
