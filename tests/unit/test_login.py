"""The account's credentials and seats: asked for by one, waited for by many, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from brokerpool.brokers import login as login_module
from brokerpool.brokers import retry_pacing
from brokerpool.brokers.base import FeedLimits
from brokerpool.brokers.login import Credentials, Login
from brokerpool.feed import account as account_module
from brokerpool.feed import renewal as renewal_module
from brokerpool.feed.account import Account
from brokerpool.feed.dialling import Seat
from brokerpool.feed.renewal import Renewal
from brokerpool.monitor.journal import Event, Journal
from tests.rehearsal import no_task_dies, until

NOW = 1_700_000_000.0
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


class Provider:
    """Answers when the test lets it; counts the questions that are open and the most at one time."""

    def __init__(self) -> None:
        self.questions: list[asyncio.Future[Credentials]] = []
        self.open = self.most = 0

    async def __call__(self) -> Credentials:
        question: asyncio.Future[Credentials] = asyncio.get_running_loop().create_future()
        self.questions.append(question)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            return await question
        finally:
            self.open -= 1

    def answer(self, token: str, expires_at: float | None = None) -> None:
        self.questions[-1].set_result(Credentials(token, expires_at))


async def turns(count: int = 5) -> None:
    """Let everything that is due happen."""
    for _ in range(count):
        await asyncio.sleep(0)


def run(main: Callable[[], Any]) -> None:
    async def checked() -> None:
        async with no_task_dies():
            await main()
            await turns()
            assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind"

    asyncio.run(checked())


# -- Login ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_callers_that_come_while_a_question_is_open_share_its_answer() -> None:
    async def main() -> None:
        provider = Provider()
        login = Login(Credentials("monday"), provider)
        callers = [asyncio.create_task(login.refresh()) for _ in range(5)]
        await turns()
        assert len(provider.questions) == 1
        provider.answer("tuesday")
        assert await asyncio.gather(*callers) == [True] * 5
        assert (login.version, login.credentials.access_token) == (2, "tuesday")
        await asyncio.sleep(login.rest)
        late = asyncio.create_task(login.refresh())
        await turns()
        provider.answer("tuesday")
        assert await late is False, "the same token is no new version"
        assert login.version == 2

    run(main)


def test_one_caller_s_cancellation_does_not_take_the_answer_from_the_others() -> None:
    async def main() -> None:
        provider = Provider()
        login = Login(Credentials("monday"), provider)
        first, second = asyncio.create_task(login.refresh()), asyncio.create_task(login.refresh())
        await turns()
        first.cancel()
        await turns()
        assert first.cancelled()
        provider.answer("tuesday")
        assert await second is True

    run(main)


def test_the_cancellation_of_the_last_caller_ends_the_question() -> None:
    async def main() -> None:
        provider = Provider()
        login = Login(Credentials("monday"), provider)
        callers = [asyncio.create_task(login.refresh()) for _ in range(2)]
        await turns()
        for caller in callers:
            caller.cancel()
        await turns()
        assert provider.open == 0
        assert login.version == 1

    run(main)


@pytest.mark.usefixtures("quick")
def test_a_question_that_nobody_waits_for_counts_and_the_next_one_gets_an_answer_of_its_own() -> None:
    async def main() -> None:
        for delay in range(6):
            provider = Provider()
            login = Login(Credentials("monday"), provider)
            leaver = asyncio.create_task(login.refresh())
            await turns()
            leaver.cancel()
            await turns(delay + 1)
            assert await login.refresh() is False, "an impatient caller must not have it log in on and on"
            await asyncio.sleep(login.rest)
            asker = asyncio.create_task(login.refresh())
            await turns(10)
            assert not asker.done(), "nobody cancelled this one"
            assert provider.open == 1
            provider.answer("tuesday")
            assert await asker is True

    run(main)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", [RuntimeError("token-secret"), asyncio.CancelledError("of its own")])
def test_a_provider_that_fails_changes_nothing_and_is_asked_again_after_its_rest(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        provider = Provider()
        login = Login(Credentials("monday"), provider)
        callers = [asyncio.create_task(login.refresh()) for _ in range(2)]
        await turns()
        provider.questions[0].set_exception(error)
        assert await asyncio.gather(*callers) == [False, False]
        assert await login.refresh() is False, "it rests"
        await asyncio.sleep(login.rest)
        again = asyncio.create_task(login.refresh())
        await turns()
        provider.answer("tuesday")
        assert await again is True
        assert "secret" not in caplog.text

    run(main)


@pytest.mark.usefixtures("quick")
def test_a_provider_to_which_nobody_has_logged_in_anew_is_no_fault_and_warns_of_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async def nobody() -> None:
            return None

        login = Login(Credentials("monday"), nobody)
        login.refuse(1)
        for asked in range(1, 6):
            assert await login.refresh() is False
            assert login.failures == asked, "and rests the longer for it"
            await asyncio.sleep(login.rest)
        assert not login.fence.faults
        assert not [record for record in caplog.records if record.levelname not in ("INFO", "DEBUG")]

    run(main)


@pytest.mark.usefixtures("quick")
def test_a_provider_that_hangs_is_given_up_and_asked_again_after_its_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        monkeypatch.setattr(login_module, "PROVIDER_SECONDS", 0.05)
        provider = Provider()
        login = Login(Credentials("monday"), provider)
        assert await login.refresh() is False
        assert provider.open == 0
        await asyncio.sleep(login.rest)
        again = asyncio.create_task(login.refresh())
        await turns()
        provider.answer("tuesday")
        assert await again is True

    run(main)


def test_without_a_provider_nothing_is_renewed() -> None:
    async def main() -> None:
        login = Login(Credentials("monday"))
        assert not login.renewable
        assert await login.refresh() is False

    run(main)


def test_new_credentials_while_a_question_is_open_count_for_those_who_wait() -> None:
    async def main() -> None:
        provider = Provider()
        login = Login(Credentials("monday"), provider)
        caller = asyncio.create_task(login.refresh())
        await turns()
        login.renew(Credentials("tuesday"))
        provider.answer("tuesday")
        assert await caller is True
        assert login.version == 2

    run(main)


def test_a_refused_version_stays_refused_until_there_is_another_token() -> None:
    login = Login(Credentials("monday"))
    login.refuse(1)
    assert login.refused
    assert login.renew(Credentials("monday", NOW)) is False
    assert login.refused
    assert login.renew(Credentials("tuesday")) is True
    assert not login.refused


def test_the_refusal_of_an_old_version_says_nothing_about_the_present_one() -> None:
    login = Login(Credentials("monday"))
    login.renew(Credentials("tuesday"))
    login.refuse(1)
    assert not login.refused
    login.refuse(2)
    assert login.refused


def test_watchers_hear_of_each_refusal_once_of_each_renewal_and_of_a_new_time_of_expiry() -> None:
    heard: list[tuple[int, bool]] = []
    login = Login(Credentials("monday"))

    def watcher() -> None:
        heard.append((login.version, login.refused))

    login.watch(watcher)
    login.refuse(1)
    login.refuse(1)
    login.renew(Credentials("tuesday"))
    login.renew(Credentials("tuesday"))
    login.renew(Credentials("tuesday", NOW))
    assert heard == [(1, True), (2, False), (2, False)]
    login.unwatch(watcher)
    login.unwatch(watcher)
    login.refuse(2)
    assert len(heard) == 3


def test_no_secret_is_shown() -> None:
    login = Login(Credentials("token-secret"))
    login.refuse(1)
    assert repr(login) == "<Login version 1 refused>"
    assert "secret" not in repr(login.credentials) + str(login.credentials)


# -- Renewal ----------------------------------------------------------------------------------------------


class Clock:
    """Invented wall time."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_pacing, "SHORTEST_SECONDS", 0.02)
    monkeypatch.setattr(renewal_module, "AHEAD_SECONDS", 0.1)


