"""The whole pool as a state machine: after any sequence of events the broker serves exactly the demand."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokerpool import Instrument, Mode, PoolExhaustedError
from brokerpool.simulator.fault_switches import Refuse
from tests.rehearsal import demanded, instruments, rehearsal, served, until

SYMBOLS, PER_CONNECTION, CONNECTIONS = 14, 4, 3
owners = st.sampled_from(["a", "b", "c"])
numbers = st.integers(0, SYMBOLS - 1)
modes = st.sampled_from(list(Mode))


class PoolMachine(RuleBasedStateMachine):
    """Clients, sockets and the broker come and go in any order; some rules let the network settle."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model: set[tuple[str, int, Mode]] = set()

    @initialize()
    def open(self) -> None:
        self.stack = rehearsal(
            max_symbols=PER_CONNECTION,
            max_connections=CONNECTIONS,
            linger=0.02,
            symbols=SYMBOLS,
            max_tokens=PER_CONNECTION,
            max_sockets=CONNECTIONS,
        )
        self.broker, self.pool = self.runner.run(self.stack.__aenter__())
        self.every: list[Instrument] = instruments(self.broker)

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.runner.run(self._close())
        self.runner.close()

    async def _close(self) -> None:
        try:
            await self._settle()
            stats = self.broker.stats()
        finally:
            await self.stack.__aexit__(None, None, None)
        assert stats["violations"] == {"tokens": 0, "sockets": 0}, "a limit was exceeded at some moment"
        assert stats["peak_tokens_per_socket"] <= PER_CONNECTION
        assert stats["peak_sockets"] <= CONNECTIONS

    @rule(owner=owners, batch=st.lists(numbers, max_size=8), mode=modes, partial=st.booleans())
    def subscribe(self, owner: str, batch: list[int], mode: Mode, partial: bool) -> None:
        placed = {n for _, n, _ in self.model}
        room = PER_CONNECTION * CONNECTIONS - len(placed)
        fresh = [n for n in dict.fromkeys(batch) if n not in placed]

        async def call() -> list[int]:
            wanted = [self.every[n] for n in batch]
            if len(fresh) > room and not partial:
                with pytest.raises(PoolExhaustedError) as caught:
                    self.pool.subscribe(wanted, mode, owner=owner)
                assert len(caught.value.refused) == len(fresh) - room
                return []
            result = self.pool.subscribe(wanted, mode, owner=owner, partial=partial)
            assert [self.every.index(r.instrument) for r in result.refused] == fresh[room:]
            return [self.every.index(i) for i in result.accepted]

        self.model |= {(owner, n, mode) for n in self.runner.run(call())}

    @rule(owner=owners, batch=st.lists(numbers, max_size=8), mode=st.none() | modes)
    def unsubscribe(self, owner: str, batch: list[int], mode: Mode | None) -> None:
        async def call() -> None:
            self.pool.unsubscribe([self.every[n] for n in batch], mode, owner=owner)

        self.runner.run(call())
        self.model -= {
            want for want in self.model if want[0] == owner and want[1] in batch and mode in (None, want[2])
        }

    @rule(owner=owners)
    def lose_a_client(self, owner: str) -> None:
        async def call() -> None:
            self.pool.release(owner)

        self.runner.run(call())
        self.model = {want for want in self.model if want[0] != owner}

    @rule(which=st.integers(0, CONNECTIONS), politely=st.booleans())
    def lose_a_socket(self, which: int, politely: bool) -> None:
        async def call() -> None:
            open_now = [socket["id"] for socket in self.broker.sockets()]
            if which < len(open_now):
                (self.broker.close_socket if politely else self.broker.kill)(open_now[which])

        self.runner.run(call())

    @rule(count=st.integers(1, 3))
    def refuse_dials(self, count: int) -> None:
        self.broker.faults.refuse = Refuse(503, count=count)

    @rule()
    def let_the_network_breathe(self) -> None:
        self.runner.run(asyncio.sleep(0.003))

    @rule()
    def settle(self) -> None:
        self.runner.run(self._settle())

    async def _settle(self) -> None:
        await until(lambda: served(self.broker) == demanded(self.pool))
        sockets = self.broker.sockets()
        assert sum(socket["entries"] for socket in sockets) == len(served(self.broker)), "served once each"

    @invariant()
    def the_demand_is_the_sum_of_what_the_owners_hold(self) -> None:
        if not hasattr(self, "pool"):
            return
        wanted: dict[Instrument, Mode] = {}
        for _, n, mode in self.model:
            wanted[self.every[n]] = max(mode, wanted.get(self.every[n], mode))
        assert {i: self.pool.demand.mode(i) for i in self.pool.demand.instruments()} == wanted


TestPool = PoolMachine.TestCase
TestPool.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
