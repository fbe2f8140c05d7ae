"""A Dhan account dials with the present token and never shows it; a token tells when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool import Credentials
from brokerpool.brokers import registry
from brokerpool.brokers.account import Account
from brokerpool.brokers.dhan.account import DhanFeed
from brokerpool.brokers.dhan.broker import BROKER
from brokerpool.brokers.dhan.codec import DhanWire
from brokerpool.brokers.dhan.login_session import DhanSession, credentials, renewal
from brokerpool.brokers.limits_file import FeedLimits, RateWindow
from brokerpool.brokers.registry import Access
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import TokenBook
from brokerpool.simulator.dhan.broker import DhanSimulator, make_token

TOKEN = "tok=en &?#%41"


def test_the_account_is_what_the_pool_expects_of_a_broker() -> None:
    dhan: Account = DhanFeed("1100000001", TOKEN)
    assert dhan.name == "dhan"
    assert not dhan.tells_orders
    assert isinstance(dhan.wire(), DhanWire)
    assert dhan.wire() is not dhan.wire()
    assert registry.broker("dhan") is BROKER


def test_the_limits_are_the_published_ones() -> None:
    assert BROKER.limits == FeedLimits(
        symbols_per_connection=5000,
        max_connections=5,
        batch_size=100,
        control_messages=(RateWindow(10, 0.5),),
        account_messages=(RateWindow(20, 0.5),),
        pings_counted=False,
        dials=(RateWindow(2, 1), RateWindow(20, 60)),
        socket_life_seconds=0,
        silence_seconds=21.0,
        depth_levels=5,
    )


@pytest.mark.parametrize(
    ("ws_url", "expected"),
    [
        ("wss://api-feed.dhan.co", "wss://api-feed.dhan.co/?version=2&token=T&clientId=7&authType=2"),
        ("ws://127.0.0.1:9/x?run=7", "ws://127.0.0.1:9/x?run=7&version=2&token=T&clientId=7&authType=2"),
    ],
)
def test_the_credentials_stand_in_the_query_of_the_address(ws_url: str, expected: str) -> None:
    account = DhanFeed("7", "T", ws_url=ws_url)
    assert asyncio.run(account.endpoint()).url == expected


def test_neither_the_account_nor_its_endpoint_shows_a_secret() -> None:
    account = DhanFeed("1100000001", TOKEN, ws_url="ws://user:hunter2@127.0.0.1:9000/")
    shown = [repr(account), repr(asyncio.run(account.endpoint())), repr(account.rest())]
    assert shown[0] == "<DhanFeed 127.0.0.1, 0 instruments>"
    assert not any(secret in text for text in shown[::2] for secret in (TOKEN, "hunter2"))
    assert "token" not in shown[1]


def test_what_is_no_client_id_and_no_book_is_refused() -> None:
    with pytest.raises(TypeError, match="client_id is a int"):
        DhanFeed(7, TOKEN)  # type: ignore[arg-type]  # what the test is about
    for wrong in (lambda: DhanFeed("7", TOKEN, book={}), lambda: DhanFeed("7", TOKEN).relist([])):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="give a TokenBook"):
            wrong()
    account = DhanFeed("7", TOKEN)
    account.relist(book := TokenBook())
    assert account.book is book


def test_the_list_of_an_address_of_one_s_own_is_there_too() -> None:
    async def main() -> None:
        async with DhanSimulator(symbols=60, rate=0) as broker:
            account = DhanFeed("7", TOKEN, http_url=broker.http_url)
            assert len(await account.instruments()) == 60

    asyncio.run(asyncio.wait_for(main(), 30))


# -- tokens -----------------------------------------------------------------------------------------------


def test_a_token_tells_when_it_ends_and_whose_it_is() -> None:
    token = make_token("1100000001", 1_795_501_800)
    assert credentials(token) == Credentials(token, 1_795_501_800, "1100000001")
    account = BROKER.account(Access("1100000001:::the-app", Credentials(token)))
    assert account.login.credentials.expires_at == 1_795_501_800
    given = BROKER.account(Access("1100000001", Credentials(token, 5.0)))
    assert given.login.credentials.expires_at == 5.0
    assert "clientId=1100000001&" in asyncio.run(account.endpoint()).url


@given(st.text(max_size=100) | st.binary(max_size=60).map(lambda raw: f"a.{raw.decode('latin-1')}.b"))
def test_any_text_is_a_token_and_most_say_nothing_of_themselves(text: str) -> None:
    assert credentials(text).access_token == text


def with_session(scenario: Callable[[DhanSimulator, DhanSession], Awaitable[None]]) -> None:
    async def main() -> None:
        async with DhanSimulator(symbols=5, rate=0) as broker:
            access = Access(broker.api_key, Credentials(""), http_url=broker.http_url)
            await scenario(broker, BROKER.session(access))

    asyncio.run(asyncio.wait_for(main(), 30))


async def code_of(call: Awaitable[object]) -> ErrorCode:
    with pytest.raises(BrokerError) as refused:
        await call
    assert "the-secret" not in str(refused.value)
    return refused.value.code


def test_a_pasted_token_is_tried_and_told_whose_it_is() -> None:
    async def scenario(broker: DhanSimulator, session: DhanSession) -> None:
        assert session.redirected(broker.access_token) is None
        holder, known = await session.tried(broker.access_token)
        assert holder.user == broker.api_key
        assert known.expires_at == credentials(broker.access_token).expires_at
        assert "India time" in session.until(known.expires_at or 0)
        broker.renew_token("no-jwt")
        _, known = await session.tried("no-jwt")
        assert known.expires_at is not None, "the profile tells it as well"
        assert await code_of(session.tried("the-secret")) is ErrorCode.BROKER_REFUSED_CREDENTIALS
        assert await code_of(session.exchange("the-secret", "")) is ErrorCode.BROKER_REFUSED_CREDENTIALS
        assert session.login_address().startswith("https://web.dhan.co")
        assert "the-secret" not in repr(session)
        with pytest.raises(ValueError, match="copy the access token"):
            session.redirected("https://somewhere/?tokenId=the-secret")

    with_session(scenario)


def test_a_live_token_is_renewed_and_a_newer_one_of_somebody_else_goes_first() -> None:
    async def scenario(broker: DhanSimulator, session: DhanSession) -> None:
        first = broker.access_token
        present = Credentials(first)
        made = await renewal(session, lambda: present, None)()
        assert made is not None
        assert made.access_token == broker.access_token != first
        assert made.expires_at is not None

        async def nobody() -> None:
            return None

        async def the_same() -> Credentials:
            return present

        async def somebody() -> Credentials:
            return Credentials("pasted")

        assert await renewal(session, lambda: present, somebody)() == Credentials("pasted")
        for before in (nobody, the_same):
            dead = renewal(session, lambda: present, before)()
            assert await code_of(dead) is ErrorCode.BROKER_REFUSED_CREDENTIALS

    with_session(scenario)


def test_a_token_is_renewed_only_when_that_is_asked_for() -> None:
    async def main() -> None:
        async with DhanSimulator(symbols=5, rate=0) as broker:
            token = Credentials(broker.access_token)
            for fields, renewable in (({}, False), ({"renew": "no"}, False), ({"renew": "yes"}, True)):
                access = Access(broker.api_key, token, http_url=broker.http_url, fields=fields)
                login = BROKER.account(access).login
                assert login.renewable is renewable
                assert await login.refresh() is renewable
            assert login.credentials.access_token == broker.access_token != token.access_token

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_broker_that_is_away_is_told_from_a_refusal() -> None:
    session = DhanSession("7", http_url="http://127.0.0.1:9")
    assert asyncio.run(code_of(session.tried("the-secret"))) is ErrorCode.BROKER_UNREACHABLE
