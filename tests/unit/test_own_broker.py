"""Promises of the example feed: the pool works with it against a broker that speaks its wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from brokerpool import Credentials, Instrument, Mode, QuoteTick, Tick, TokenBook, WebSocketPool
from brokerpool.brokers.account import Account
from brokerpool.brokers.wire import SignalKind
from brokerpool.instruments import Token
from brokerpool.testing.conformance import AdapterConformance
from brokerpool.testing.wire_dialect import Dialect, Heard, Message, Quote
from brokerpool.transport import Link, LinkHandler, Refusal, UpgradeRequest, serve
from examples.own_broker import LIMITS_TABLE, AcmeFeed, AcmeWire
from tests.rehearsal import Prompt, no_task_dies, until

INFY, SBIN = Instrument("NSE", "INFY"), Instrument("NSE", "SBIN")
BOOK = TokenBook([(INFY, 1), (SBIN, 2)])
DAY = [150_050, 149_000, 151_000, 148_000, 150_000, 7]


def prices(*rows: object) -> str:
    return json.dumps({"prices": rows})


def days(*rows: object) -> str:
    return json.dumps({"days": rows})


class AcmeBroker:
    """The broker's side: knows one token, answers each subscription with a tick, and can say goodbye."""

    def __init__(self) -> None:
        self.token = "today"
        self.sockets: list[AcmeSocket] = []
        self.refused = 0

    def accept(self, request: UpgradeRequest) -> LinkHandler | Refusal:
        return AcmeSocket(self)


class AcmeSocket(LinkHandler):
    """One socket of it."""

    def __init__(self, broker: AcmeBroker) -> None:
        self.broker = broker
        self.asked: list[dict[str, object]] = []

    def opened(self, link: Link) -> None:
        self.link = link

    def text(self, message: str) -> None:
        request = json.loads(message)
        self.asked.append(request)
        if request["do"] == "login":
            known = request["token"] == self.broker.token
            self.broker.refused += not known
            if known:
                self.broker.sockets.append(self)
            said = {"login": "ok"} if known else {"login": "refused", "why": "unknown token"}
            self.link.send_text(json.dumps(said))
        elif request["do"] in ("add", "set"):
            ids = request["ids"]
            day = request["what"] == "day"
            self.link.send_text(
                days(*([i, *DAY] for i in ids)) if day else prices(*([i, 50_025] for i in ids))
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


def test_a_login_that_is_refused_is_not_said_twice() -> None:
    async def main() -> None:
        async with no_task_dies(), acme() as (broker, feed), WebSocketPool(feed, random=Prompt()) as pool:
            broker.token = "tomorrow"
            pool.subscribe("NSE:INFY")
            await until(lambda: feed.login.refused)
            feed.login.renew(Credentials("tomorrow"))
            await pool.wait_live("NSE:INFY", timeout=5)
            assert broker.refused == 1

    asyncio.run(main())


def test_an_eviction_is_told_from_a_broken_line() -> None:
    async def main() -> None:
        async with no_task_dies(), acme() as (broker, feed), WebSocketPool(feed, random=Prompt()) as pool:
            pool.subscribe("NSE:INFY")
            await pool.wait_live("NSE:INFY", timeout=5)
            broker.sockets[0].link.close(4002, "replaced")
            await until(lambda: "evicted" in [entry.event.value for entry in pool.journal.entries()])

    asyncio.run(main())


class TestAcme(AdapterConformance):
    def account(self) -> AcmeFeed:
        book = TokenBook((Instrument("NSE", f"S{n}"), n) for n in range(1, 13))
        return AcmeFeed("wss://feed.acme.example/", "conformance-token", book)

    def dialect(self) -> AcmeDialect:
        return AcmeDialect()

    def limits_table(self) -> Mapping[str, Mapping[str, Any]]:
        return LIMITS_TABLE


class AcmeDialect(Dialect):
    """Acme's side of the wire."""

    modes = (Mode.LTP, Mode.QUOTE)
    logged_out_code, evicted_code = 4001, 4002
    samples: Mapping[SignalKind, str] = {
        SignalKind.ORDER_UPDATE: '{"order": {"id": 1}}',
        SignalKind.REFUSED: '{"error": "slower"}',
    }

    def read(self, message: Message) -> Heard:
        said: Any = json.loads(message)
        modes = dict.fromkeys(said.get("ids", ()), Mode.LTP if said.get("what") == "price" else Mode.QUOTE)
        match said["do"]:
            case "login":
                return Heard(login=said["token"])
            case "beat":
                return Heard(heartbeat=True)
            case "remove":
                return Heard(drop=said["ids"])
            case "add":
                return Heard(add=modes)
            case "set":
                return Heard(remode=modes)
        raise ValueError(said)

    def ticks(self, quotes: Sequence[Quote], at_ms: int) -> list[str]:
        lines = []
        for begin in range(0, len(quotes), 100):
            part = quotes[begin : begin + 100]
            for name, mode, rest in (("prices", Mode.LTP, []), ("days", Mode.QUOTE, [1, 2, 3, 4, 5])):
                rows = [[q.token, q.price * 100, *rest] for q in part if q.mode == mode]
                lines += [json.dumps({name: rows})] if rows else []
        return ["\n".join(lines)]

    def heartbeat(self) -> str:
        return '{"beat": 1}'

    def ready(self) -> str:
        return '{"login": "ok"}'

    def login_refused(self) -> str:
        return '{"login": "refused", "why": "it has ended"}'

    def refused(self, tokens: Sequence[Token], reason: str) -> str:
        return json.dumps({"refused": tokens, "why": reason})


ROWS = [[1, 100], [9, 100], [1], [], 5, [[], 1], ["1", 5], [1, "5"], [1, 10**400], [1, None], [1, 2, 3]]


@given(st.lists(st.sampled_from(ROWS), max_size=6))
def test_a_wrong_row_costs_that_row(rows: list[object]) -> None:
    for message, good in ((prices(*rows), [1, 100]), (days(*rows), [1, *DAY])):
        wire = AcmeWire("today")
        ticks = wire.text(message, {1: INFY}, 1)
        assert len(ticks) == rows.count(good)
        assert len(ticks) + sum(wire.skipped.values()) == len(rows)
