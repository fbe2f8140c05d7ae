"""Swizzle: whatever fails and returns, in whatever order, the pool keeps its promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brokerpool import Instrument, WebSocketPool
from brokerpool.feed.batch_plan import Planner
from brokerpool.feed.carried_modes import Occupancy
from brokerpool.feed.delivery import Delivery
from brokerpool.feed.reconcile_batches import Reconciler
from brokerpool.instruments import Token
from tests.simulation.seeds import Report
from tests.simulation.swizzle import rehearse

SEEDS, PER_TEST = 80, 20
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", range(0, SEEDS, PER_TEST))
def test_whatever_fails_and_returns_the_promises_hold(first: int) -> None:
    failed = [r for r in map(rehearse, range(first, first + PER_TEST)) if r.problems]
    assert not failed, "\n".join(map(str, failed))


def test_a_seed_replays_exactly_in_this_process_and_in_another_one() -> None:
    seeds = (3, 11, 42)
    here = [rehearse(seed).trace_hash for seed in seeds]
    assert [rehearse(seed).trace_hash for seed in seeds] == here
    assert len(set(here)) == len(seeds)
    program = (
        f"from tests.simulation.swizzle import rehearse; print(*(rehearse(s).trace_hash for s in {seeds}))"
    )
    for hash_seed in ("0", "4711"):
        there = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.split() == here


def caught(message: str, seeds: int = 40) -> Report:
    """Return the first report with the problem; the harness must find it within so many seeds."""
    reports = (rehearse(seed) for seed in range(seeds))
    return next(r for r in reports if any(message in problem for problem in r.problems))


def test_a_pool_that_keeps_its_gaps_to_itself_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(self: Delivery, instruments: list[Instrument], reason: str) -> None:
        pass

    monkeypatch.setattr(Delivery, "symbols_lost", silent)
    monkeypatch.setattr(Delivery, "_open_gaps", silent)
    report = caught("outside of any gap")
    assert f"--seed {report.seed}" in str(report)


def test_a_pool_that_forgets_to_close_a_gap_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Delivery, "_close_gaps", lambda self, instruments: None)
    caught("inside a gap that is open")


def test_a_pool_that_does_not_restore_one_symbol_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    restore = Reconciler.reset

    def reset(self: Reconciler) -> None:
        restore(self)
        if self._adds:
            del self._adds[next(iter(self._adds))]

    monkeypatch.setattr(Reconciler, "reset", reset)
    caught("is served as []")


def test_a_pool_that_subscribes_before_it_drops_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(self: Reconciler, token: Token) -> None:
        self._wanted.pop(token, None)
        self._adds.pop(token, None)

    monkeypatch.setattr(Reconciler, "drop", drop)
    caught("has no room for")


def test_a_pool_that_sends_modes_without_regard_to_the_rule_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Reconciler.__init__
    monkeypatch.setattr(Reconciler, "__init__", lambda self, rule=None: made(self))
    caught("has no room for", seeds=60)


def test_a_pool_that_plans_as_if_modes_counted_alike_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Occupancy, "change", lambda self, name, instrument, mode: None)
    caught("is served as")


def test_a_pool_that_refuses_what_would_fit_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Planner, "_rise_at_home", lambda self, hosted: None)
    caught("and there is room")


def test_a_pool_that_passes_every_copy_of_a_tick_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Delivery, "_deduplicated", lambda self, source, ticks: ticks)
    caught("comes twice")


def test_a_pool_that_covers_up_the_holes_between_two_sockets_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Delivery, "_tell_holes", lambda self, instruments, reason: None)
    caught("outside of any gap", seeds=200)


def test_a_pool_that_leaves_a_timer_behind_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless(WebSocketPool):
        async def close(self) -> None:
            await super().close()
            self._watch.start()

    report = rehearse(0, Careless)
    assert any("left behind" in problem for problem in report.problems)


def test_a_gap_with_a_wrong_edge_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Delivery._open_gaps

    def late(self: Delivery, instruments: list[Instrument], reason: str) -> None:
        clock = self._wall_clock
        self._wall_clock = lambda: clock() + 0.5
        opened(self, instruments, reason)
        self._wall_clock = clock

    monkeypatch.setattr(Delivery, "_open_gaps", late)
    caught("does not begin at the last tick")
