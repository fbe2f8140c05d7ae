"""The account's permits: first come, first served, never more than there are, and none lost on the way."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Credentials, Login
from brokerpool.event_journal import Event, Journal
from brokerpool.feed import account_limits as account_module
from brokerpool.feed.account_limits import AccountLimits
from brokerpool.feed.dial_permits import DialPermit
from tests.clock import Clock
from tests.logins import NOW, Provider, run, turns
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
        login, LIMITS, sockets, Random(1), Journal() if journal is None else journal, Clock(NOW)
    )


def waiting(limits: AccountLimits, count: int) -> list[asyncio.Task[DialPermit | None]]:
    return [asyncio.create_task(limits.permit()) for _ in range(count)]


async def granted(task: asyncio.Task[DialPermit | None]) -> DialPermit:
    permit = await task
    assert permit is not None
    return permit


def test_permits_are_given_first_come_first_served_and_never_more_than_there_are() -> None:
    async def main() -> None:
        limits = account(sockets=2)
        line = waiting(limits, 5)
        for n in range(5):
            await turns()
            assert [task.done() for task in line] == [True] * min(5, n + 2) + [False] * (3 - n)
            limits.withdraw(await granted(line[n]))
        await turns()
        assert limits.budget.sockets == 0
        limits.end()
        await limits.ended()

    run(main)


def test_who_is_cancelled_in_the_line_holds_nobody_up() -> None:
    async def main() -> None:
        limits = account()
        first, second, third = waiting(limits, 3)
        await turns()
        second.cancel()
        await turns()
        limits.withdraw(await granted(first))
        limits.withdraw(await granted(third))
        assert second.cancelled()
        assert limits.budget.sockets == 0
        limits.end()
        await limits.ended()

    run(main)


def test_who_is_cancelled_in_the_very_turn_of_being_given_a_permit_leaves_none_taken() -> None:
    async def main() -> None:
        limits = account()
        first, second, third = waiting(limits, 3)
        await turns()
        limits.withdraw(await granted(first))  # gives the permit to the second
        second.cancel()
        await turns()
        assert second.cancelled()
        limits.withdraw(await granted(third))
        assert limits.budget.sockets == 0
        limits.end()
        await limits.ended()

    run(main)


def test_a_permit_that_comes_free_in_the_very_turn_of_a_cancellation_goes_to_the_next() -> None:
    async def main() -> None:
        limits = account()
        first, second, third = waiting(limits, 3)
        await turns()
        permit = await granted(first)
        second.cancel()
        limits.withdraw(permit)  # the second is still in the line, and cannot take it
        await asyncio.wait({second})
        assert second.cancelled(), "the cancellation arrives as one"
        limits.withdraw(await granted(third))
        assert limits.budget.sockets == 0
        limits.end()
        await limits.ended()

    run(main)


def test_a_refused_login_empties_the_line_and_gives_no_permit_until_it_is_renewed() -> None:
    async def main() -> None:
        login = Login(Credentials("monday"))
        limits = account(login)
        first, *line = waiting(limits, 3)
        await turns()
        login.refuse(1)
        assert [await task for task in line] == [None, None]
        limits.withdraw(await granted(first))
        assert await limits.permit() is None
        usable = asyncio.create_task(limits.usable())
        await turns()
        assert not usable.done()
        login.renew(Credentials("tuesday"))
        await usable
        limits.withdraw(await granted(asyncio.create_task(limits.permit())))
        assert limits.budget.sockets == 0
        limits.end()
        await limits.ended()

    run(main)


def test_who_is_cancelled_in_the_turn_of_a_refusal_ends_as_cancelled() -> None:
    async def main() -> None:
        for cancel_first in (True, False):
            login = Login(Credentials("monday"))
            limits = account(login)
            first, second = waiting(limits, 2)
            await turns()
            if cancel_first:
                second.cancel()
            login.refuse(1)
            if not cancel_first:
                second.cancel()
            await asyncio.wait({second})
            assert second.cancelled()
            limits.withdraw(await granted(first))
            limits.end()
            await limits.ended()

    run(main)


def test_a_permit_is_not_used_for_credentials_that_were_refused_in_the_turn_in_which_it_was_given() -> None:
    async def main() -> None:
        login = Login(Credentials("monday"))
        limits = account(login)
        first, second = waiting(limits, 2)
        await turns()
        limits.withdraw(await granted(first))  # gives the permit to the second, which does not know of it yet
        assert not second.done()
        assert limits.budget.sockets == 1
        login.refuse(1)
        assert await second is None
        assert limits.budget.sockets == 0
        limits.end()
        await limits.ended()

    run(main)


def test_new_credentials_are_noted_and_end_no_retry_after() -> None:
    async def main() -> None:
        login, journal = Login(Credentials("monday")), Journal()
        limits = account(login, journal=journal)
        limits.failed(await granted(asyncio.create_task(limits.permit())), retry_after=3600.0, busy=True)
        (held,) = waiting(limits, 1)
        await turns()
        assert not held.done()
        login.renew(Credentials("tuesday"))
        await turns()
        assert not held.done(), "that is the broker's word"
        held.cancel()
        assert [(e.event, e.reason) for e in journal.entries()] == [(Event.RENEWED, "credentials version 2")]
        limits.end()
        await limits.ended()

    run(main)


def test_in_doubt_the_line_moves_when_the_scout_has_stood_for_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        monkeypatch.setattr(account_module, "FOLLOW_SECONDS", 0.1)
        limits = account(sockets=3)
        limits.failed(await granted(asyncio.create_task(limits.permit())), retry_after=0.0, busy=False)
        line = waiting(limits, 3)
        await until(lambda: line[0].done())
        scout = await granted(line[0])
        limits.opened(scout)
        await asyncio.sleep(0.05)
        assert not line[1].done()
        await until(lambda: all(task.done() for task in line))
        for task in line:
            limits.withdraw(await granted(task))
        limits.end()
        await limits.ended()

    run(main)


@pytest.mark.parametrize("socket", ["opened", "trusted"])
def test_a_closed_account_leaves_no_timer_no_task_and_no_watcher(
    socket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr(account_module, "FOLLOW_SECONDS", 0.0 if socket == "trusted" else 0.02)
        provider = Provider()
        login = Login(Credentials("monday", NOW), provider)
        limits = account(login, sockets=2)
        permit = await granted(asyncio.create_task(limits.permit()))
        limits.opened(permit)
        if socket == "trusted":
            await until(lambda: permit.trusted)
        limits.failed(await granted(asyncio.create_task(limits.permit())), retry_after=0.02, busy=False)
        (held,) = waiting(limits, 1)
        await turns()
        assert provider.open == 1
        held.cancel()
        await asyncio.wait({held})
        limits.end()
        await limits.ended()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        admitted: list[float] = []
        monkeypatch.setattr(limits.budget, "wait", admitted.append)
        monkeypatch.setattr(limits.budget, "trust", admitted.append)
        login.renew(Credentials("tuesday"))
        await asyncio.sleep(0.05)  # longer than each of the timers
        assert admitted == []

    run(main)
