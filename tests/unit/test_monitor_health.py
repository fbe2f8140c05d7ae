"""Promises of health: what is wrong is told with its code, since when and what to do; a reconnect is not."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from brokerpool import Credentials
from brokerpool.monitor.cluster_conditions import ClusterFacts
from brokerpool.monitor.health_reasons import LAG_SECONDS, Code, Facts
from brokerpool.monitor.health_timing import GRACE_SECONDS, Health, Status
from brokerpool.simulator.fault_switches import FaultOrder
from tests.gateway_client import client, gateway, pool_of
from tests.rehearsal import until

WELL = Facts(
    instruments=100,
    instruments_fault="",
    login_refused=False,
    symbols=10,
    unserved=0,
    gaps_open=0,
    connections_allowed=3,
    max_connections=3,
    breakers=(),
    lag=0.001,
    stopping=False,
)


def test_an_empty_list_is_nothing_amiss_where_every_name_can_be_asked_for() -> None:
    health = Health(time.monotonic, time.time)
    assert health.judge(WELL._replace(instruments=0, unlisted_taken=True)).status is Status.OK


CASES = [
    (Code.STOPPING, {"stopping": True}, Status.DOWN, False),
    (Code.BUS_AWAY, {"cluster": ClusterFacts(feed=False, connected=False)}, Status.DEGRADED, False),
    (
        Code.ACCOUNT_UNHELD,
        {"cluster": ClusterFacts(feed=True, connected=True, nodes=1, unheld=("a", "b"))},
        Status.DEGRADED,
        True,
    ),
    (Code.INSTRUMENTS_MISSING, {"instruments": 0}, Status.DOWN, False),
    (Code.INSTRUMENTS_STALE, {"instruments_fault": "it lacks NFO"}, Status.DEGRADED, True),
    (Code.LOGIN_REFUSED, {"login_refused": True}, Status.DEGRADED, False),
    (
        Code.STANDBY_LOGIN,
        {"cluster": ClusterFacts(feed=True, connected=True, nodes=2), "standby_logins": ("a",)},
        Status.DEGRADED,
        True,
    ),
    (Code.DEMAND_NOT_SERVED, {"unserved": 4}, Status.DEGRADED, False),
    (Code.DEMAND_NOT_SERVED, {"unserved": 10}, Status.DOWN, False),
    (Code.DATA_STALE, {"gaps_open": 1}, Status.DEGRADED, True),
    (Code.CONNECTIONS_TAKEN, {"connections_allowed": 2}, Status.DEGRADED, True),
    (Code.BREAKER_OPEN, {"breakers": ("api.kite.trade quote",)}, Status.DEGRADED, True),
    (Code.LOOP_LATE, {"lag": LAG_SECONDS}, Status.DEGRADED, True),
    (Code.DATABASE_AWAY, {"database": "DB_READ_ONLY"}, Status.DEGRADED, True),
    (
        Code.DATABASE_ABSENT,
        {"database": "DB_UNREACHABLE", "database_opened": False},
        Status.DEGRADED,
        True,
    ),
    (Code.CERTIFICATE_ENDS, {"certificate_left": 86_400.0}, Status.DEGRADED, True),
]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.health = Health(lambda: self.now, lambda: 1_000_000 + self.now)


def test_a_gateway_that_serves_all_is_ok_and_ready() -> None:
    assert Clock().health.judge(WELL) == (Status.OK, True, ())


def test_a_gateway_of_which_nothing_is_wanted_is_ready() -> None:
    assert Clock().health.judge(WELL._replace(symbols=0)).ready


@pytest.mark.parametrize(("code", "wrong", "status", "ready"), CASES)
def test_each_fault_is_told_with_its_code_its_beginning_and_the_next_step(
    code: Code, wrong: dict[str, Any], status: Status, ready: bool
) -> None:
    clock = Clock()
    clock.health.judge(WELL)
    clock.now = 5.0
    clock.health.judge(WELL._replace(**wrong))
    clock.now += GRACE_SECONDS
    verdict = clock.health.judge(WELL._replace(**wrong))
    assert (verdict.status, verdict.ready) == (status, ready)
    (reason,) = verdict.reasons
    assert (reason.code, reason.since) == (code, 1_000_005)
    for sentence in (reason.text, reason.code.action):
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert sentence.endswith(".")
    assert clock.health.judge(WELL).reasons == ()


def test_the_cases_are_all_there_are() -> None:
    of_accounts = {Code.LOGIN_ENDS, Code.ACCOUNT_OUT, Code.ACCOUNTS_FULL}  # see test_account_conditions.py
    assert {case[0] for case in CASES} == set(Code) - of_accounts


def test_a_bus_that_is_away_is_told_at_once_of_either_role_and_hides_what_is_not_heard_over_it() -> None:
    told = {}
    for feed in (False, True):
        away = ClusterFacts(feed=feed, connected=False, nodes=0, unheld=("zerodha",))
        (reason,) = Clock().health.judge(WELL._replace(cluster=away)).reasons
        assert reason.code is Code.BUS_AWAY
        told[feed] = reason.text
    assert "clients keep their connections" in told[False]
    assert "broker connections" in told[True]
    assert Clock().health.judge(WELL._replace(cluster=away._replace(connected=True))).reasons == ()


def test_a_bus_that_is_away_is_down_once_nothing_that_is_wanted_is_served() -> None:
    clock, away = Clock(), ClusterFacts(feed=False, connected=False)
    assert clock.health.judge(WELL._replace(cluster=away, unserved=10)).status is Status.DEGRADED
    clock.now = GRACE_SECONDS
    assert clock.health.judge(WELL._replace(cluster=away, unserved=10)).status is Status.DOWN


@pytest.mark.parametrize(
    "wrong",
    [
        {"unserved": 10},
        {"gaps_open": 10},
        {"cluster": ClusterFacts(feed=False, connected=True, nodes=1, unheld=("zerodha",))},
    ],
)
def test_what_a_reconnect_repairs_in_time_is_not_told(wrong: dict[str, Any]) -> None:
    clock = Clock()
    for _ in range(3):
        assert clock.health.judge(WELL._replace(**wrong)).status is Status.OK
        clock.now += GRACE_SECONDS - 0.1
        assert clock.health.judge(WELL._replace(**wrong)).ready
        assert clock.health.judge(WELL).status is Status.OK


def test_a_refused_login_with_nothing_served_is_down() -> None:
    assert Clock().health.judge(WELL._replace(login_refused=True, unserved=10)).status is Status.DOWN


def test_the_endpoints_tell_a_refused_login_with_503_and_what_to_do_until_there_is_a_new_token() -> None:
    async def main() -> None:
        async with (
            gateway() as (broker, served_by),
            client(served_by) as session,
            aiohttp.ClientSession(served_by.http_url) as http,
        ):

            async def get(path: str) -> tuple[int, Any]:
                async with http.get(path) as answer:
                    return answer.status, await answer.json()

            await session.subscribe("INFY")
            await until(lambda: served_by.upstream.connected)
            status, answer = await get("/health")
            # The loop of a test that shares its process and the machine may have come late.
            assert (status, [r for r in answer["reasons"] if r["code"] != "loop_late"]) == (200, [])
            status, answer = await get("/health/ready")
            assert (status, answer["status"]) == (200, "ready")
            await broker.throw(FaultOrder.parse(b'{"expire_token": {"close_sockets": true}}'))
            await until(lambda: pool_of(served_by).feed.login.refused)
            status, answer = await get("/health/ready")
            assert (status, answer["status"]) == (503, "not ready")
            # A busy machine may have reasons of its own; of several accounts there is one for each.
            reason, *_ = (reason for reason in answer["reasons"] if reason["code"] == "login_refused")
            assert "access token" in reason["action"]
            assert abs(reason["since"] - time.time()) < 10
            assert (await get("/health"))[1]["status"] == "down"
            assert await get("/health/live") == (200, {"status": "live"})
            stats = served_by.stats()
            assert stats["health"]["reasons"]["login_refused"] is True
            assert stats["broker"]["login_refused"] is True
            await broker.throw(FaultOrder(access_token="next-day"))
            pool_of(served_by).feed.login.renew(Credentials("next-day"))
            await until(lambda: served_by.upstream.connected)
            status, answer = await get("/health/ready")
            assert (status, answer["status"]) == (200, "ready")

    asyncio.run(main())


def test_a_gateway_that_stops_is_not_ready_and_leaves_no_timer() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by):
            pass
        assert served_by.stats()["health"]["ready"] is False

    asyncio.run(main())