def test_a_token_with_a_known_end_is_renewed_ahead_of_it_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        monkeypatch.setattr(renewal_module, "AHEAD_SECONDS", 1.6)
        provider = Provider()
        login = Login(Credentials("monday", NOW + 2.0), provider)  # half of what is left is less
        renewal = Renewal(login, Clock())
        login.watch(renewal.look)
        began = asyncio.get_running_loop().time()
        renewal.look()
        await until(lambda: provider.questions)
        assert 0.99 <= asyncio.get_running_loop().time() - began < 2.0
        provider.answer("tuesday", NOW + 100_000)
        await until(lambda: login.version == 2)
        await turns()
        assert len(provider.questions) == 1
        renewal.end()
        await renewal.ended()

    run(main)


@pytest.mark.parametrize(("left", "ahead"), [(86_400.0, 300.0), (600.0, 300.0), (100.0, 50.0), (-5.0, 0.0)])
def test_the_time_ahead_is_five_minutes_or_half_of_what_is_left(left: float, ahead: float) -> None:
    async def main() -> None:
        renewal = Renewal(Login(Credentials("monday", NOW + left), Provider()), Clock())
        assert renewal._due() == max(0.0, left - ahead)

    run(main)


@pytest.mark.usefixtures("quick")
def test_a_refused_login_is_asked_about_until_there_is_a_new_version() -> None:
    async def main() -> None:
        provider = Provider()
        login = Login(Credentials("monday"), provider)
        renewal = Renewal(login, Clock())
        login.watch(renewal.look)
        renewal.look()
        await turns()
        assert provider.questions == [], "nothing speaks against this one"
        login.refuse(1)
        for _ in range(3):
            await until(lambda: provider.open == 1)
            provider.answer("monday")
            await until(lambda: provider.open == 0)
        await until(lambda: provider.open == 1)
        assert len(provider.questions) == 4
        provider.answer("tuesday")
        await until(lambda: login.version == 2)
        await turns()
        assert provider.open == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        renewal.end()
        await renewal.ended()

    run(main)


