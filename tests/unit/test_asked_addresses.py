"""An account that asks its broker where to dial does so within its rates, and a refusal is a failed dial."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from brokerpool import BrokerApi, Credentials, Login
from brokerpool.brokers.account import Account, Endpoint
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.rest import RestRequest
from brokerpool.brokers.zerodha import ZerodhaRest
from brokerpool.callback_isolation import Fence
from brokerpool.errors import BrokerError, BrokerpoolError, CallFailedError, CallRefusedError, ErrorCode
from brokerpool.feed.dial import Failure, attempt
from brokerpool.instruments import TokenBook
from brokerpool.transport import LinkHandler, dial
from tests.http_server import Reply, ScriptedBroker

WHERE = RestRequest("/where", {}, "other")


class Asking(Account):
    """Asks for the address of each dial, and cannot have it."""

    name = "asking"
    limits = FeedLimits.load("brokerpool.brokers.zerodha")

    def __init__(self, error: BrokerpoolError) -> None:
        self.book = TokenBook()
        self.login = Login(Credentials("t"))
        self._error = error

    async def endpoint(self) -> Endpoint:
        raise self._error

    def wire(self) -> Any:
        raise AssertionError("nothing is opened")


def api(broker: ScriptedBroker) -> BrokerApi:
    return BrokerApi(ZerodhaRest("k", Login(Credentials("t")), book=TokenBook, http_url=broker.url))


def test_a_call_of_the_adapter_s_own_counts_in_its_group_and_is_shared_with_nobody() -> None:
    async def main() -> None:
        async with ScriptedBroker() as broker, api(broker) as asked:
            left = asked.stats()["tokens_left"]["other"]["1 s"]
            answers = await asyncio.gather(*(asked.ask(WHERE, timeout=5) for _ in range(3)))
            assert [answer.status for answer in answers] == [200] * 3
            assert [seen.path for seen in broker.seen] == ["/where"] * 3
            assert asked.stats()["tokens_left"]["other"]["1 s"] < left

    asyncio.run(main())


def test_a_question_ends_in_the_time_that_it_has_also_where_the_broker_does_not_answer() -> None:
    async def main() -> None:
        async with ScriptedBroker() as broker, api(broker) as asked:
            broker.script = lambda seen: Reply(delay=60)
            async with asyncio.timeout(5):  # half of what a call has without a time of its own
                with pytest.raises(CallFailedError):
                    await asked.ask(WHERE, timeout=0.2)

    asyncio.run(main())


def test_a_question_is_asked_before_an_open_breaker_as_well_and_its_answer_closes_it() -> None:
    async def main() -> None:
        async with ScriptedBroker() as broker, api(broker) as asked:
            broker.script = lambda seen: Reply(status=500)
            while "closed" in asked.client.breakers().values() or not asked.client.breakers():
                with pytest.raises(BrokerpoolError):
                    await asked.ask(WHERE, timeout=5)
            with pytest.raises(CallRefusedError) as refused:
                await asked.client.get("/where", group="other")
            assert refused.value.code is ErrorCode.BREAKER_OPEN
            with pytest.raises(BrokerpoolError):
                await asked.ask(WHERE, timeout=5)
            broker.script = lambda seen: Reply()
            assert (await asked.ask(WHERE, timeout=5)).status == 200
            assert set(asked.client.breakers().values()) == {"closed"}

    asyncio.run(main())


def test_a_complaint_of_the_broker_is_raised_under_our_code() -> None:
    async def main() -> None:
        async with ScriptedBroker() as broker, api(broker) as asked:
            broker.script = lambda seen: Reply(403, body=b'{"error_type": "TokenException"}')
            with pytest.raises(BrokerError) as refused:
                await asked.ask(WHERE)
            assert refused.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS

    asyncio.run(main())


@pytest.mark.parametrize(
    ("error", "retry_after", "parks"),
    [
        (CallRefusedError("too many wait", code=ErrorCode.RATE_LIMITED, retry_after=7.0), 7.0, False),
        (BrokerError("no", code=ErrorCode.BROKER_REFUSED_CREDENTIALS), 0.0, True),
        (BrokerError("away", code=ErrorCode.BROKER_UNREACHABLE), 0.0, False),
    ],
)
def test_an_address_that_cannot_be_had_is_a_failed_dial_and_no_fault_of_the_adapter(
    error: BrokerpoolError, retry_after: float, parks: bool
) -> None:
    async def main() -> None:
        fence = Fence("feed")
        failure = await attempt(Asking(error), LinkHandler(), dial, fence)
        assert failure == Failure(str(error), retry_after=retry_after, parks=parks)
        assert not fence.faults

    asyncio.run(main())
