"""A login at Kite: what a pasted address means, when a token ends, and what the simulated broker accepts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool import ErrorCode
from brokerpool.brokers.zerodha.login_session import KiteSession, redirected_token, token_end
from brokerpool.simulator import KiteSimulator
from tests.broker_login import assert_away_and_no_secret_shown, at, code_of, log_in


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-11-28T08:15", "2026-11-29T07:30"),
        ("2026-11-28T23:59", "2026-11-29T07:30"),
        ("2026-11-29T00:01", "2026-11-29T07:30"),
        ("2026-11-29T07:30", "2026-11-30T07:30"),
        ("2026-12-31T09:00", "2027-01-01T07:30"),
    ],
)
def test_a_token_ends_at_the_next_half_past_seven_in_india(now: str, end: str) -> None:
    assert token_end(at(now)) == at(end)


@given(st.floats(0, 4e9))
def test_a_token_lives_a_day_at_most_and_ends_after_now(now: float) -> None:
    assert 0 < token_end(now) - now <= 86_400


def test_the_end_is_told_in_india_s_time() -> None:
    assert KiteSession("key").until(at("2026-11-29T07:30")) == "Sun 29 Nov, about 07:30 India time"


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8123/?action=login&type=login&status=success&request_token=abc123",
        "https://example.com/x?request_token=abc123&action=login",
        "127.0.0.1/?request_token=abc123",
        "request_token=abc123&status=success",
    ],
)
def test_the_request_token_is_found_in_the_address_however_it_was_copied(text: str) -> None:
    assert redirected_token(text) == "abc123"


def test_one_word_is_no_address_and_an_address_without_a_token_is_refused_unquoted() -> None:
    assert redirected_token("abc123") is None
    for text in (
        "https://hunter2/?status=cancelled",
        "http://x/?request_token=",
        "?request_token=hunter2/..",
    ):
        with pytest.raises(ValueError, match="log in again") as refused:
            redirected_token(text)
        assert "hunter2" not in str(refused.value)


@given(st.text(max_size=60))
def test_any_text_is_a_token_a_word_or_a_clear_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        found = redirected_token(text)
        assert found is None or found.isalnum()


# -- against the simulated broker -------------------------------------------------------------------------


def with_broker(scenario: Callable[[KiteSimulator, KiteSession], Awaitable[None]]) -> None:
    async def main() -> None:
        async with KiteSimulator(rate=0) as broker:
            session = KiteSession(broker.api_key, http_url=broker.http_url, login_url=broker.login_url)
            await scenario(broker, session)

    asyncio.run(asyncio.wait_for(main(), 30))


async def request_token(session: KiteSession) -> str:
    token = redirected_token(await asyncio.to_thread(log_in, session.login_address()))
    assert token is not None
    return token


def test_a_login_gives_a_token_that_is_the_account_holder_s_and_ends_the_one_before() -> None:
    async def scenario(broker: KiteSimulator, session: KiteSession) -> None:
        before = broker.access_token
        made = await session.exchange(await request_token(session), broker.api_secret)
        holder, known = await session.tried(made.access_token)
        assert str(holder) == "SIM001 (Simulated Account)"
        assert (known.user, known.access_token) == ("SIM001", made.access_token)
        assert known.expires_at is not None
        assert await code_of(session.holder(before)) is ErrorCode.BROKER_REFUSED_CREDENTIALS

    with_broker(scenario)


def test_a_request_token_works_once_and_with_the_right_secret_only() -> None:
    async def scenario(broker: KiteSimulator, session: KiteSession) -> None:
        token = await request_token(session)
        for wrong in ((token, "not the secret"), ("madeup", broker.api_secret)):
            assert await code_of(session.exchange(*wrong)) is ErrorCode.BROKER_REFUSED_CREDENTIALS
        made = await session.exchange(token, broker.api_secret)
        assert (
            await code_of(session.exchange(token, broker.api_secret)) is ErrorCode.BROKER_REFUSED_CREDENTIALS
        )
        assert (await session.holder(made.access_token)).user == "SIM001"

    with_broker(scenario)


def test_a_broker_that_is_away_is_told_from_a_refusal_and_no_secret_shows() -> None:
    assert_away_and_no_secret_shown(KiteSession("hunter1", http_url="http://127.0.0.1:9"))
