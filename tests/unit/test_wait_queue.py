"""Moments of waiting that chance meets too seldom, each in virtual time at the queue of an HTTP client."""

from __future__ import annotations

import asyncio

import pytest

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.http.call_queue import Lane, Queue, Ticket
from brokerpool.http.ratelimit import RateLimiter, RateLimits
from brokerpool.testing.virtual_loop import run
from brokerpool.wait_queue import Waiting, WaitTally
from tests.simulation.cancellation import Caller, cancel_at_every_step


class ClosedError(Exception):
    """What those who wait are told at the end."""


def call(group: str, *, lane: Lane = Lane.QUERY, weight: int = 1) -> Ticket:
    return Ticket("a", group, lane, weight, "GET /x", "me", asyncio.get_running_loop().time())


def client(most: int, *, size: int = 2) -> tuple[Queue, Waiting[Ticket]]:
    limiter = RateLimiter(RateLimits({"quote": (RateWindow(3, 1.0),)}, margin=0))
    limiter.hold("held", asyncio.get_running_loop().time(), sent_at=0, retry_after=60)
    queue = Queue(limiter, size=size, max_waiting=most, max_hosts=1)
    queue.open_host("a")
    return queue, Waiting(queue, WaitTally())


async def send(queue: Queue, waiting: Waiting[Ticket], ticket: Ticket) -> None:
    """Carry out a call that takes no time."""
    await waiting.wait(ticket, 0)
    now = asyncio.get_running_loop().time()
    queue.sent(ticket, now)
    waiting.release(ticket, now)


@pytest.mark.parametrize("ends", ["cancelled", "out of time"])
def test_a_heavy_call_that_goes_away_lets_the_light_one_behind_it_go_at_once(ends: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue, waiting = client(most=9)
        await send(queue, waiting, call("quote"))
        heavy = asyncio.create_task(waiting.wait(call("quote", weight=3), 0.5))
        await asyncio.sleep(0)
        light = asyncio.create_task(waiting.wait(call("quote"), 9))
        began = loop.time()
        if ends == "cancelled":
            loop.call_later(0.5, heavy.cancel)
        await light
        assert loop.time() - began == 0.5
        await asyncio.wait([heavy])
        with pytest.raises((asyncio.CancelledError, TimeoutError)):
            await heavy

    run(main)


def test_a_call_that_is_refused_for_a_full_lane_puts_off_nobody_behind_it() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue, waiting = client(most=1)
        began = loop.time()
        await send(queue, waiting, call("quote", weight=2))
        await asyncio.sleep(0.5)
        await send(queue, waiting, call("quote"))
        light = asyncio.create_task(waiting.wait(call("quote"), 9))
        other = asyncio.create_task(waiting.wait(call("held", lane=Lane.CANCEL), 9))
        await asyncio.sleep(0)
        with pytest.raises(asyncio.QueueFull):
            await waiting.wait(call("quote", lane=Lane.CANCEL, weight=3), 9)
        await light
        assert loop.time() - began == 1.0
        other.cancel()
        await asyncio.wait([other])

    run(main)


def test_when_all_who_wait_are_told_an_error_no_timer_is_left() -> None:
    async def main() -> None:
        queue, waiting = client(most=9)
        await send(queue, waiting, call("quote", weight=3))
        waits = asyncio.create_task(waiting.wait(call("quote"), 9))
        await asyncio.sleep(0.25)
        waiting.fail_all(ClosedError)
        with pytest.raises(ClosedError):
            await waits

    run(main)  # fails for what is left behind


def test_a_grant_in_the_very_moment_in_which_the_time_is_up_counts() -> None:
    async def main() -> None:
        queue, waiting = client(most=9, size=1)
        holder, late = call("free"), call("free")
        await waiting.wait(holder, 1)
        waits = asyncio.create_task(waiting.wait(late, 0.5))
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        loop.call_at(loop.time() + 0.5, waiting.release, holder, loop.time() + 0.5)  # after the time-out
        await waits
        assert queue.holders() == [late]

    run(main)


@pytest.mark.parametrize("end", ["granted", "granted by time", "failed"])
def test_wherever_a_caller_is_cancelled_it_leaves_nothing_and_the_next_one_goes(end: str) -> None:
    async def scenario(caller: Caller) -> None:
        loop = asyncio.get_running_loop()
        queue, waiting = client(most=9, size=1)
        if end == "granted by time":
            await send(queue, waiting, call("quote", weight=3))
        else:
            holder = call("quote")
            await waiting.wait(holder, 1)
            queue.sent(holder, loop.time())
            loop.call_later(0.5, waiting.release, holder, loop.time() + 0.5)
        if end == "failed":
            loop.call_later(0.25, waiting.fail_all, ClosedError)

        async def calls() -> None:
            ticket = call("quote")
            try:
                await waiting.wait(ticket, 9)
            except ClosedError:
                return
            waiting.release(ticket, loop.time())

        second = asyncio.create_task(calls())
        await caller.call(calls())
        await second
        await asyncio.sleep(1)
        assert not queue.waiting()
        assert not queue.holders()

    assert cancel_at_every_step(scenario) > 3
