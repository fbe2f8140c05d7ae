"""A login at Angel: what is pasted, when a session ends, what the simulated broker accepts, and TOTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool import BrokerError, Credentials, ErrorCode
from brokerpool.brokers.angel.account import AngelFeed
from brokerpool.brokers.angel.broker import BROKER
from brokerpool.brokers.angel.login_session import AngelSession, token_end
from brokerpool.brokers.angel.totp import totp_provider
from brokerpool.brokers.registry import Access
from brokerpool.errors import SettingsError
from brokerpool.simulator.angel.broker import AngelSimulator
from brokerpool.simulator.angel.login import TOTP_SECRET, totp
from brokerpool.simulator.fault_switches import Refuse
from tests.broker_login import at

NOW = 1_795_341_600.0


def run(scenario: Callable[[AngelSimulator], Awaitable[None]], **options: object) -> None:
    async def main() -> None:
        async with AngelSimulator(symbols=50, rate=0, clock=lambda: NOW, **options) as simulator:
            await scenario(simulator)

    asyncio.run(asyncio.wait_for(main(), 30))


def session(simulator: AngelSimulator) -> AngelSession:
    return AngelSession(
        simulator.api_key,
        client_code=simulator.client_code,
        http_url=simulator.http_url,
        login_url=simulator.login_url,
        wall_clock=lambda: NOW,
    )


def code(slack: int = 0) -> str:
    return totp(TOTP_SECRET, NOW, slack)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-11-28T08:15", "2026-11-29T00:00"),
        ("2026-11-28T23:59", "2026-11-29T00:00"),
        ("2026-11-29T00:00", "2026-11-30T00:00"),
        ("2026-12-31T09:00", "2027-01-01T00:00"),
    ],
)
def test_a_session_ends_at_the_next_midnight_in_india(now: str, end: str) -> None:
    assert token_end(at(now)) == at(end)


@given(st.floats(0, 4e9))
def test_a_session_lives_a_day_at_most_and_ends_after_now(now: float) -> None:
    assert 0 < token_end(now) - now <= 86_400


def test_the_end_is_told_in_india_s_time() -> None:
    assert AngelSession("key").until(at("2026-11-29T00:00")) == "Sun 29 Nov, 00:00 India time"


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8123/?auth_token=a.b-c&feed_token=f.t&refresh_token=r",
        "127.0.0.1/?feed_token=f.t&auth_token=a.b-c#top",
        "auth_token=a.b-c&feed_token=f.t",
    ],
)
def test_the_tokens_are_found_in_the_address_however_it_was_copied(text: str) -> None:
    made = AngelSession("key", wall_clock=lambda: NOW)
    found = made.redirected(text)
    assert found is not None
    credentials = asyncio.run(made.exchange(found, ""))
    assert (credentials.access_token, credentials.more) == ("a.b-c", {"feed_token": "f.t"})
    assert credentials.expires_at == token_end(NOW)


def test_one_word_is_no_address_and_an_address_without_tokens_is_refused_unquoted() -> None:
    made = AngelSession("key")
    assert made.redirected("abc123") is None
    assert made.redirected("123456") == "123456"
    assert made.secret("123456") == "PIN of the account"
    assert made.secret("auth_token=a&feed_token=f") == ""
    for text in ("https://hunter2/?status=cancelled", "http://x/?auth_token=hunter2"):
        with pytest.raises(ValueError, match="log in again") as refused:
            made.redirected(text)
        assert "hunter2" not in str(refused.value)


@given(st.text(max_size=60))
def test_any_text_is_tokens_a_code_a_word_or_a_clear_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        found = AngelSession("key").redirected(text)
        assert found is None or "auth_token=" in found or found.isdigit()


def test_pin_and_code_give_three_tokens_which_the_feed_and_the_calls_take() -> None:
    async def scenario(simulator: AngelSimulator) -> None:
        made = await session(simulator).exchange(code(), simulator.api_secret)
        assert made.access_token == simulator.access_token
        assert made.more == {"feed_token": simulator.feed_token}
        assert (made.user, made.expires_at) == (simulator.client_code, token_end(NOW))
        holder, tried = await session(simulator).tried(made.access_token)
        assert str(holder) == "SIM001 (Simulated Account)"
        assert tried == Credentials(made.access_token, token_end(NOW), "SIM001")

    run(scenario)


@pytest.mark.parametrize("slack", [-1, 0, 1])
def test_a_code_may_be_a_period_away(slack: int) -> None:
    async def scenario(simulator: AngelSimulator) -> None:
        assert (await session(simulator).log_in(simulator.api_secret, code(slack))).access_token

    run(scenario)


def test_wrong_pins_and_codes_are_refused_and_nothing_secret_is_told() -> None:
    async def scenario(simulator: AngelSimulator) -> None:
        for pin, typed in ((simulator.api_secret, code(9)), ("hunter2", code())):
            with pytest.raises(BrokerError) as refused:
                await session(simulator).log_in(pin, typed)
            assert refused.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
            assert not any(
                secret in str(refused.value) for secret in ("hunter2", typed, simulator.api_secret)
            )

    run(scenario, http_rates={})


def test_without_a_client_code_nothing_is_sent() -> None:
    with pytest.raises(BrokerError, match="login field client_code") as refused:
        asyncio.run(AngelSession("key", http_url="http://127.0.0.1:1").log_in("1234", "123456"))
    assert refused.value.code is ErrorCode.NO_CREDENTIALS


def test_a_token_that_is_over_is_refused_and_a_broker_that_is_away_is_not_taken_for_that() -> None:
    async def scenario(simulator: AngelSimulator) -> None:
        made = session(simulator)
        for _ in range(2):
            with pytest.raises(BrokerError) as refused:
                await made.tried("wrong" if not simulator.faults.token_expired else simulator.access_token)
            assert refused.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
            simulator.expire_token()
        simulator.renew_token("new")
        simulator.faults.refuse_http = Refuse(status=503)
        with pytest.raises(BrokerError) as away:
            await made.tried("new")
        assert away.value.code is ErrorCode.BROKER_UNREACHABLE
        # "Too fast" is no word about the token.
        simulator.faults.refuse_http = Refuse(
            status=403, text="Access denied because of exceeding access rate"
        )
        with pytest.raises(BrokerError) as fast:
            await made.tried("new")
        assert fast.value.code is ErrorCode.RATE_LIMITED

    run(scenario)


def test_the_page_leads_back_with_the_tokens_and_the_state() -> None:
    async def scenario(simulator: AngelSimulator) -> None:
        made = session(simulator)
        async with (
            aiohttp.ClientSession() as browser,
            browser.get(made.login_address("mine"), allow_redirects=False) as page,
        ):
            assert page.status == 302
            address = page.headers["Location"]
        assert "state=mine" in address
        found = made.redirected(address)
        assert found is not None
        credentials = await made.exchange(found, "")
        assert credentials.access_token == simulator.access_token
        assert credentials.more == {"feed_token": simulator.feed_token}

    run(scenario, redirect_url="http://127.0.0.1:8123/")


# -- TOTP -------------------------------------------------------------------------------------------------


def access(simulator: AngelSimulator, **fields: str) -> Access:
    return Access(
        simulator.api_key,
        Credentials("dead"),
        http_url=simulator.http_url,
        ws_url=simulator.ws_url,
        fields={"client_code": simulator.client_code, **fields},
    )


def test_nobody_logs_in_by_totp_unless_pin_and_secret_are_given() -> None:
    async def scenario(simulator: AngelSimulator) -> None:
        for fields in ({}, {"pin": "1234"}, {"totp_secret": TOTP_SECRET}):
            assert not BROKER.account(access(simulator, **fields)).login.renewable
        assert BROKER.account(access(simulator, pin="1234", totp_secret=TOTP_SECRET)).login.renewable

    run(scenario)


def provided(simulator: AngelSimulator, *stored: Credentials) -> tuple[AngelFeed, list[Credentials | None]]:
    """An account whose token is dead, and what its provider finds stored when it is asked, from now on."""
    logins: list[Credentials | None] = [None, *stored]

    async def before() -> Credentials | None:
        return logins[-1]

    provider = totp_provider(
        session(simulator),
        simulator.api_secret,
        TOTP_SECRET,
        present=lambda: account.login.credentials,
        before=before,
        wall_clock=lambda: NOW,
    )
    account = AngelFeed(simulator.api_key, Credentials("dead"), provider=provider)
    account.login.refuse(account.login.version)
    return account, logins


async def refreshed(account: AngelFeed) -> str:
    """The token after a person, or a dead token, had the provider asked."""
    account.login.ask_again()
    await account.login.refresh()
    return account.login.credentials.access_token


def test_the_totp_provider_brings_the_tokens_of_a_new_session() -> None:
    async def scenario(simulator: AngelSimulator) -> None:
        account, _ = provided(simulator)
        assert await refreshed(account) == simulator.access_token
        headers = (await account.endpoint()).headers
        assert headers["x-feed-token"] == simulator.feed_token
        assert headers["x-client-code"] == simulator.client_code

    run(scenario)


def test_a_login_that_a_person_has_made_is_tried_once_before_another_is_made() -> None:
    async def scenario(simulator: AngelSimulator) -> None:
        account, stored = provided(simulator, Credentials("dead"))
        made = await refreshed(account)
        assert made == simulator.access_token, "what is stored is the dead one"
        account.login.refuse(account.login.version)
        stored.append(Credentials("a person's"))
        assert await refreshed(account) == "a person's"
        for _ in range(2):  # the stored one stays what it was, and is dead by now
            account.login.refuse(account.login.version)
            assert await refreshed(account) == simulator.access_token
        assert simulator.access_token != made

    run(scenario, http_rates={})


def test_a_login_that_fails_is_asked_for_with_growing_rests() -> None:
    async def scenario(simulator: AngelSimulator) -> None:
        account = BROKER.account(access(simulator, pin="wrong", totp_secret=TOTP_SECRET))
        account.login.refuse(account.login.version)
        for _ in range(20):
            assert not await account.login.refresh()
        calls = simulator.stats()["http_requests"]
        assert calls == {"POST /rest/auth/angelbroking/user/v1/loginByPassword": 1}
        assert account.login.rest > 0

    run(scenario)


def test_a_secret_that_is_none_is_refused_unquoted() -> None:
    with pytest.raises(SettingsError, match="totp_secret is no TOTP secret") as refused:
        totp_provider(AngelSession("key"), "1234", "not base32: hunter2!", present=lambda: Credentials(""))
    assert "hunter2" not in str(refused.value)


def test_the_simulated_codes_are_those_of_the_library() -> None:
    pyotp = pytest.importorskip("pyotp")
    for moment in (0, 59, NOW, 2_000_000_000):
        assert totp(TOTP_SECRET, moment) == pyotp.TOTP(TOTP_SECRET).at(int(moment))
