"""Promises of REST over accounts: who serves a symbol is asked about it, and another while that is out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import pytest

from brokerpool import Instrument
from brokerpool.brokers.account import FullAccount
from brokerpool.errors import BrokerError, BrokerpoolError, ErrorCode
from brokerpool.gateway.account_market_data import AccountApi, AccountApis
from brokerpool.gateway.summed_statistics import summed
from brokerpool.http.broker_api import BrokerApi
from brokerpool.simulator import KiteSimulator
from tests.rehearsal import feed, instruments

DAY = datetime(2026, 11, 20, 9, 15), datetime(2026, 11, 20, 9, 45)


class Two(NamedTuple):
    """Two accounts at two simulated brokers, who serves which symbol, and what each lists."""

    apis: AccountApis
    brokers: list[KiteSimulator]
    feeds: list[FullAccount]
    serving: dict[Instrument, str]
    listed: list[set[Instrument]]

    def asked(self) -> list[int]:
        """Return how many calls each broker has answered, those for a warm connection left out."""
        return [one["requests"] for one in self.apis.stats()["accounts"]]


@asynccontextmanager
async def two() -> AsyncIterator[Two]:
    # Their rates are another test's: beside other tests a call may come to them later than it was sent.
    quiet: dict[str, Any] = {"rate": 0, "symbols": 30, "http_rates": {}}
    async with KiteSimulator(**quiet) as first, KiteSimulator(**quiet) as second:
        brokers = [first, second]
        feeds = [feed(broker) for broker in brokers]
        listed = [set(instruments(broker)) for broker in brokers]
        options: dict[str, Any] = {"max_retries": 0, "backoff_factor": 0.0, "timeout": 5.0}
        clients = [BrokerApi(one.rest(), **options) for one in feeds]
        serving: dict[Instrument, str] = {}
        accounts = [
            AccountApi(name, api, rows.__contains__)
            for name, api, rows in zip(("one", "two"), clients, listed, strict=True)
        ]
        apis = AccountApis(accounts, lambda instrument: serving.get(instrument, ""))
        try:
            yield Two(apis, brokers, [*feeds], serving, listed)
        finally:
            await apis.drain(0)


def rehearse(scenario: Callable[[Two], Awaitable[None]]) -> None:
    async def main() -> None:
        async with two() as accounts:
            await scenario(accounts)

    asyncio.run(asyncio.wait_for(main(), 30))


def test_each_symbol_is_asked_of_the_account_that_serves_it_and_others_of_the_first_that_lists_it() -> None:
    async def scenario(accounts: Two) -> None:
        a, b, c, d = instruments(accounts.brokers[0], 4)
        accounts.serving.update({a: "one", b: "two"})
        accounts.listed[0].discard(d)
        assert set(await accounts.apis.quotes([a])) == {a}
        assert accounts.asked() == [1, 0]
        assert set(await accounts.apis.ltp([b])) == {b}
        assert accounts.asked() == [1, 1]
        assert set(await accounts.apis.ohlc([c])) == {c}, "nobody serves it"
        assert accounts.asked() == [2, 1]
        assert set(await accounts.apis.quotes([a, b, c, d])) == {a, b, c, d}
        assert accounts.asked() == [3, 2], "one call each"
        assert await accounts.apis.history(b, "5m", *DAY)
        assert accounts.asked() == [3, 3]

    rehearse(scenario)


def test_accounts_in_another_order_are_asked_in_that_one_and_only_those_that_are_new_are_made() -> None:
    async def scenario(accounts: Two) -> None:
        (a,) = instruments(accounts.brokers[0], 1)
        first = accounts.apis._accounts[0]
        made: list[str] = []

        def make(name: str) -> AccountApi:
            made.append(name)
            return first._replace(name=name)

        accounts.apis.use(["two", "one"], make)
        assert made == []
        assert set(await accounts.apis.quotes([a])) == {a}
        assert accounts.asked() == [1, 0], "the second is asked first"
        accounts.apis.use(["new", "two", "one"], make)
        assert made == ["new"]
        assert [one["name"] for one in accounts.apis.stats()["accounts"]] == ["new", "two", "one"]

    rehearse(scenario)


async def dies(accounts: Two) -> None:
    accounts.brokers[0].expire_token()


async def is_away(accounts: Two) -> None:
    await accounts.brokers[0].close()


async def has_no_login(accounts: Two) -> None:
    accounts.feeds[0].login.refuse(accounts.feeds[0].login.version)


@pytest.mark.parametrize("out", [dies, is_away, has_no_login])
def test_another_account_that_lists_the_symbol_is_asked_while_the_one_that_serves_it_is_out(
    out: Callable[[Two], Awaitable[None]],
) -> None:
    async def scenario(accounts: Two) -> None:
        a, b = instruments(accounts.brokers[0], 2)
        accounts.serving.update({a: "one", b: "two"})
        await out(accounts)
        assert set(await accounts.apis.quotes([a, b])) == {a, b}
        assert await accounts.apis.history(a, "5m", *DAY)
        assert await accounts.apis.depth(a)
        accounts.listed[1].discard(a)
        with pytest.raises(BrokerpoolError) as told:
            await accounts.apis.quotes([a, b])
        assert told.value.code in (ErrorCode.BROKER_REFUSED_CREDENTIALS, ErrorCode.CALL_NOT_SENT)
        with pytest.raises(BrokerpoolError):
            await accounts.apis.history(a, "5m", *DAY)

    rehearse(scenario)


def test_what_the_broker_complains_of_is_not_asked_of_another_account() -> None:
    async def scenario(accounts: Two) -> None:
        (a,) = instruments(accounts.brokers[0], 1)
        with pytest.raises(BrokerError) as told:
            await accounts.apis.history(a, "7m", *DAY)
        assert told.value.code is ErrorCode.INTERVAL_NOT_SUPPORTED
        assert accounts.asked() == [0, 0]

    rehearse(scenario)


def test_breakers_and_numbers_tell_the_accounts_apart_and_add_up() -> None:
    async def scenario(accounts: Two) -> None:
        a, b = instruments(accounts.brokers[0], 2)
        accounts.serving.update({a: "one", b: "two"})
        await accounts.apis.quotes([a, b])
        stats = accounts.apis.stats()
        assert [account["name"] for account in stats["accounts"]] == ["one", "two"]
        assert (stats["requests"], stats["call_seconds"]["count"]) == (2, 2)
        assert stats["pool_size"] == sum(account["pool_size"] for account in stats["accounts"])
        assert {key.split("/")[0] for key in accounts.apis.breakers()} == {"one", "two"}
        assert all(len(key.split()) == 2 for key in accounts.apis.breakers()), "host and group"

    rehearse(scenario)


@pytest.mark.parametrize(
    ("each", "sums"),
    [
        ([{"a": 1, "b": {"x": 1}}, {"a": 2, "b": {"x": 2, "y": 3}}], {"a": 3, "b": {"x": 3, "y": 3}}),
        ([{"oldest_wait_seconds": 1.0}, {"oldest_wait_seconds": 3.0}], {"oldest_wait_seconds": 3.0}),
        (
            [
                {"created": 1, "reused": 0, "reuse_ratio": 0.0},
                {"created": 1, "reused": 2, "reuse_ratio": 0.5},
            ],
            {"created": 2, "reused": 2, "reuse_ratio": 0.5},
        ),
        (
            [{"created": 0, "reused": 0, "reuse_ratio": None}] * 2,
            {"created": 0, "reused": 0, "reuse_ratio": None},
        ),
        ([{"holders": [1]}, {"holders": [2]}], {"holders": [1, 2]}),
        ([{"name": "a"}, {"name": "b"}], {"name": "a"}),
    ],
)
def test_numbers_add_up_and_what_is_no_number_does_not(
    each: list[dict[str, Any]], sums: dict[str, Any]
) -> None:
    assert summed(each) == sums