@pytest.mark.usefixtures("quick")
def test_a_token_that_was_only_prolonged_is_left_alone_until_its_new_end() -> None:
    async def main() -> None:
        provider = Provider()
        login = Login(Credentials("monday", NOW), provider)
        renewal = Renewal(login, Clock())
        login.watch(renewal.look)
        renewal.look()
        await until(lambda: provider.questions)
        provider.answer("monday", NOW + 86_400)
        await asyncio.sleep(0.1)  # five times the pause between two questions
        assert len(provider.questions) == 1
        renewal.end()
        await renewal.ended()

    run(main)


@pytest.mark.usefixtures("quick")
def test_a_version_that_is_refused_as_soon_as_it_came_is_asked_about_too() -> None:
    async def main() -> None:
        provider = Provider()
        login = Login(Credentials("monday"), provider)
        renewal = Renewal(login, Clock())
        login.watch(renewal.look)
        login.refuse(1)
        await until(lambda: provider.open == 1)
        login.renew(Credentials("tuesday"))  # by hand, while the provider is being asked
        login.refuse(2)
        await turns()
        assert len(provider.questions) == 1, "one question at a time"
        provider.answer("monday")  # older than what was given by hand, and dead
        await until(lambda: provider.open == 1 and len(provider.questions) == 2)
        assert login.version == 2
        provider.answer("wednesday")
        await until(lambda: login.version == 3)
        renewal.end()
        await renewal.ended()

    run(main)


@pytest.mark.usefixtures("quick")
def test_a_new_time_of_expiry_that_is_told_by_hand_is_acted_on() -> None:
    async def main() -> None:
        provider = Provider()
        login = Login(Credentials("monday", NOW + 86_400), provider)
        renewal = Renewal(login, Clock())
        login.watch(renewal.look)
        renewal.look()
        await turns()
        login.renew(Credentials("monday", NOW + 0.05))
        await until(lambda: provider.questions)
        renewal.end()
        await renewal.ended()

    run(main)


