"""Dhan's adapter passes the conformance kit, and an eviction is no storm: nobody dials for a minute."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from brokerpool.brokers.dhan.account import DhanFeed
from brokerpool.brokers.dhan.segments import NUMBERS, token
from brokerpool.brokers.wire import Farewell, SignalKind
from brokerpool.event_journal import Event
from brokerpool.instruments import Instrument, Token, TokenBook
from brokerpool.simulator.dhan import wire
from brokerpool.simulator.exchange import Quote as MarketQuote
from brokerpool.testing.conformance import AdapterConformance
from brokerpool.testing.scenario import stage
from brokerpool.testing.virtual_loop import run
from brokerpool.testing.wire_dialect import Dialect, Heard, Message, Quote
from brokerpool.ticks import Mode

MODES = {15: Mode.LTP, 17: Mode.QUOTE, 21: Mode.DEPTH}
PACKETS = wire.DhanPackets()


class DhanDialect(Dialect):
    """Dhan's side, with what the simulator writes."""

    samples: Mapping[SignalKind, Message] = {SignalKind.REFUSED: wire.disconnect(wire.TOO_MANY_INSTRUMENTS)}

    def __init__(self) -> None:
        self._modes: dict[Token, Mode] = {}

    def read(self, message: Message) -> Heard:
        said: Any = json.loads(message)
        code, named = said["RequestCode"], said["InstrumentList"]
        assert said["InstrumentCount"] == len(named) <= 100
        tokens: list[Token] = [token(NUMBERS[n["ExchangeSegment"]], int(n["SecurityId"])) for n in named]
        if code in MODES:
            assert not self._modes.keys() & set(tokens), "a token would count in two modes"
            self._modes.update(dict.fromkeys(tokens, MODES[code]))
            return Heard(add=dict.fromkeys(tokens, MODES[code]))
        for each in tokens:
            if self._modes.pop(each) is not MODES[code - 1]:
                raise ValueError(f"{each} has another mode than that of {code}")
        return Heard(drop=tokens)

    def ticks(self, quotes: Sequence[Quote], at_ms: int) -> list[bytes]:
        return [PACKETS.frame([PACKETS.record(_quote(quote, at_ms), quote.mode) for quote in quotes])]

    def last_words(self, why: Farewell) -> bytes | None:
        reasons = {
            Farewell.EVICTED: wire.TOO_MANY_SOCKETS,
            Farewell.CREDENTIALS: wire.TOKEN_EXPIRED,
        }
        return wire.disconnect(reasons[why]) if why in reasons else None


def _quote(quote: Quote, at_ms: int) -> MarketQuote:
    paise = quote.price * 100
    return MarketQuote(int(quote.token), ltp=paise, close=paise, last_trade_time=at_ms // 1000)


def account(symbols: int = 12) -> DhanFeed:
    book = TokenBook((Instrument("NSE", f"S{n}"), token(1, n)) for n in range(1, symbols))
    book.add(Instrument("NSE_INDEX", "NIFTY"), token(0, 13))
    return DhanFeed("1100000001", "conformance-token", book=book)


class TestDhan(AdapterConformance):
    def account(self) -> DhanFeed:
        return account()

    def dialect(self) -> Dialect:
        return DhanDialect()


def test_an_eviction_lowers_the_cap_and_nobody_dials_for_a_minute() -> None:
    async def main() -> None:
        feed = account(51)
        async with stage(
            feed,
            DhanDialect,
            random=Random(7),
            max_symbols=10,
            max_connections=5,
            broker={"token": "conformance-token", "evicts": True},
        ) as scene:
            for n, instrument in enumerate(feed.book):
                scene.pool.subscribe(instrument, Mode(n % 3 + 1), owner="test", partial=True)
            await scene.until(scene.all_live, 60, "every symbol live on five sockets")
            assert len(scene.broker.sockets) == 5
            dials = len(scene.broker.ledger.dials)
            scene.broker.intrude()  # another program of the account
            await scene.until(
                lambda: scene.pool.journal.counts().get(Event.EVICTED.value), 5, "the eviction noticed"
            )
            assert scene.pool.get_pool_stats()["websocket"]["allowed_connections"] == 4
            await asyncio.sleep(59)
            assert len(scene.broker.ledger.dials) == dials, "an eviction was answered with a dial"
            assert scene.broker.evictions == 1
            assert not scene.broker.ledger.violations
            # Later the pool tries whether there is room again, and leaves more time from try to try.
            await asyncio.sleep(1_800)
            assert scene.broker.evictions <= 8

    run(main)


def test_an_eviction_after_which_the_broker_leaves_the_socket_open_is_no_storm_either() -> None:
    async def main() -> None:
        feed = account(21)
        async with stage(
            feed, DhanDialect, random=Random(3), max_symbols=10, max_connections=3, broker={"evicts": True}
        ) as scene:
            for instrument in list(feed.book)[:20]:
                scene.pool.subscribe(instrument, Mode.QUOTE, owner="test")
            await scene.until(scene.all_live, 60, "every symbol live")
            dials, (eldest, *_) = len(scene.broker.ledger.dials), scene.broker.sockets
            eldest.say(wire.disconnect(wire.TOO_MANY_SOCKETS))
            eldest.mute = True
            evicted = await scene.until(
                lambda: scene.pool.journal.counts().get(Event.EVICTED.value), 40, "the eviction noticed"
            )
            await asyncio.sleep(59)
            assert len(scene.broker.ledger.dials) == dials, f"a dial within a minute of {evicted:.0f} s"

    run(main)
