"""The account's credentials: asked for by one, waited for by many, and nothing left behind."""

from __future__ import annotations

import asyncio

import pytest

from brokerpool.brokers import login as login_module
from brokerpool.brokers import retry_pacing
from brokerpool.brokers.login import Credentials, Login
from tests.logins import NOW, Provider, run, turns


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_pacing, "SHORTEST_SECONDS", 0.02)


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