@pytest.mark.parametrize("life", [-1000.0, 0.0, 0.01])
@pytest.mark.parametrize("same", [True, False])
def test_tokens_that_hardly_live_are_not_asked_for_without_a_pause(
    life: float, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr(retry_pacing, "SHORTEST_SECONDS", 0.07)
        asked: list[float] = []

        async def provider() -> Credentials:
            asked.append(asyncio.get_running_loop().time())
            return Credentials("same" if same else f"token {len(asked)}", NOW + life + len(asked) / 1e6)

        login = Login(Credentials("monday", NOW), provider)
        renewal = Renewal(login, Clock())
        login.watch(renewal.look)
        renewal.look()
        await until(lambda: len(asked) >= 4)
        assert all(later - earlier >= 0.049 for earlier, later in pairwise(asked))
        renewal.end()
        await renewal.ended()

    run(main)


def test_without_a_provider_or_an_end_no_task_runs() -> None:
    async def main() -> None:
        for login in (Login(Credentials("a", NOW)), Login(Credentials("a"), Provider())):
            renewal = Renewal(login, Clock())
            renewal.look()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            renewal.end()
            await renewal.ended()

    run(main)


@pytest.mark.parametrize("expires_at", [NOW, NOW + 86_400])
def test_a_renewal_that_is_closed_leaves_no_question_open(expires_at: float) -> None:
    async def main() -> None:
        provider = Provider()
        renewal = Renewal(Login(Credentials("monday", expires_at), provider), Clock())
        renewal.look()
        await turns()
        renewal.end()
        await renewal.ended()
        await turns()
        assert provider.open == 0

    run(main)


# -- Account ----------------------------------------------------------------------------------------------


def account(login: Login | None = None, *, sockets: int = 1, journal: Journal | None = None) -> Account:
    login = login or Login(Credentials("monday"))
    return Account(login, LIMITS, sockets, Random(1), Journal() if journal is None else journal, Clock())


def waiting(desk: Account, count: int) -> list[asyncio.Task[Seat | None]]:
    return [asyncio.create_task(desk.seat()) for _ in range(count)]


async def granted(task: asyncio.Task[Seat | None]) -> Seat:
    seat = await task
    assert seat is not None
    return seat


def test_seats_are_given_first_come_first_served_and_never_more_than_there_are() -> None:
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


def test_who_is_cancelled_in_the_very_turn_of_being_given_a_seat_leaves_none_taken() -> None:
    async def main() -> None:
        desk = account()
        first, second, third = waiting(desk, 3)
        await turns()
        desk.withdraw(await granted(first))  # gives the seat to the second
        second.cancel()
        await turns()
        assert second.cancelled()
        desk.withdraw(await granted(third))
        assert desk.budget.sockets == 0
        desk.end()
        await desk.ended()

    run(main)


def test_a_seat_that_comes_free_in_the_very_turn_of_a_cancellation_goes_to_the_next() -> None:
    async def main() -> None:
        desk = account()
        first, second, third = waiting(desk, 3)
        await turns()
        seat = await granted(first)
        second.cancel()
        desk.withdraw(seat)  # the second is still in the line, and cannot take it
        await asyncio.wait({second})
        assert second.cancelled(), "the cancellation arrives as one"
        desk.withdraw(await granted(third))
        assert desk.budget.sockets == 0
        desk.end()
        await desk.ended()

    run(main)


def test_a_refused_login_empties_the_line_and_gives_no_seat_until_it_is_renewed() -> None:
    async def main() -> None:
        login = Login(Credentials("monday"))
        desk = account(login)
        first, *line = waiting(desk, 3)
        await turns()
        login.refuse(1)
        assert [await task for task in line] == [None, None]
        desk.withdraw(await granted(first))
        assert await desk.seat() is None
        usable = asyncio.create_task(desk.usable())
        await turns()
        assert not usable.done()
        login.renew(Credentials("tuesday"))
        await usable
        desk.withdraw(await granted(asyncio.create_task(desk.seat())))
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


def test_a_seat_is_not_used_for_credentials_that_were_refused_in_the_turn_in_which_it_was_given() -> None:
    async def main() -> None:
        login = Login(Credentials("monday"))
        desk = account(login)
        first, second = waiting(desk, 2)
        await turns()
        desk.withdraw(await granted(first))  # gives the seat to the second, which does not know of it yet
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
        desk.failed(await granted(asyncio.create_task(desk.seat())), retry_after=3600.0, busy=True)
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
        desk.failed(await granted(asyncio.create_task(desk.seat())), retry_after=0.0, busy=False)
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
        seat = await granted(asyncio.create_task(desk.seat()))
        desk.opened(seat)
        if socket == "trusted":
            await until(lambda: seat.trusted)
        desk.failed(await granted(asyncio.create_task(desk.seat())), retry_after=0.02, busy=False)
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
