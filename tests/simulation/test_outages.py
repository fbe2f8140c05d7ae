"""Outages in virtual time, many seeds of each: how often is dialled, and how soon all is well again."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

from brokerpool import PoolListener
from brokerpool.brokers.login import Credentials
from brokerpool.testing.scripted_broker import Refusal
from brokerpool.testing.virtual_loop import run
from tests.simulation.stage import KITE_WINDOWS, Stage, stage

SEEDS = 25
SOCKETS = 3


class Dials(PoolListener):
    """Notes when each connection dials."""

    def __init__(self, scene: Stage) -> None:
        self._scene = scene
        self.log: list[tuple[float, str]] = []
        scene.pool.listen(self)

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        if state == "dialling":
            self.log.append((self._scene.loop.time(), name))

    def since(self, at: float, seconds: float = 1e9) -> list[tuple[float, str]]:
        return [(when, name) for when, name in self.log if at <= when < at + seconds]

    def most_of_one_socket(self, at: float, seconds: float) -> int:
        return max(Counter(name for _, name in self.since(at, seconds)).values(), default=0)


def shared_buckets(dials: list[tuple[float, str]]) -> float:
    """Return the share of 100 ms buckets with dials in which two sockets dial."""
    buckets: dict[int, set[str]] = {}
    for when, name in dials:
        buckets.setdefault(int(when * 10), set()).add(name)
    return sum(len(names) > 1 for names in buckets.values()) / len(buckets) if buckets else 0.0


async def everything_live(scene: Stage) -> Dials:
    dials = Dials(scene)
    scene.pool.subscribe(scene.feed.instruments)
    await scene.until(lambda: len(scene.broker.sockets) == SOCKETS and scene.all_live(), 30)
    await asyncio.sleep(15)  # every socket has proven itself
    return dials


@pytest.mark.parametrize(("how", "restored_within"), [("refused", 10.0), ("unreachable", 20.0)])
def test_a_broker_that_is_gone_for_a_minute_is_dialled_sparingly_and_everything_is_back_soon(
    how: str, restored_within: float
) -> None:
    restored: list[float] = []
    per_minute: list[int] = []
    total: list[int] = []
    shared: list[float] = []

    async def main(seed: int) -> None:
        async with stage(seed, limits=KITE_WINDOWS) as scene:
            dials = await everything_live(scene)
            lost = scene.loop.time()
            scene.broker.down = how
            scene.broker.kill_all()
            await asyncio.sleep(60)
            per_minute.append(dials.most_of_one_socket(lost, 60))
            total.append(len(dials.since(lost)))
            scene.broker.heal()
            restored.append(await scene.until(lambda: scene.all_live() and scene.pool.connected, 60))
            shared.append(shared_buckets(dials.since(lost)))

    for seed in range(SEEDS):
        run(lambda seed=seed: main(seed))  # type: ignore[misc]  # mypy: a default is no type
    print(
        f"{SEEDS} outages of 60 s ({how}): at most {max(per_minute)} dials of one socket and {max(total)} of"
        f" all; two sockets in the same 100 ms in at most {max(shared):.0%} of the cases;"
        f" restored after {sum(restored) / SEEDS:.1f} s on average and {max(restored):.1f} s at most"
    )
    assert max(per_minute) <= 10
    assert max(shared) <= 0.30
    assert max(restored) <= restored_within


@pytest.mark.parametrize("snapshots", [False, True], ids=["silent", "with a snapshot"])
def test_a_broker_that_accepts_and_hangs_up_is_dialled_ever_more_seldom(snapshots: bool) -> None:
    minutes: list[Counter[int]] = []
    waits: list[list[float]] = []

    async def main(seed: int) -> None:
        near = {"latency": (0.001, 0.004), "snapshots": snapshots}
        async with stage(seed, limits=KITE_WINDOWS, broker=near) as scene:
            dials = Dials(scene)
            scene.broker.flap = 0.05
            begun = scene.loop.time()
            scene.pool.subscribe(scene.feed.instruments)
            await asyncio.sleep(600)
            minutes.append(Counter(int((when - begun) / 60) for when, _ in dials.log))
            times = [when for when, _ in dials.log]
            waits.append([later - earlier for earlier, later in pairwise(times)])
            if snapshots:
                assert any(c["ticks"] for c in scene.pool.get_pool_stats()["websocket"]["per_connection"])

    for seed in range(SEEDS):
        run(lambda seed=seed: main(seed))  # type: ignore[misc]  # mypy: a default is no type
    means = [sum(count[minute] for count in minutes) / SEEDS for minute in range(10)]
    # The sockets that were dialled before the first one was lost stand at the beginning.
    growing = [sum(wait[n] for wait in waits) / SEEDS for n in range(SOCKETS - 1, SOCKETS + 3)]
    print(
        f"{SEEDS} flapping brokers ({'with' if snapshots else 'without'} a snapshot), pool of {SOCKETS}:"
        f" at most {max(count[0] for count in minutes)} dials in the first minute, then"
        f" {max(means[2:]):.1f} a minute on average at most;"
        f" waits of {', '.join(f'{wait:.1f}' for wait in growing)} s on average"
    )
    assert max(count[0] for count in minutes) <= 12
    assert max(means[2:]) <= 3
    assert growing == sorted(growing), "each wait is longer than the one before"


@pytest.mark.parametrize("politely", [True, False], ids=["with a reason", "without a word"])
def test_a_dead_token_is_dialled_with_at_most_three_times_and_a_new_one_restores_everything(
    politely: bool,
) -> None:
    dead: list[int] = []
    restored: list[float] = []

    async def main(seed: int) -> None:
        async with stage(seed, limits=KITE_WINDOWS) as scene:
            dials = await everything_live(scene)
            scene.broker.expire("day-2", politely=politely)
            died = scene.loop.time()
            await asyncio.sleep(60)
            assert dials.most_of_one_socket(died, 60) <= 3
            dead.append(len(dials.since(died)))
            parked = scene.loop.time()
            await asyncio.sleep(600)
            assert dials.since(parked) == [], "a token that is known to be dead is never dialled with"
            scene.feed.login.renew(Credentials("day-2"))
            restored.append(await scene.until(lambda: scene.all_live() and scene.pool.connected, 30))

    for seed in range(SEEDS):
        run(lambda seed=seed: main(seed))  # type: ignore[misc]  # mypy: a default is no type
    print(
        f"{SEEDS} dead tokens ({'with' if politely else 'without'} a reason): at most {max(dead)} dials of"
        f" {SOCKETS} sockets with the dead token; restored {max(restored):.1f} s after the new one at most"
    )
    assert max(restored) <= 5


def test_nobody_dials_before_retry_after_has_passed() -> None:
    earliest: list[float] = []

    async def main(seed: int) -> None:
        async with stage(seed, limits=KITE_WINDOWS) as scene:
            dials = await everything_live(scene)
            scene.broker.refusal = Refusal(429, retry_after=7, count=3)
            scene.broker.kill_all()
            await asyncio.sleep(60)
            refused = [r.at for r in scene.broker.ledger.dials if "429" in r.outcome]
            after = [when for when, _ in dials.since(refused[-1] + 0.01)]
            earliest.append(min(after) - refused[-1])
            await scene.until(scene.all_live, 30)

    for seed in range(SEEDS):
        run(lambda seed=seed: main(seed))  # type: ignore[misc]  # mypy: a default is no type
    print(f"{SEEDS} storms of 429 with Retry-After 7: no dial came sooner than after {min(earliest):.2f} s")
    assert min(earliest) >= 7  # the broker's own ledger has checked every dial besides


@pytest.mark.parametrize("login", [False, True], ids=["the operator's word", "a new token"])
def test_good_news_wake_a_connection_that_rests_by_itself_while_others_are_live(login: bool) -> None:
    restored: list[float] = []

    async def main(seed: int) -> None:
        async with stage(seed, limits=KITE_WINDOWS) as scene:
            await everything_live(scene)
            scene.broker.down = "refused"
            scene.broker.sockets[0].kill()
            await asyncio.sleep(300)
            assert len(scene.broker.sockets) == SOCKETS - 1, "the others stand"
            scene.broker.heal()
            if login:
                scene.broker.issue("day-2")
                scene.feed.login.renew(Credentials("day-2"))
            else:
                scene.pool.renew()
            restored.append(await scene.until(lambda: len(scene.broker.sockets) == SOCKETS, 90))
            await scene.until(scene.all_live, 30)

    for seed in range(SEEDS // 3):
        run(lambda seed=seed: main(seed))  # type: ignore[misc]  # mypy: a default is no type
    print(f"{len(restored)} rests of up to 60 s: dialled {max(restored):.1f} s after it at most")
    assert max(restored) <= 5
