"""A POST that only asks: repeated, shared and batched as a GET is, and proved anew at each attempt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokerpool import BrokerApi, Credentials, DepthTick, Instrument, Lane, Login, Tick
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.brokers.rest import Candle, Ohlc, RestAnswer, RestCodec, RestLimits, RestRequest
from brokerpool.errors import BrokerError, OutcomeUnknown
from tests.http_server import Reply, ScriptedBroker, Seen, broker_and_client
from tests.rehearsal import Prompt

A_DAY = datetime(2025, 4, 1, tzinfo=UTC)


class PostingCodec(RestCodec):
    """A broker that is asked by POST, with its key in each body."""

    name = "posting"
    limits = RestLimits({"data": (RateWindow(100, 60.0),)}, {"ltp": 50, "ohlc": 50, "quote": 50})
    intervals = {"1m": 10}  # noqa: RUF012

    def __init__(self, http_url: str, login: Login) -> None:
        self.http_url = http_url
        self.login = login

    def proof(self, credentials: Credentials) -> dict[str, str]:
        return {}

    def key(self, instrument: Instrument) -> str:
        return str(instrument)

    def _post(self, path: str, weight: int, **asked: object) -> RestRequest:
        body = {"apikey": self.login.credentials.access_token, **asked}
        return RestRequest(path, {}, "data", body, weight)

    def ltp(self, keys: Sequence[str]) -> RestRequest:
        return self._post("/ltp", 3, keys=list(keys))

    def read_ltp(self, answer: RestAnswer, received_ms: int) -> dict[str, Tick]:
        return {k: Tick(Instrument.parse(k), 1.0, received_ms) for k in json.loads(answer.body)}

    def ohlc(self, keys: Sequence[str]) -> RestRequest:
        return self.ltp(keys)

    def read_ohlc(self, answer: RestAnswer, received_ms: int) -> dict[str, Ohlc]:
        return {}

    def quotes(self, keys: Sequence[str]) -> RestRequest:
        return self.ltp(keys)

    def read_quotes(self, answer: RestAnswer, received_ms: int) -> dict[str, DepthTick]:
        return {}

    def history(self, instrument: Instrument, interval: str, start: datetime, end: datetime) -> RestRequest:
        return self._post("/history", 1, symbol=str(instrument))

    def read_history(self, answer: RestAnswer) -> list[Candle]:
        return [Candle(at, 1, 1, 1, 1, 1) for at in json.loads(answer.body)]

    def refuses(self, answer: RestAnswer) -> bool:
        return answer.status == 403

    def too_fast(self, answer: RestAnswer) -> bool:
        return False

    def fault(self, answer: RestAnswer) -> BrokerError | None:
        return None


def posted(seen: Seen) -> Any:
    return json.loads(seen.body)


@pytest.mark.parametrize("failing", [Reply(503), Reply(then="reset", status=None)])
def test_a_post_that_only_reads_is_repeated_and_any_other_is_not(failing: Reply) -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = lambda seen: failing if broker.count() < 3 else Reply()
            assert (await client.post("/quotes", json={"symbol": "INFY"}, reads=True)).status == 200
            assert [posted(seen) for seen in broker.seen] == [{"symbol": "INFY"}] * 3
            broker.seen.clear()
            with pytest.raises(OutcomeUnknown):
                await client.post("/quotes", json={"symbol": "INFY"})
            assert broker.count() == 1

    asyncio.run(main())


def test_what_is_an_order_cannot_be_said_to_read() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            for order in ({"order_tag": "t1"}, {"lane": Lane.PLACE}, {"lane": Lane.CANCEL}):
                with pytest.raises(ValueError, match="more than read"):
                    await client.post("/order", json={}, reads=True, **order)
            assert broker.count() == 0

    asyncio.run(main())


def test_equal_posted_reads_in_flight_share_one_call_and_others_do_not() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = lambda seen: Reply(delay=0.05)

            def read(symbol: str) -> Any:
                return client.post("/quotes", json={"symbol": symbol}, reads=True, share=True)

            await asyncio.gather(*(read("INFY") for _ in range(9)), read("SBIN"))
            assert sorted(posted(seen)["symbol"] for seen in broker.seen) == ["INFY", "SBIN"]

    asyncio.run(main())


def test_a_body_that_is_made_at_each_attempt_proves_the_newest_login() -> None:
    async def provider() -> Credentials:
        return Credentials("day-2")

    async def main() -> None:
        async with ScriptedBroker() as broker:
            broker.script = lambda seen: Reply(
                200 if posted(seen)["apikey"] == "day-2" else 403, body=b"[60]"
            )
            codec = PostingCodec(broker.url, Login(Credentials("day-1"), provider))
            async with BrokerApi(codec, random=Prompt()) as api:
                candles = await api.history("NSE:INFY", "1m", A_DAY, A_DAY)
            assert [candle.timestamp for candle in candles] == [60]
            assert [posted(seen)["apikey"] for seen in broker.seen] == ["day-1", "day-2"]

    asyncio.run(main())


class OneDayAtATime(PostingCodec):
    """Tells the candles of one day in each call, whatever the interval."""

    def span(self, interval: str, start: datetime, end: datetime) -> datetime:
        return min(end, start + timedelta(days=1))


@pytest.mark.parametrize(("codec", "calls"), [(PostingCodec, 1), (OneDayAtATime, 4)])
def test_the_adapter_says_up_to_when_a_call_for_candles_reaches(
    codec: type[PostingCodec], calls: int
) -> None:
    async def main() -> None:
        async with ScriptedBroker() as broker:
            broker.script = lambda seen: Reply(body=b"[60]")
            async with BrokerApi(codec(broker.url, Login(Credentials("k")))) as api:
                await api.history("NSE:INFY", "1m", A_DAY, A_DAY + timedelta(days=4))
            assert len(broker.seen) == calls

    asyncio.run(main())


def test_quotes_that_are_posted_leave_as_one_call_with_its_weight() -> None:
    async def main() -> None:
        async with ScriptedBroker() as broker:
            broker.script = lambda seen: Reply(body=json.dumps(posted(seen)["keys"]).encode())
            async with BrokerApi(PostingCodec(broker.url, Login(Credentials("k")))) as api:
                left = [api.stats()["tokens_left"]["data"]["60 s"]]
                found = await asyncio.gather(*(api.ltp(f"NSE:S{n}") for n in range(20)))
                assert [str(next(iter(one))) for one in found] == [f"NSE:S{n}" for n in range(20)]
                assert [len(posted(seen)["keys"]) for seen in broker.seen] == [20]
                assert [seen.method for seen in broker.seen] == ["POST"]
                left.append(api.stats()["tokens_left"]["data"]["60 s"])
            assert left[0] - left[1] == 3

    asyncio.run(main())
