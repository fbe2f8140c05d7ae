"""Promises of the example's HTTP half: `BrokerApi` works with it against a broker with its shapes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from brokerpool import BrokerApi, BrokerError, Credentials, ErrorCode, Instrument, Login, TokenBook
from examples.own_broker_rest import AcmeRest
from tests.rehearsal import Prompt, no_task_dies

INFY, SBIN, NOPE = (Instrument("NSE", symbol) for symbol in ("INFY", "SBIN", "NOPE"))
BOOK = TokenBook([(INFY, 1), (SBIN, 2)])
DAYS = {"1": [150_050, 149_000, 151_000, 148_000, 150_000, 7], "2": [50_025, 1, 2, 3, 4, 5]}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Acme:
    """The broker's side: three calls, one token, and what it complains of next."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.complaints: list[tuple[int, str]] = []

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.calls.append(request.path)
        if request.headers.get("Authorization") != "Bearer today":
            return web.json_response({"error": "who are you?", "kind": "login"}, status=401)
        if self.complaints:
            status, kind = self.complaints.pop()
            return web.json_response({"error": "no", "kind": kind}, status=status)
        return await handler(request)

    async def prices(self, request: web.Request) -> web.StreamResponse:
        known = {key: DAYS[key][0] for key in request.query.getall("id") if key in DAYS}
        return web.json_response({"prices": known})

    async def days(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"days": {k: DAYS[k] for k in request.query.getall("id") if k in DAYS}})

    async def candles(self, request: web.Request) -> web.StreamResponse:
        start = int(request.query["from"])
        assert request.query["seconds"] == "60"
        return web.json_response({"candles": [[start, 100, 200, 50, 150, 7]]})


@asynccontextmanager
async def acme(login: Login | None = None) -> AsyncIterator[tuple[Acme, BrokerApi]]:
    broker = Acme()
    application = web.Application(middlewares=[broker.guard])
    application.router.add_get("/prices", broker.prices)
    application.router.add_get("/days", broker.days)
    application.router.add_get("/candles", broker.candles)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with (
            no_task_dies(),
            BrokerApi(AcmeRest(url, login or Login(Credentials("today")), BOOK), random=Prompt()) as api,
        ):
            yield broker, api
    finally:
        await runner.cleanup()


def test_quotes_and_candles_come_in_rupees_and_without_what_the_broker_does_not_know() -> None:
    async def main() -> None:
        async with acme() as (broker, api):
            ltp = await api.ltp([INFY, SBIN, NOPE])
            assert {i: tick.ltp for i, tick in ltp.items()} == {INFY: 1500.5, SBIN: 500.25}
            day = (await api.ohlc([INFY]))[INFY]
            assert (day.ltp, day.open, day.high, day.low, day.close) == (1500.5, 1490, 1510, 1480, 1500)
            quote = (await api.quotes([INFY]))[INFY].tick
            assert (quote.ltp, quote.high, quote.volume) == (1500.5, 1510, 7)
            end = datetime(2026, 11, 25, tzinfo=UTC)
            candles = await api.history(INFY, "1m", end - timedelta(days=10), end)
            assert [(c.open, c.high, c.low, c.close, c.volume) for c in candles] == [(1, 2, 0.5, 1.5, 7)] * 2
            assert broker.calls == ["/prices", "/days", "/days", "/candles", "/candles"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [(400, "request", ErrorCode.BROKER_REFUSED_CALL), (400, "", ErrorCode.BROKER_UNREACHABLE)],
)
def test_a_complaint_comes_as_an_error_with_our_code(status: int, kind: str, code: ErrorCode) -> None:
    async def main() -> None:
        async with acme() as (broker, api):
            broker.complaints.append((status, kind))
            with pytest.raises(BrokerError) as raised:
                await api.ltp([INFY])
            assert raised.value.code is code

    asyncio.run(main())


def test_a_dead_token_is_told_to_the_account_and_asked_with_once() -> None:
    async def main() -> None:
        login = Login(Credentials("yesterday"))
        async with acme(login) as (broker, api):
            with pytest.raises(BrokerError) as raised:
                await api.ltp([INFY])
            assert raised.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
            assert login.refused
            assert broker.calls == ["/prices"]

    asyncio.run(main())


def test_a_call_that_came_too_fast_is_made_again() -> None:
    async def main() -> None:
        async with acme() as (broker, api):
            broker.complaints.append((503, "speed"))
            assert set(await api.ltp([INFY])) == {INFY}
            assert broker.calls == ["/prices", "/prices"]
            assert api.stats()["rate_limited"] == 1

    asyncio.run(main())


class Answer(NamedTuple):
    status: int
    body: bytes


def test_an_id_that_is_not_listed_is_left_out() -> None:
    rest = AcmeRest("http://127.0.0.1", Login(Credentials("today")), BOOK)
    prices = rest.read_ltp(Answer(200, b'{"prices": {"9": 1, "1": 2, "x": 3}}'), 1)
    assert {key: tick.instrument for key, tick in prices.items()} == {"1": INFY}


@given(st.binary(max_size=40) | st.sampled_from([b"[" * 2000, b'{"error": 1}', b'"\xff"', b"{}"]))
def test_an_answer_that_is_not_as_documented_is_told_as_such_and_nothing_else_is_raised(body: bytes) -> None:
    rest = AcmeRest("http://127.0.0.1", Login(Credentials("today")), BOOK)
    with pytest.raises(BrokerError) as raised:
        rest.read_ltp(Answer(200, body), 1)
    assert raised.value.code is ErrorCode.BROKER_UNREACHABLE
    assert rest.fault(Answer(500, body)) is not None
    assert not rest.refuses(Answer(401, body))
    assert not rest.too_fast(Answer(503, body))
