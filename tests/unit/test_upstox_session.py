"""A login at Upstox: what a pasted address means, when a token ends, and what the simulator accepts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool import ErrorCode
from brokerpool.brokers.upstox.login_session import UpstoxSession, redirected_code, token_end
from brokerpool.simulator.upstox.broker import UpstoxSimulator
from tests.broker_login import assert_away_and_no_secret_shown, at, code_of, log_in

REDIRECT = "http://127.0.0.1:8123/upstox?from=app"


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-11-24T20:00", "2026-11-25T03:30"),
        ("2026-11-25T02:30", "2026-11-25T03:30"),
        ("2026-11-25T03:30", "2026-11-26T03:30"),
        ("2026-12-31T09:00", "2027-01-01T03:30"),
    ],
)
def test_a_token_ends_at_the_next_half_past_three_in_india(now: str, end: str) -> None:
    assert token_end(at(now)) == at(end)


@given(st.floats(0, 4e9))
def test_a_token_lives_a_day_at_most_and_ends_after_now(now: float) -> None:
    assert 0 < token_end(now) - now <= 86_400


def test_the_end_is_told_in_india_s_time() -> None:
    session = UpstoxSession("key", http_url="https://api.example")
    assert session.until(at("2026-11-29T03:30")) == "Sun 29 Nov, 03:30 India time"


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1:8123/?code=mk4-04_x&state=s", "https://x.example/?a=1&code=mk4-04_x", "code=mk4-04_x"],
)
def test_the_code_is_found_in_the_address_however_it_was_copied(text: str) -> None:
    assert redirected_code(text) == "mk4-04_x"


def test_one_word_is_no_address_and_an_address_without_a_code_is_refused_unquoted() -> None:
    assert redirected_code("mk404x") is None
    for text in ("https://hunter2/?error=cancelled", "http://x/?code=", "?code=hunter2/.."):
        with pytest.raises(ValueError, match="log in again") as refused:
            redirected_code(text)
        assert "hunter2" not in str(refused.value)


@given(st.text(max_size=60))
def test_any_text_is_a_code_a_word_or_a_clear_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        found = redirected_code(text)
        assert found is None or found.isascii()


def test_the_page_is_asked_for_with_the_app_its_address_and_the_state() -> None:
    session = UpstoxSession("key", http_url="https://api.example", redirect_uri=REDIRECT)
    page = urlsplit(session.login_address("s1"))
    assert (page.netloc, page.path) == ("api.example", "/v2/login/authorization/dialog")
    assert parse_qs(page.query) == {
        "response_type": ["code"],
        "client_id": ["key"],
        "redirect_uri": [REDIRECT],
        "state": ["s1"],
    }


# -- against the simulated broker -------------------------------------------------------------------------


def with_broker(scenario: Callable[[UpstoxSimulator, UpstoxSession], Awaitable[None]]) -> None:
    async def main() -> None:
        async with UpstoxSimulator(rate=0, redirect_url=REDIRECT) as broker:
            session = UpstoxSession(broker.api_key, http_url=broker.http_url, redirect_uri=REDIRECT)
            await scenario(broker, session)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_login_gives_a_token_that_is_the_account_holder_s_and_ends_the_one_before() -> None:
    async def scenario(broker: UpstoxSimulator, session: UpstoxSession) -> None:
        before = broker.access_token
        location = await asyncio.to_thread(log_in, session.login_address("s1"))
        assert location.startswith(f"{REDIRECT}&code=")
        assert "state=s1" in location
        code = session.redirected(location)
        assert code is not None
        made = await session.exchange(code, broker.api_secret)
        assert made.user == "SIM001"
        holder, known = await session.tried(made.access_token)
        assert str(holder) == "SIM001 (Simulated Account)"
        assert known.expires_at is not None
        assert await code_of(session.holder(before)) is ErrorCode.BROKER_REFUSED_CREDENTIALS
        assert (
            await code_of(session.exchange(code, broker.api_secret)) is ErrorCode.BROKER_REFUSED_CREDENTIALS
        )

    with_broker(scenario)


def test_a_wrong_secret_or_app_or_address_is_refused_and_uses_the_code_up() -> None:
    async def scenario(broker: UpstoxSimulator, session: UpstoxSession) -> None:
        address = session.login_address()
        others = [
            session,
            UpstoxSession("another", http_url=broker.http_url, redirect_uri=REDIRECT),
            UpstoxSession(broker.api_key, http_url=broker.http_url, redirect_uri="http://elsewhere/"),
        ]
        for other, secret in zip(others, ("hunter2", broker.api_secret, broker.api_secret), strict=True):
            code = redirected_code(await asyncio.to_thread(log_in, address)) or ""
            assert await code_of(other.exchange(code, secret)) is ErrorCode.BROKER_REFUSED_CREDENTIALS
            again = session.exchange(code, broker.api_secret)
            assert await code_of(again) is ErrorCode.BROKER_REFUSED_CREDENTIALS

    with_broker(scenario)


def test_a_broker_that_is_away_is_told_from_a_refusal_and_no_secret_shows() -> None:
    assert_away_and_no_secret_shown(UpstoxSession("hunter1", http_url="http://127.0.0.1:9"))
