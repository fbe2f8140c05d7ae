"""Promises of health over several accounts: which one ails, what goes on without it, and what to do."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from brokerpool.monitor.account_conditions import LOGIN_SECONDS, AccountFacts
from brokerpool.monitor.condition_log import ConditionLog
from brokerpool.monitor.health_reasons import Code, Facts
from brokerpool.monitor.health_timing import GRACE_SECONDS, Health, Reason, Status, Verdict
from tests.gateway_client import client
from tests.rehearsal import until
from tests.two_accounts import two_accounts
from tests.unit.test_monitor_health import WELL


def account(name: str, home: int = 10, **facts: Any) -> AccountFacts:
    """An account that is well, with 10 of its 20 places taken, but for what is said."""
    well = AccountFacts(
        name,
        connected=True,
        login_refused=False,
        login_left=None,
        symbols=home,
        symbols_home=home,
        symbols_away=0,
        capacity=20,
    )
    return well._replace(**facts)


#: An account of 10 symbols, all of which another one has taken over.
OUT = account("first", connected=False, symbols=0, symbols_away=10)
HOST = account("second", 5, symbols=15)


def judged(*accounts: AccountFacts, after: float = GRACE_SECONDS, **facts: Any) -> Verdict:
    """Return the verdict on facts that have held for so many seconds."""
    now = 0.0
    health = Health(lambda: now, lambda: 1_000_000 + now)
    found = whole(*accounts, **facts)
    health.judge(found)
    now = after
    return health.judge(found)


def whole(*accounts: AccountFacts, **facts: Any) -> Facts:
    refused = all(account.login_refused for account in accounts)
    return WELL._replace(**{"accounts": accounts, "login_refused": refused, **facts})


def test_accounts_that_are_well_or_carry_nothing_are_no_reason() -> None:
    idle = account("second", 0, connected=False)
    assert judged(account("first"), idle) == (Status.OK, True, ())
    assert judged(account("first", 20), idle).status is Status.OK, "one that is full is what several are for"


def test_one_account_is_told_as_ever_without_its_name() -> None:
    alone = account("only", 20, connected=False, login_refused=True, login_left=1.0)
    (reason,) = judged(alone).reasons
    assert (reason.code, reason.account) == (Code.LOGIN_REFUSED, "")
    assert "account" not in reason.text
    assert reason.action == Code.LOGIN_REFUSED.action


def test_an_account_that_is_out_while_another_carries_its_symbols_is_degraded_and_ready() -> None:
    verdict = judged(OUT, HOST)
    assert (verdict.status, verdict.ready) == (Status.DEGRADED, True)
    (reason,) = verdict.reasons
    assert (reason.code, reason.account) == (Code.ACCOUNT_OUT, "first")
    assert reason.text == "No connection of the account first is live. Its 10 symbols go on with second."
    assert "dialled again by itself" in reason.action


def test_a_reconnect_of_an_account_is_not_told() -> None:
    assert judged(OUT, HOST, after=GRACE_SECONDS - 0.1).reasons == ()


def test_a_refused_login_names_the_account_its_command_and_is_told_at_once_and_once() -> None:
    verdict = judged(OUT._replace(login_refused=True), HOST, after=0.0)
    (reason,) = verdict.reasons
    assert (verdict.status, verdict.ready) == (Status.DEGRADED, True)
    assert (reason.code, reason.account) == (Code.LOGIN_REFUSED, "first")
    assert "access token of the account first" in reason.text
    assert "Its 10 symbols go on with second." in reason.text
    assert "`brokerpool login first`" in reason.action


def test_what_is_carried_by_none_is_told_with_the_room_of_the_others() -> None:
    part = OUT._replace(symbols=4, symbols_away=6)
    full = account("second", 14, symbols=20)
    (reason,) = judged(part, full).reasons
    assert reason.text.endswith(
        "Of its 10 symbols 6 go on with second, 4 with none: second is full (20 of 20)."
    )
    (reason,) = judged(OUT._replace(symbols=10, symbols_away=0), account("second", 5)).reasons
    assert reason.text.endswith(
        "None of its 10 symbols is carried by another account so far: second has room for 15 (5 of 20)."
    )


def test_two_accounts_that_are_out_are_two_reasons_and_with_nothing_served_it_is_down() -> None:
    none = [account(name, connected=False, login_refused=True) for name in ("first", "second")]
    verdict = judged(*none, unserved=10)
    assert (verdict.status, verdict.ready) == (Status.DOWN, False)
    assert [(r.code, r.account) for r in verdict.reasons] == [
        (Code.LOGIN_REFUSED, "first"),
        (Code.LOGIN_REFUSED, "second"),
        (Code.DEMAND_NOT_SERVED, ""),
    ], "the causes come first"
    assert "second is out as well" in next(r.text for r in verdict.reasons if r.account == "first")


def test_a_refused_login_is_no_fault_of_the_whole_while_nothing_is_wanted() -> None:
    idle = account("second", 0, connected=False)
    verdict = judged(account("first", 0, connected=False, login_refused=True), idle, symbols=0)
    assert (verdict.status, verdict.ready) == (Status.DEGRADED, True)


@pytest.mark.parametrize(("left", "words"), [(600.0, "ends in 10 minutes"), (-120.0, "ended 2 minutes ago")])
def test_a_login_that_ends_soon_or_has_ended_is_told_with_the_account(left: float, words: str) -> None:
    (reason,) = judged(account("first", login_left=left), HOST).reasons
    assert (reason.code, reason.account) == (Code.LOGIN_ENDS, "first")
    assert words in reason.text
    assert "`brokerpool login first`" in reason.action
    assert judged(account("first", login_left=LOGIN_SECONDS), HOST).reasons == ()


def test_a_pool_is_full_when_every_account_is_and_guests_do_not_count() -> None:
    full = account("first", 20), account("second", 20)
    (reason,) = judged(*full).reasons
    assert (reason.code, reason.account) == (Code.ACCOUNTS_FULL, "")
    assert reason.text == "No account has room for another symbol: first 20 of 20, second 20 of 20."
    assert judged(full[0], account("second", 15, symbols=20)).status is Status.OK


def test_each_account_is_logged_once_when_it_begins_and_once_when_it_is_over() -> None:
    now = 0.0
    log = ConditionLog(lambda: now)
    lines = []
    reasons = [Reason(Code.LOGIN_REFUSED, "It is so.", 0.0, name) for name in ("first", "second")]
    for second in range(200):
        now = float(second)
        lines += [line.text for line in log.look(reasons if second < 100 else reasons[1:])]
    begins, also, ends = lines
    assert begins.startswith("login_refused of first: It is so. Log in")
    assert also.startswith("login_refused of second: ")
    assert ends == "login_refused of first is over; it took 99 s"


def test_a_gateway_over_two_accounts_stays_ready_when_one_login_dies_and_says_what_carries_on() -> None:
    async def main() -> None:
        async with (
            two_accounts() as two,
            client(two.served_by) as session,
            aiohttp.ClientSession(two.served_by.http_url) as http,
        ):

            async def get(path: str) -> tuple[int, Any]:
                async with http.get(path) as answer:
                    return answer.status, await answer.json()

            names = [row.tradingsymbol for row in two.brokers[0].listings if row.exchange == "NSE"]
            await session.subscribe(*names[:4])
            await until(lambda: two.router.symbols_unserved == 0)
            await two.refuse_login(0)
            await until(lambda: two.router.accounts()[0].symbols_away == 4)
            await until(lambda: two.router.symbols_unserved == 0)
            status, answer = await get("/health/ready")
            assert (status, answer["status"]) == (200, "ready")
            (reason,) = [r for r in answer["reasons"] if r["code"] == "login_refused"]
            assert reason["account"] == "zerodha"
            assert reason["text"].endswith("Its 4 symbols go on with desk2.")
            assert (await get("/health"))[1]["status"] == "degraded"
            assert two.served_by.stats()["health"]["reasons"]["login_refused"] is True

    asyncio.run(main())
