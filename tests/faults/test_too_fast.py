"""A broker allows fewer calls than it publishes, and says so in its own words: the calls slow down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from brokerpool import BrokerApi, BrokerError, CallRefusedError, ErrorCode
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.simulator.registry import front
from tests.every_broker import BROKERS, account

#: What it allows of each kind of call.
SCARCE = RateWindow(1, 1.5)
CALLERS = 12


@pytest.mark.parametrize("name", BROKERS)
def test_calls_that_come_too_fast_are_answered_later_or_told_when_and_the_login_is_not_taken_for_dead(
    name: str,
) -> None:
    async def main() -> None:
        simulated = front(name)
        scarce = dict.fromkeys(simulated.limits.http_rates, (SCARCE,))
        async with simulated(symbols=30, rate=0, http_rates=scarce) as broker:
            await broker.step(100)
            found = await account(broker)
            wanted = list(found.book)
            async with BrokerApi(found.rest(), max_wait=10, timeout=10) as api:

                async def caller(number: int) -> Any:
                    await asyncio.sleep(number * 0.3)  # later than what one call takes with it
                    try:
                        return await api.quotes([wanted[number]])
                    except (BrokerError, CallRefusedError) as error:
                        return error

                ends = await asyncio.gather(*map(caller, range(CALLERS)))
                stats = api.stats()
            told = sum(broker.stats()["too_fast"].values())
            late = [end for end in ends if isinstance(end, BrokerError | CallRefusedError)]
            print(f"{CALLERS - len(late)} of {CALLERS} callers answered; {told} times too fast")
            for instrument, end in zip(wanted, ends, strict=False):
                assert end in late or list(end) == [instrument]
            assert {end.code for end in late} <= {ErrorCode.RATE_LIMITED}
            assert all(end.retry_after is not None for end in late), "told when"
            assert 1 <= told <= CALLERS / 2, "it slows down"
            assert sum(stats["retries"].values()) <= max(3, 0.2 * stats["requests"])
            assert not found.login.refused
            assert found.login.version == 1

    asyncio.run(main())
