"""The reconciler against a broker that keeps count."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokerpool.brokers.wire import ControlBatch
from brokerpool.feed.reconcile import Reconciler
from brokerpool.ticks import Mode

CAPACITY = 3
tokens = st.integers(1, 5)
modes = st.sampled_from(list(Mode))


class ReconcileMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.reconciler = Reconciler()
        self.wanted: dict[int, Mode] = {}
        self.broker: dict[object, Mode] = {}

    @rule(token=tokens, mode=modes)
    def want(self, token: int, mode: Mode) -> None:
        if token in self.wanted or len(self.wanted) < CAPACITY:
            self.wanted[token] = mode
            self.reconciler.want(token, mode)

    @rule(token=tokens)
    def drop(self, token: int) -> None:
        self.wanted.pop(token, None)
        self.reconciler.drop(token)

    @rule(size=st.integers(1, 4))
    def send(self, size: int) -> None:
        batch = self.reconciler.next_batch(size)
        if batch is not None:
            self._receive(batch)

    @rule()
    def lose_the_socket(self) -> None:
        self.broker.clear()
        self.reconciler.reset()

    @rule(size=st.integers(1, 4))
    def send_everything(self, size: int) -> None:
        while (batch := self.reconciler.next_batch(size)) is not None:
            assert len(batch.drop) + len(batch.add) + len(batch.remode) <= size
            self._receive(batch)
        assert self.broker == self.wanted, "the broker serves exactly what is wanted"
        assert self.reconciler.pending == 0

    def _receive(self, batch: ControlBatch) -> None:
        for token in batch.drop:
            del self.broker[token]  # a KeyError here would be a drop of what was never sent
        for token, mode in batch.add.items():
            assert token not in self.broker, "never subscribed twice"
            self.broker[token] = mode
            assert len(self.broker) <= CAPACITY, "never above the limit, not even for a moment"
        for token, mode in batch.remode.items():
            assert self.broker[token] != mode, "a mode is sent only when it changes"
            self.broker[token] = mode

    @invariant()
    def sent_is_what_the_broker_has(self) -> None:
        assert self.reconciler.sent == self.broker
        assert self.reconciler.wanted == self.wanted


TestReconcile = ReconcileMachine.TestCase
