"""Promises of the example feed: the pool works with it against a broker that speaks its wire."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hypothesis import given
from hypothesis import strategies as st

from brokerpool import Credentials, Instrument, Mode, QuoteTick, Tick, TokenBook, WebSocketPool
from brokerpool.brokers.account import Account
from brokerpool.transport import Link, LinkHandler, Refusal, UpgradeRequest, serve
from examples.own_broker import AcmeFeed, AcmeWire
from tests.rehearsal import Prompt, no_task_dies, until

INFY, SBIN = Instrument("NSE", "INFY"), Instrument("NSE", "SBIN")
BOOK = TokenBook([(INFY, 1), (SBIN, 2)])
DAY = b"D" + struct.pack(">IqqqqqQ", 1, 150_050, 149_000, 151_000, 148_000, 150_000, 7)


def price(token: int, paise: int) -> bytes:
    return b"P" + struct.pack(">Iq", token, paise)


class AcmeBroker:
    """The broker's side: knows one token, answers each subscription with a tick, and can say goodbye."""

    def __init__(self) -> None:
        self.token = "today"
        self.sockets: list[AcmeSocket] = []
        self.refused = 0

    def accept(self, request: UpgradeRequest) -> LinkHandler | Refusal:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            self.refused += 1
            return Refusal(401)
        return AcmeSocket(self)


class AcmeSocket(LinkHandler):
    """One socket of it."""

    def __init__(self, broker: AcmeBroker) -> None:
        self.broker = broker
        self.asked: list[dict[str, object]] = []

    def opened(self, link: Link) -> None:
        self.link = link
        self.broker.sockets.append(self)

    def text(self, message: str) -> None:
        request = json.loads(message)
        self.asked.append(request)
        if request["do"] != "remove":
            day = request["what"] == "day"
            self.link.send_binary(
                b"".join(DAY if day and token == 1 else price(token, 50_025) for token in request["ids"])
            )


@asynccontextmanager
async def acme() -> AsyncIterator[tuple[AcmeBroker, Account]]:
    broker = AcmeBroker()
    server = await serve(broker.accept, "127.0.0.1", 0)
    try:
        yield broker, AcmeFeed(f"ws://127.0.0.1:{server.port}/", "today", BOOK)
    finally:
        await server.close()


def test_the_pool_carries_what_the_adapter_asks_for_and_decodes() -> None:
    async def main() -> None:
        async with no_task_dies(), acme() as (broker, feed), WebSocketPool(feed, random=Prompt()) as pool:
            with pool.ticks() as ticks:
                pool.subscribe("NSE:INFY", Mode.DEPTH)
                pool.subscribe("NSE:SBIN", Mode.LTP)
                await pool.wait_live(["NSE:INFY", "NSE:SBIN"], timeout=5)
                got = {tick.instrument: tick for tick in [await anext(ticks), await anext(ticks)]}
            infy, sbin = got[INFY], got[SBIN]
            assert isinstance(infy, QuoteTick)
            assert (infy.ltp, infy.open, infy.high, infy.low, infy.close) == (1500.5, 1490, 1510, 1480, 1500)
            assert (infy.volume, infy.change) == (7, 0.5)
            assert (type(sbin), sbin.ltp) == (Tick, 500.25)
            pool.unsubscribe("NSE:SBIN")
            await until(lambda: {"do": "remove", "ids": [2]} in broker.sockets[0].asked)

    asyncio.run(main())


def test_a_token_that_dies_is_not_dialled_with_again_and_the_next_one_restores_everything() -> None:
    async def main() -> None:
        async with no_task_dies(), acme() as (broker, feed), WebSocketPool(feed, random=Prompt()) as pool:
            pool.subscribe("NSE:INFY")
            await pool.wait_live("NSE:INFY", timeout=5)
            broker.token = "tomorrow"
            broker.sockets[0].link.close(4001, "the login has ended")
            await until(lambda: feed.login.refused)
            feed.login.renew(Credentials("tomorrow"))
            await until(lambda: len(broker.sockets) == 2)
            await pool.wait_live("NSE:INFY", timeout=5)
            assert broker.refused == 0

    asyncio.run(main())


def test_an_eviction_is_told_from_a_broken_line() -> None:
    async def main() -> None:
        async with no_task_dies(), acme() as (broker, feed), WebSocketPool(feed, random=Prompt()) as pool:
            pool.subscribe("NSE:INFY")
            await pool.wait_live("NSE:INFY", timeout=5)
            broker.sockets[0].link.close(4002, "replaced")
            await until(lambda: "evicted" in [entry.event.value for entry in pool.journal.entries()])

    asyncio.run(main())


PARTS = st.sampled_from([price(1, 100), price(9, 100), DAY, b"P\0", b"D", DAY[:20]]) | st.binary(max_size=20)


@given(st.lists(PARTS, max_size=6).map(b"".join))
def test_whatever_the_bytes_are_decoding_never_raises_and_keeps_what_came_before(payload: bytes) -> None:
    wire = AcmeWire()
    ticks = wire.binary(memoryview(payload), {1: INFY}, 1)
    assert len(ticks) >= (payload[:13] == price(1, 100))
    assert bool(payload) == bool(ticks or any(wire.skipped.values()))


@given(st.text(max_size=50) | st.sampled_from(['{"error": 1}', "[" * 2000, '"\\ud800"', "{}"]))
def test_whatever_a_text_says_classifying_it_never_raises(text: str) -> None:
    wire = AcmeWire()
    assert wire.text(text, {}, 1) == []
    assert len(wire.signals) == 1
