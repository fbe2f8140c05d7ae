"""Swizzle: sockets, broker and owners fail and return in random order, all of it from one seed.

`python -m tests.simulation.swizzle` runs many seeds; with `--seed N` it replays one and shows what happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterable
from random import Random
from typing import Any

from brokerpool import Instrument, Mode, PoolExhaustedError, WebSocketPool
from brokerpool.brokers.capacity import EMPTY, Limit, ModeRule
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.brokers.login import Credentials
from brokerpool.feed.demand import Demand
from brokerpool.feed.dial_permits import EVICTED_SECONDS, MOST_EVICTED_SECONDS
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.placement import Placement
from brokerpool.testing.scripted_broker import ScriptedBroker
from brokerpool.testing.scripted_feed import ScriptedFeed
from brokerpool.testing.virtual_loop import VirtualLoop
from tests.simulation.nemesis import Nemesis
from tests.simulation.seeds import Report, for_a_while, play_seeds, played
from tests.simulation.witness import Witness

CHAOS_SECONDS = 120.0
#: Within this everything must be well again: a back-off of a minute, and one of the account's besides.
RECOVERY_SECONDS = 135.0
#: How much longer at least for each time that the broker threw a socket out: the pool keeps a rest then.
EVICTION_SECONDS = 130.0
CLOSE_SECONDS = 3.0
MAX_STEPS = 200_000


def rehearse(seed: int, pool_class: type[WebSocketPool] = WebSocketPool) -> Report:
    """Play the seed's scenario to its end and report what the pool did that it must not do."""
    report = Report(seed)
    return played(report, _Rehearsal(seed, report, pool_class).play, MAX_STEPS)


