"""A login at Kite: what a pasted address means, when a token ends, and what the simulated broker accepts."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool import BrokerError, ErrorCode
from brokerpool.brokers.zerodha.session import KiteSession, redirected_token, token_end
from brokerpool.simulator import KiteSimulator

IST = timezone(timedelta(hours=5, minutes=30))


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=IST).timestamp()


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


class Stay(urllib.request.HTTPRedirectHandler):
    """Shows where a redirect leads instead of following it."""

    def redirect_request(self, *args: object) -> None:
        return None


def log_in(address: str) -> str:
    """Press the button of the login page, and return the address to which that leads."""
    with urllib.request.urlopen(address, timeout=5) as page:
        assert b"<button" in page.read()
    opener = urllib.request.build_opener(Stay)
    with pytest.raises(urllib.error.HTTPError) as moved:
        opener.open(urllib.request.Request(address, method="POST"), timeout=5)
    with moved.value as answer:
        assert answer.code == 302
        return str(answer.headers["Location"])


async def request_token(session: KiteSession) -> str:
    token = redirected_token(await asyncio.to_thread(log_in, session.login_address()))
    assert token is not None
    return token


async def code_of(call: Awaitable[object]) -> ErrorCode:
    with pytest.raises(BrokerError) as refused:
        await call
    return refused.value.code


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
    async def main() -> None:
        session = KiteSession("hunter1", http_url="http://127.0.0.1:9")
        for call in (session.holder("hunter2"), session.exchange("hunter3", "hunter4")):
            with pytest.raises(BrokerError) as away:
                await call
            assert away.value.code is ErrorCode.BROKER_UNREACHABLE
            assert "hunter" not in str(away.value) + repr(session)

    asyncio.run(main())
