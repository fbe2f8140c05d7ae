"""A call whose login the broker refuses: one refresh for all, one repetition each, and no login spoilt."""

from __future__ import annotations

import asyncio

import pytest

from brokerpool import (
    CallRefusedError,
    Credentials,
    ErrorCode,
    Lane,
    Login,
)
from tests.http_server import Reply, Seen, broker_and_client


class LoginPage:
    """A place to log in at, and a broker that takes one token only."""

    def __init__(self, gives: str = "new") -> None:
        self.gives = gives
        self.asked = 0
        self.login = Login(Credentials("old"), self.provide)

    async def provide(self) -> Credentials:
        self.asked += 1
        await asyncio.sleep(0.02)
        return Credentials(self.gives)

    def script(self, seen: Seen) -> Reply:
        if seen.headers["authorization"] == "Bearer new":
            return Reply()
        return Reply(401, delay=0.1 if seen.path == "/slow" else 0)


def test_many_refused_calls_wait_for_one_refresh_and_are_repeated_once() -> None:
    async def main() -> None:
        page = LoginPage()
        async with broker_and_client(login=page.login) as (broker, client):
            broker.script = page.script
            calls = [client.request("GET", "/x") for _ in range(30)]
            calls.append(client.request("POST", "/order", order_tag="1"))
            calls.insert(0, client.request("GET", "/slow"))  # is refused when the others have long had theirs
            assert {a.status for a in await asyncio.gather(*calls)} == {200}
            assert page.asked == 1
            refused = sum(s.headers["authorization"] == "Bearer old" for s in broker.seen)
            assert broker.count() == 32 + refused
            assert client.stats()["retries"] == {"credentials": refused}

    asyncio.run(main())


def test_a_login_that_does_not_help_is_not_tried_again_and_nothing_more_is_sent() -> None:
    async def main() -> None:
        page = LoginPage(gives="also old")
        async with broker_and_client(login=page.login) as (broker, client):
            broker.script = page.script
            assert (await client.request("GET", "/x")).status == 401
            for _ in range(5):
                with pytest.raises(CallRefusedError, match="refuses the credentials") as caught:
                    await client.request("GET", "/x")
                assert caught.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
            assert page.asked == 1
            assert broker.count() == 2, "one repeat, no storm"
            await client.request("DELETE", "/1", lane=Lane.CANCEL)
            assert broker.count() == 3, "calling an order off is always tried"

    asyncio.run(main())


def test_a_new_token_lets_calls_out_again() -> None:
    async def main() -> None:
        login = Login(Credentials("old"))
        async with broker_and_client(login=login) as (broker, client):
            broker.script = LoginPage().script
            assert (await client.request("GET", "/x")).status == 401
            with pytest.raises(CallRefusedError):
                await client.request("GET", "/x")
            login.renew(Credentials("new"))
            assert (await client.request("GET", "/x")).status == 200

    asyncio.run(main())


def test_a_permission_that_is_missing_does_not_spoil_the_login() -> None:
    async def main() -> None:
        login = Login(Credentials("new"))
        refuses = lambda answer: answer.status == 403 and answer.body == b"token"  # noqa: E731
        async with broker_and_client(login=login, refuses=refuses) as (broker, client):
            broker.script = lambda seen: Reply(403, b"no such permission")
            assert (await client.request("GET", "/x")).status == 403
            assert not login.refused

    asyncio.run(main())


def test_a_refusal_that_comes_with_a_200_spoils_the_login_as_a_401_does() -> None:
    async def main() -> None:
        page = LoginPage()
        refuses = lambda answer: answer.body == b"session expired"  # noqa: E731
        async with broker_and_client(login=page.login, refuses=refuses) as (broker, client):
            old = "Bearer old"
            broker.script = lambda seen: Reply(
                200, b"session expired" if seen.headers["authorization"] == old else b"{}"
            )
            assert (await client.request("POST", "/x", reads=True)).body == b"{}"
            assert page.asked == 1
            assert client.stats()["retries"] == {"credentials": 1}
            broker.script = lambda seen: Reply(200, b"session expired")
            assert (await client.request("GET", "/x")).body == b"session expired", (
                "nothing newer: told as it is"
            )
            assert page.login.refused

    asyncio.run(main())


def test_without_a_login_a_401_is_the_answer() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = lambda seen: Reply(401)
            for _ in range(2):
                assert (await client.request("GET", "/x")).status == 401
            assert broker.count() == 2

    asyncio.run(main())


def test_a_provider_that_fails_leaves_each_caller_its_401() -> None:
    async def provider() -> Credentials:
        await asyncio.sleep(0)
        raise RuntimeError("no new token today")

    async def main() -> None:
        async with broker_and_client(login=Login(Credentials("old"), provider)) as (broker, client):
            broker.script = lambda seen: Reply(401)
            calls = [client.request("GET", "/x") for _ in range(3)]
            assert [answer.status for answer in await asyncio.gather(*calls)] == [401] * 3
            assert client.stats()["active_connections"] == 0

    asyncio.run(main())
