"""The reconciler against a broker that keeps count."""

from __future__ import annotations

from collections.abc import Collection

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokerpool.brokers.capacity import Capacity
from brokerpool.brokers.wire import ControlBatch
from brokerpool.feed.reconcile_batches import Reconciler
from brokerpool.ticks import Mode
from tests.capacity_rules import RULES, small_rules

CAPACITY = 3
tokens = st.integers(1, 5)
modes = st.sampled_from(list(Mode))


class BrokerMachine(RuleBasedStateMachine):
    """A broker that keeps count of what it is sent, with room for what whoever inherits says."""

    def __init__(self) -> None:
        super().__init__()
        self.reconciler = Reconciler()
        self.wanted: dict[int, Mode] = {}
        self.broker: dict[object, Mode] = {}

    @rule(size=st.integers(1, 4))
    def send(self, size: int) -> None:
        batch = self.reconciler.next_batch(size)
        if batch is not None:
            self._receive(batch)

    @rule(size=st.integers(1, 4))
    def send_everything(self, size: int) -> None:
        dropped: set[object] = set()
        for _ in range(100):
            batch = self.reconciler.next_batch(size)
            if batch is None:
                break
            assert len(batch.drop) + len(batch.add) + len(batch.remode) <= size
            again = dropped.intersection(batch.drop)
            assert not again, "nothing is dropped twice on the way"
            dropped.update(batch.drop)
            self._receive(batch)
        assert self.broker == self.wanted, "the broker serves exactly what is wanted"
        assert self.reconciler.pending == 0

    @rule()
    def lose_the_socket(self) -> None:
        self.broker.clear()
        self.reconciler.reset()

    def _receive(self, batch: ControlBatch) -> None:
        for token in batch.drop:
            del self.broker[token]  # a KeyError here would be a drop of what was never sent
        for token, mode in batch.add.items():
            assert token not in self.broker, "never subscribed twice"
            self._change(token, mode)
        for token, mode in batch.remode.items():
            assert self.broker[token] != mode, "a mode is sent only when it changes"
            self._change(token, mode)

    def _change(self, token: object, mode: Mode) -> None:
        self.broker[token] = mode
        assert self._fits(self.broker.values()), "never above the limit, not even for a moment"

    def _fits(self, carried: Collection[Mode]) -> bool:
        raise NotImplementedError

    @invariant()
    def sent_is_what_the_broker_has(self) -> None:
        assert self.reconciler.sent == self.broker
        assert self.reconciler.wanted == self.wanted


class ReconcileMachine(BrokerMachine):
    """A broker to which every mode is one."""

    @rule(token=tokens, mode=modes)
    def want(self, token: int, mode: Mode) -> None:
        if token in self.wanted or len(self.wanted) < CAPACITY:
            self.wanted[token] = mode
            self.reconciler.want(token, mode)

    @rule(token=tokens)
    def drop(self, token: int) -> None:
        self.wanted.pop(token, None)
        self.reconciler.drop(token)

    def _fits(self, carried: Collection[Mode]) -> bool:
        return len(carried) <= CAPACITY


class ModesMachine(BrokerMachine):
    """A broker that tells modes apart, and judges every change of every message by its rule."""

    @initialize(small=small_rules)
    def begin(self, small: Capacity) -> None:
        self.rule = small
        self.reconciler = Reconciler(small)

    @rule(changes=st.dictionaries(st.integers(1, 10), st.none() | modes, max_size=10))
    def want(self, changes: dict[int, Mode | None]) -> None:
        """Change what is wanted, several at once, wherever it all fits in the end."""
        after = {t: m for t, m in (self.wanted | changes).items() if m is not None}
        if not self._fits(after.values()):
            return
        for token in self.wanted.keys() - after.keys():
            self.reconciler.drop(token)
        for token, mode in after.items():
            if token in changes:
                self.reconciler.want(token, mode)
        self.wanted = after

    def _receive(self, batch: ControlBatch) -> None:
        held = set(batch.drop) & self.wanted.keys()
        if held:
            assert not self._fitting(), "what is wanted is dropped only where no change fits"
        if self.rule.by_mode:
            kinds = {(self.broker.get(t), m) for t, m in (*batch.add.items(), *batch.remode.items())}
            assert len(kinds) + bool(batch.drop) == 1, "a message is of one kind"
        super()._receive(batch)

    def _fits(self, carried: Collection[Mode]) -> bool:
        numbers = [0, 0, 0, 0]
        for mode in carried:
            numbers[mode] += 1
        return self.rule.fits(numbers)

    def _fitting(self) -> list[int]:
        """Return the tokens that the broker could take in the wanted mode now."""
        return [
            token
            for token, mode in self.wanted.items()
            if self.broker.get(token) != mode and self._fits((self.broker | {token: mode}).values())
        ]


TestModes = ModesMachine.TestCase


def test_two_thousand_prices_become_order_books_without_a_drop_of_more_than_must_be() -> None:
    upstox = RULES["upstox"]
    reconciler = Reconciler(upstox)
    for token in range(2000):
        reconciler.want(token, Mode.LTP)
    while reconciler.next_batch(500):
        pass
    for token in range(2000):
        reconciler.want(token, Mode.DEPTH)
    batches = []
    while batch := reconciler.next_batch(500):
        batches.append((len(batch.drop), len(batch.add), len(batch.remode)))
    assert batches == [(0, 0, 500)] * 3 + [(500, 0, 0), (0, 500, 0)]


TestReconcile = ReconcileMachine.TestCase
