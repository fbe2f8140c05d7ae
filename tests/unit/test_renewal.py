"""Logins are renewed ahead of their end, and asked about while they are refused, without haste."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from brokerpool.brokers import retry_pacing
from brokerpool.brokers.login import Credentials, Login
from brokerpool.feed import login_renewal as renewal_module
from brokerpool.feed.login_renewal import Renewal
from tests.clock import Clock
from tests.logins import NOW, Provider, run, turns
from tests.rehearsal import until


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
        renewal = Renewal(login, Clock(NOW))
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
        renewal = Renewal(Login(Credentials("monday", NOW + left), Provider()), Clock(NOW))
        assert renewal._due() == max(0.0, left - ahead)

    run(main)


@pytest.mark.usefixtures("quick")
def test_a_refused_login_is_asked_about_until_there_is_a_new_version() -> None:
    async def main() -> None:
        provider = Provider()
        login = Login(Credentials("monday"), provider)
        renewal = Renewal(login, Clock(NOW))
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
        renewal = Renewal(login, Clock(NOW))
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
        renewal = Renewal(login, Clock(NOW))
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
        renewal = Renewal(login, Clock(NOW))
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
        renewal = Renewal(login, Clock(NOW))
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
            renewal = Renewal(login, Clock(NOW))
            renewal.look()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            renewal.end()
            await renewal.ended()

    run(main)


@pytest.mark.parametrize("expires_at", [NOW, NOW + 86_400])
def test_a_renewal_that_is_closed_leaves_no_question_open(expires_at: float) -> None:
    async def main() -> None:
        provider = Provider()
        renewal = Renewal(Login(Credentials("monday", expires_at), provider), Clock(NOW))
        renewal.look()
        await turns()
        renewal.end()
        await renewal.ended()
        await turns()
        assert provider.open == 0

    run(main)