class _Rehearsal:
    def __init__(self, seed: int, report: Report, pool_class: type[WebSocketPool]) -> None:
        self.random = Random(seed)
        self.report = report
        self.pool_class = pool_class
        #: Whether a connection is held open.
        self.held = False

    async def play(self) -> None:
        random = self.random
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        begun = loop.time()
        connections = random.choice((2, 3, 3))
        size = random.randint(4, 8)
        # Drawn apart, so that the seeds of brokers that count all modes alike are what they were.
        modes = _rule_of_modes(Random(f"modes of {self.report.seed}"), size)
        greets = random.random() < 0.25
        self.feed = feed = ScriptedFeed(
            symbols=int(connections * size * random.uniform(0.7, 1.3)),
            random=random,
            greets=greets,
            heartbeat_seconds=random.choice((2.0, 5.0, 10.0)) if greets else 0.0,
            provider=self._log_in if (provides := random.random() < 0.3) else None,
            symbols_per_connection=size,
            max_connections=connections,
            socket_life_seconds=random.choice((0.0, 0.0, 0.0, 60.0)),
            pings_counted=random.random() < 0.2,
            control_messages=(RateWindow(random.randint(2, 6), 1.0),),
            modes=modes,
        )
        self.broker = broker = ScriptedBroker(
            random,
            feed.limits,
            range(1, len(feed.instruments) + 1),
            feed.dialect,
            evicts=random.random() < 0.15,
            snapshots=random.random() < 0.7,
            beats=random.choice(((2, 16), (2, 16), (1, 4))),
            wall_clock=loop.wall_clock,
        )
        if greets:
            few = random.sample(range(1, len(feed.instruments) + 1), random.randint(0, 3))
            lowest = [(token, random.choice(list(Mode))) for token in few]
            # What a broker that tells modes apart goes on with in another mode than it was asked for takes
            # other room: the pool keeps to the rule then, and need not find a place for all that is left.
            broker.refused.update((token, mode if modes is None else Mode.LTP) for token, mode in lowest)
        self.redundancy = 2 if random.random() < 0.2 else 1
        self.pool = pool = self.pool_class(
            feed,
            max_symbols=size,
            max_connections=connections,
            linger=random.uniform(1, 10),
            placement=(placement := random.choice(("fill-first", "least-loaded"))),
            redundancy=self.redundancy,
            grace=random.uniform(0.5, 6),
            random=random,
            dial=broker.dial,
            wall_clock=loop.wall_clock,
        )
        self.report.covered.update(
            {
                "pools": 1,
                "with two copies": self.redundancy == 2,
                placement: 1,
                "with a credentials provider": provides,
                "with sockets of limited life": feed.limits.socket_life_seconds > 0,
                "at a broker that evicts": broker.evicts,
                "at a broker that greets and wants heartbeats": greets,
                "with refused symbols": len(broker.refused) > 0,
                "at a broker that counts pings": feed.limits.pings_counted,
                "at a broker without a first answer": not broker.snapshots,
                "at a broker that tells modes apart": modes is not None,
            }
        )
        self.witness = witness = Witness(broker, pool)
        pool.listen(witness)
        self.report.trace = broker.ledger.lines
        try:
            await self._chaos()
            if random.random() < 0.85:
                await self._recover()
                witness.finish()
                await self._all_leave()
            await self._end()
        finally:
            report, ledger = self.report, broker.ledger
            report.problems += witness.problems + ledger.violations
            report.virtual_seconds = loop.time() - begun
            report.trace_hash = ledger.trace_hash()
            report.counts.update(
                ticks=witness.ticks,
                missed=witness.missed,
                gaps=witness.gaps,
                dials=len(ledger.dials),
                evictions=broker.evictions,
            )

    # -- owners -------------------------------------------------------------------------------------------

    async def _chaos(self) -> None:
        nemesis = Nemesis(self.random, self.broker, self.pool)
        parties = [self._own(f"owner {n}") for n in range(self.random.randint(2, 4))]
        # Drawn apart as well.
        holds = Random(f"holds of {self.report.seed}")
        if holds.random() < 0.5:
            parties.append(self._hold(holds))
        parties += [nemesis.rage() for _ in range(self.random.choice((1, 1, 2)))]
        await for_a_while(parties, CHAOS_SECONDS)
        self.report.covered.update(nemesis.deeds)

    async def _own(self, owner: str) -> None:
        """Subscribe, unsubscribe, change modes, leave and come back, for ever."""
        random, pool, every = self.random, self.pool, self.feed.instruments
        while True:
            some = random.sample(every, random.randint(1, max(1, len(every) // 2)))
            mode = random.choice(list(Mode))
            match random.randrange(8):
                case 0:
                    pool.release(owner)
                case 1 | 2:
                    pool.unsubscribe(some, random.choice((None, None, mode)), owner=owner)
                case 3:
                    with contextlib.suppress(PoolExhaustedError):
                        pool.subscribe(some, mode, owner=owner)
                case _:
                    priority = random.choice((0, 0, 0, 1, 5))
                    done = pool.subscribe(some, mode, owner=owner, priority=priority, partial=True)
                    self._judge([refused.instrument for refused in done.refused], mode)
            self.witness.look(pool.demand.instruments())
            await asyncio.sleep(random.expovariate(0.25))

    async def _hold(self, random: Random) -> None:
        """Have a connection held open, and no more, for ever."""
        while True:
            self.held = not self.held
            self.pool.hold_open(self.held)
            await asyncio.sleep(random.expovariate(0.1))

    def _judge(self, refused: list[Instrument], mode: Mode) -> None:
        """Look whether what was refused would have fitted on a connection of each replica."""
        demand, replicas = self.pool.demand, self.pool._replicas
        for instrument in refused:
            if all(_fits_somewhere(replica.placement, demand, instrument, mode) for replica in replicas):
                self.report.problems.append(f"{instrument} is refused in {mode.label}, and there is room")

    async def _log_in(self) -> Credentials:
        await asyncio.sleep(self.random.uniform(0.1, 6))
        if self.random.random() < 0.3:
            raise OSError("the vault is closed")
        return Credentials(self.broker.token)

    # -- afterwards ---------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Wait until all is well; what is not within the time is a problem."""
        broker, loop = self.broker, asyncio.get_running_loop()
        broker.heal()
        if self.feed.login.refused:  # of a good token, which no pool tries twice
            broker.issue("healed")
        self.feed.login.renew(Credentials(broker.token))
        broker.ledger.say(loop.time(), "all faults are healed")
        healed = loop.time()
        bound = RECOVERY_SECONDS + _rest_seconds(broker.evictions, self.feed.limits.max_connections)
        while wrong := self._wrong():
            if loop.time() - healed > bound:
                self.report.problems.append(f"{bound:g} s after all faults were healed: {'; '.join(wrong)}")
                break
            await asyncio.sleep(0.5)
        self.report.recovery_seconds = loop.time() - healed

    def _wrong(self) -> list[str]:
        """Return how the broker's side and the demand differ."""
        pool, book, served = self.pool, self.feed.book, self.broker.served()
        wanted = {book.token(i): pool.demand.mode(i) for i in pool.demand.instruments()}
        refused = {t for t, mode in wanted.items() if t is not None and mode and self.broker.refuses(t, mode)}
        copies: dict[Any, Any] = {token: [mode] * self.redundancy for token, mode in wanted.items()}
        for socket in self.broker.sockets:
            # What falls keeps its mode for as long as the lower one does not fit beside the others, of which
            # the pool counts also those that the broker refused.
            fits = self.feed.limits.capacity.fits(_counts(wanted[t] for t in socket.tokens if t in wanted))
            if not fits or (refused and self.feed.limits.modes is not None):
                for kept in socket.tokens.keys() & copies.keys():
                    copies[kept] = [max(mode, socket.tokens[kept]) for mode in copies[kept]]
        wrong = [
            f"token {token} is served as {served.get(token, [])} and wanted as {copies.get(token, [])}"
            for token in sorted({*served, *copies})
            if token not in refused and served.get(token) != copies.get(token)
        ]
        states = {i: pool.state(i) for i in pool.demand.instruments()}
        for i, state in states.items():
            # What is refused in its new mode only goes on in the old one.
            token = book.token(i)
            lives = (SymbolState.LIVE,) if token not in refused or token in served else ()
            if state not in (lives or (SymbolState.REFUSED,)):
                wrong.append(f"{i} is {state}")
            if lives and pool.gap(i) is not None:
                wrong.append(f"{i} is in a gap")
        return wrong

    async def _all_leave(self) -> None:
        """Let all owners leave in half of the cases: in a while no socket is open but one that is held."""
        if self.random.random() < 0.5:
            return
        pool, broker = self.pool, self.broker
        for owner in ("owner 0", "owner 1", "owner 2", "owner 3"):
            pool.release(owner)
        self.witness.look(pool.demand.instruments())
        if self.held and not pool.demand.instruments():
            self.report.covered["with a connection held open to the end"] += 1
            await asyncio.sleep(RECOVERY_SECONDS)
            if not pool.connected or len(broker.sockets) > 2:  # two while one takes the other's place
                self.report.problems.append(f"one socket is to be held, and {len(broker.sockets)} are open")
            pool.hold_open(False)
        await asyncio.sleep(15)  # longer than any connection lingers, and a close takes
        if pool.demand.instruments() or broker.sockets:
            self.report.problems.append(f"all owners have left, and {len(broker.sockets)} sockets are open")

    async def _end(self) -> None:
        """Close the pool, in whatever state it is: it takes seconds, and nothing may be left."""
        pool, loop, problems = self.pool, asyncio.get_running_loop(), self.report.problems
        faults = pool.get_pool_stats()["websocket"]["faults"]
        problems += [
            f"{name} raised {count} times" for name, count in faults.items() if "_log_in" not in name
        ]
        begun = loop.time()
        await pool.close()
        if loop.time() - begun > CLOSE_SECONDS:
            problems.append(f"the close took {loop.time() - begun:.1f} s")
        if taken := pool._account.budget.sockets:
            problems.append(f"{taken} permits are taken after the close")
        try:
            await self.broker.close()
        except AssertionError as error:
            problems.append(str(error))


def _rule_of_modes(random: Random, size: int) -> ModeRule | None:
    """Return, for a quarter of all, what a broker that tells modes apart allows on a socket of this size."""
    if random.random() >= 0.25:
        return None
    if random.random() < 0.3:
        weights = (0, 1, *sorted((random.randint(1, 2), random.randint(1, 3))))
        return ModeRule((Limit(size, (weights[0], weights[1], weights[2], weights[3])),))
    ltp, full = size, max(1, int(size * random.uniform(0.4, 1)))
    less_ltp, less_full = (max(1, int(most * random.uniform(0.4, 1))) for most in (ltp, full))
    price, book = (0, 1, 0, 0), random.choice(((0, 0, 1, 1), (0, 0, 1, 2)))
    limits = Limit(full, book), Limit(less_ltp, price, mixed=True), Limit(less_full, book, mixed=True)
    return ModeRule(limits, random.choice(((0, 0, 1, 1), (0, 0, 1, 2))))


def _counts(modes: Iterable[Mode | None]) -> list[int]:
    counts = [0, 0, 0, 0]
    for mode in modes:
        counts[mode or 0] += 1
    return counts


def _fits_somewhere(placement: Placement, demand: Demand, instrument: Instrument, mode: Mode) -> bool:
    """Tell whether the instrument would fit at home on one connection beside what is wanted of the others."""
    if len(placement.loads) < placement.max_slots and placement.rule.room(EMPTY, mode):
        return True
    return any(
        placement.rule.fits(
            _counts([mode, *(demand.mode(other) for other in placement.homes(name) if other != instrument)])
        )
        for name in placement.loads
    )


def _rest_seconds(evictions: int, sockets: int) -> float:
    """Return for how long the pool may do without sockets that were thrown out, counted from the last time.

    Each eviction doubles the rest; of several permits one comes back after it, the next after another rest.
    """
    if not evictions:
        return 0.0
    first = min(MOST_EVICTED_SECONDS, EVICTED_SECONDS * 2.0 ** (evictions - 1))
    next_one = min(MOST_EVICTED_SECONDS, 2 * first)
    return max(EVICTION_SECONDS * evictions, first + (min(evictions, sockets) - 1) * next_one)


if __name__ == "__main__":
    sys.exit(play_seeds("swizzle", rehearse, __doc__))
