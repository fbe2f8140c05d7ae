"""The account's permits: first come, first served, never more than there are, and none lost on the way."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from brokerpool.brokers.base import FeedLimits
from brokerpool.brokers.login import Credentials, Login
from brokerpool.feed import account_limits as account_module
from brokerpool.feed.account_limits import AccountLimits
from brokerpool.feed.dial_budget import DialPermit
from brokerpool.journal import Event, Journal
from tests.logins import NOW, Clock, Provider, run, turns
from tests.rehearsal import until

LIMITS = FeedLimits(
    symbols_per_connection=10,
    max_connections=3,
    batch_size=10,
    control_messages=(),
    account_messages=(),
    pings_counted=False,
    dials=(),
    socket_life_seconds=0,
    silence_seconds=5,
    depth_levels=5,
)


def account(login: Login | None = None, *, sockets: int = 1, journal: Journal | None = None) -> AccountLimits:
    login = login or Login(Credentials("monday"))
    return AccountLimits(
        login, LIMITS, sockets, Random(1), Journal() if journal is None else journal, Clock()
    )


def waiting(desk: AccountLimits, count: int) -> list[asyncio.Task[DialPermit | None]]:
    return [asyncio.create_task(desk.permit()) for _ in range(count)]


async def granted(task: asyncio.Task[DialPermit | None]) -> DialPermit:
    permit = await task
    assert permit is not None
    return permit


def test_permits_are_given_first_come_first_served_and_never_more_than_there_are() -> None:
    async def main() -> None:
        desk = account(sockets=2)
        line = waiting(desk, 5)
        for n in range(5):
            await turns()
            assert [task.done() for task in line] == [True] * min(5, n + 2) + [False] * (3 - n)
            desk.withdraw(await granted(line[n]))
        await turns()
        assert desk.budget.sockets == 0
        desk.end()
        await desk.ended()

    run(main)


def test_who_is_cancelled_in_the_line_holds_nobody_up() -> None:
    async def main() -> None:
        desk = account()
        first, second, third = waiting(desk, 3)
        await turns()
        second.cancel()
        await turns()
        desk.withdraw(await granted(first))
        desk.withdraw(await granted(third))
        assert second.cancelled()
        assert desk.budget.sockets == 0
        desk.end()
        await desk.ended()

    run(main)


def test_who_is_cancelled_in_the_very_turn_of_being_given_a_permit_leaves_none_taken() -> None:
    async def main() -> None:
        desk = account()
        first, second, third = waiting(desk, 3)
        await turns()
        desk.withdraw(await granted(first))  # gives the permit to the second
        second.cancel()
        await turns()
        assert second.cancelled()
        desk.withdraw(await granted(third))
        assert desk.budget.sockets == 0
        desk.end()
        await desk.ended()

    run(main)


def test_a_permit_that_comes_free_in_the_very_turn_of_a_cancellation_goes_to_the_next() -> None:
    async def main() -> None:
        desk = account()
        first, second, third = waiting(desk, 3)
        await turns()
        permit = await granted(first)
        second.cancel()
        desk.withdraw(permit)  # the second is still in the line, and cannot take it
        await asyncio.wait({second})
        assert second.cancelled(), "the cancellation arrives as one"
        desk.withdraw(await granted(third))
        assert desk.budget.sockets == 0
        desk.end()
        await desk.ended()

    run(main)


def test_a_refused_login_empties_the_line_and_gives_no_permit_until_it_is_renewed() -> None:
    async def main() -> None:
        login = Login(Credentials("monday"))
        desk = account(login)
        first, *line = waiting(desk, 3)
        await turns()
        login.refuse(1)
        assert [await task for task in line] == [None, None]
        desk.withdraw(await granted(first))
        assert await desk.permit() is None
        usable = asyncio.create_task(desk.usable())
        await turns()
        assert not usable.done()
        login.renew(Credentials("tuesday"))
        await usable
        desk.withdraw(await granted(asyncio.create_task(desk.permit())))
        assert desk.budget.sockets == 0
        desk.end()
        await desk.ended()

    run(main)


def test_who_is_cancelled_in_the_turn_of_a_refusal_ends_as_cancelled() -> None:
    async def main() -> None:
        for cancel_first in (True, False):
            login = Login(Credentials("monday"))
            desk = account(login)
            first, second = waiting(desk, 2)
            await turns()
            if cancel_first:
                second.cancel()
            login.refuse(1)
            if not cancel_first:
                second.cancel()
            await asyncio.wait({second})
            assert second.cancelled()
            desk.withdraw(await granted(first))
            desk.end()
            await desk.ended()

    run(main)


def test_a_permit_is_not_used_for_credentials_that_were_refused_in_the_turn_in_which_it_was_given() -> None:
    async def main() -> None:
        login = Login(Credentials("monday"))
        desk = account(login)
        first, second = waiting(desk, 2)
        await turns()
        desk.withdraw(await granted(first))  # gives the permit to the second, which does not know of it yet
        assert not second.done()
        assert desk.budget.sockets == 1
        login.refuse(1)
        assert await second is None
        assert desk.budget.sockets == 0
        desk.end()
        await desk.ended()

    run(main)


def test_new_credentials_are_noted_and_end_no_retry_after() -> None:
    async def main() -> None:
        login, journal = Login(Credentials("monday")), Journal()
        desk = account(login, journal=journal)
        desk.failed(await granted(asyncio.create_task(desk.permit())), retry_after=3600.0, busy=True)
        (held,) = waiting(desk, 1)
        await turns()
        assert not held.done()
        login.renew(Credentials("tuesday"))
        await turns()
        assert not held.done(), "that is the broker's word"
        held.cancel()
        assert [(e.event, e.reason) for e in journal.entries()] == [(Event.RENEWED, "credentials version 2")]
        desk.end()
        await desk.ended()

    run(main)


def test_in_doubt_the_line_moves_when_the_scout_has_stood_for_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        monkeypatch.setattr(account_module, "FOLLOW_SECONDS", 0.1)
        desk = account(sockets=3)
        desk.failed(await granted(asyncio.create_task(desk.permit())), retry_after=0.0, busy=False)
        line = waiting(desk, 3)
        await until(lambda: line[0].done())
        scout = await granted(line[0])
        desk.opened(scout)
        await asyncio.sleep(0.05)
        assert not line[1].done()
        await until(lambda: all(task.done() for task in line))
        for task in line:
            desk.withdraw(await granted(task))
        desk.end()
        await desk.ended()

    run(main)


@pytest.mark.parametrize("socket", ["opened", "trusted"])
def test_a_closed_account_leaves_no_timer_no_task_and_no_watcher(
    socket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr(account_module, "FOLLOW_SECONDS", 0.0 if socket == "trusted" else 0.02)
        provider = Provider()
        login = Login(Credentials("monday", NOW), provider)
        desk = account(login, sockets=2)
        permit = await granted(asyncio.create_task(desk.permit()))
        desk.opened(permit)
        if socket == "trusted":
            await until(lambda: permit.trusted)
        desk.failed(await granted(asyncio.create_task(desk.permit())), retry_after=0.02, busy=False)
        (held,) = waiting(desk, 1)
        await turns()
        assert provider.open == 1
        held.cancel()
        await asyncio.wait({held})
        desk.end()
        await desk.ended()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        admitted: list[float] = []
        monkeypatch.setattr(desk.budget, "wait", admitted.append)
        monkeypatch.setattr(desk.budget, "trust", admitted.append)
        login.renew(Credentials("tuesday"))
        await asyncio.sleep(0.05)  # longer than each of the timers
        assert admitted == []

    run(main)
