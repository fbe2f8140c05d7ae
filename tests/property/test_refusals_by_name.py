"""Refusals that cross requests on their way: in the end pool and broker agree on what is served."""

from __future__ import annotations

from collections import deque

from hypothesis import example, given
from hypothesis import strategies as st

from brokerpool import Instrument, Mode, Tick
from brokerpool.brokers.wire import ControlBatch
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.subscriptions import Subscriptions

TOKENS = range(4)
SYMBOLS = {token: Instrument("NSE", f"S{token}") for token in TOKENS}
BATCH = 2

#: A token and the mode in which it is wanted from now on, None for not at all; or a step of the line.
Step = tuple[int, Mode | None] | str
STEPS = st.lists(
    st.tuples(st.sampled_from(TOKENS), st.none() | st.sampled_from(list(Mode)))
    | st.sampled_from(["send", "send", "arrive", "arrive", "answer", "tick"]),
    max_size=40,
)


class Line:
    """A socket's subscriptions, a broker that refuses, and what is under way in both directions."""

    def __init__(self, refused: dict[int, Mode]) -> None:
        self.subscriptions = Subscriptions()
        self.refused = refused
        self.served: dict[int, Mode] = {}
        self.requests: deque[ControlBatch] = deque()
        self.refusals: deque[list[int]] = deque()
        self.wanted: dict[int, Mode] = {}
        self.sent = 0

    def want(self, token: int, mode: Mode | None) -> None:
        if mode is not None:
            self.wanted[token] = mode
            self.subscriptions.want(token, SYMBOLS[token], mode, 0.0)
        elif self.wanted.pop(token, None) is not None:
            self.subscriptions.drop(token)

    def send(self) -> bool:
        batch = self.subscriptions.next_batch(BATCH)
        if batch is None:
            return False
        self.subscriptions.told(batch, 0.0)
        self.requests.append(batch)
        self.sent += 1
        return True

    def arrive(self) -> bool:
        if not self.requests:
            return False
        batch, no = self.requests.popleft(), []
        for token in batch.drop:
            self.served.pop(int(token), None)
        for token, mode in {**batch.add, **batch.remode}.items():
            token = int(token)
            if mode >= self.refused.get(token, 99) or (token in batch.remode and token not in self.served):
                no.append(token)
            else:
                self.served[token] = mode
        if no:
            self.refusals.append(no)
        return True

    def answer(self) -> bool:
        if not self.refusals:
            return False
        self.subscriptions.refuse(self.refusals.popleft(), "no", 0.0)
        return True

    def tick(self) -> None:
        routes = self.subscriptions.routes
        if not self.refusals:  # what is said on one socket arrives in order
            self.subscriptions.arrived([Tick(routes[t], 1.0, 1) for t in self.served if t in routes])

    def play(self, step: Step) -> None:
        if isinstance(step, str):
            getattr(self, step)()
        else:
            self.want(*step)

    def settle(self) -> None:
        while self.send() or self.arrive() or self.answer():
            assert self.sent < 200, "the broker is asked again and again"
        self.tick()


@given(STEPS, st.dictionaries(st.sampled_from(TOKENS), st.sampled_from(list(Mode))))
@example([(0, Mode.DEPTH), "send", (0, Mode.LTP), "send"], {0: Mode.DEPTH})
@example([(0, Mode.LTP), "send", "arrive", "tick", (0, Mode.DEPTH), "send", (0, None)], {0: Mode.DEPTH})
@example(
    [
        (3, Mode.QUOTE),
        "send",
        "arrive",
        (3, Mode.LTP),
        "send",
        "answer",
        "send",
        "arrive",
        "answer",
        (3, None),
    ],
    {3: Mode.QUOTE},
)
@example([(1, Mode.LTP), "send", (1, None), "arrive", "answer", (1, Mode.LTP)], {1: Mode.LTP})
def test_what_is_wanted_is_served_or_stands_refused(steps: list[Step], refused: dict[int, Mode]) -> None:
    line = Line(refused)
    for step in steps:
        line.play(step)
    line.settle()
    for token, mode in line.wanted.items():
        state = line.subscriptions.state(token, 0.0)
        if mode >= refused.get(token, 99):
            assert state is (SymbolState.LIVE if token in line.served else SymbolState.REFUSED)
        else:
            assert (line.served.get(token), state) == (mode, SymbolState.LIVE)
    assert set(line.served) <= set(line.wanted), "the broker serves what nobody wants"
