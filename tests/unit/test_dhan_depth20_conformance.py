"""Dhan's 20-level depth passes the conformance kit, as far as a feed without a last price can."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from brokerpool import Credentials, WebSocketPool
from brokerpool.brokers.account import Account
from brokerpool.brokers.dhan.account import DhanFeed
from brokerpool.brokers.dhan.segments import NUMBERS, token
from brokerpool.brokers.wire import Farewell, SignalKind
from brokerpool.instruments import Instrument, Token, TokenBook
from brokerpool.simulator.dhan import depth20_wire, wire
from brokerpool.simulator.exchange import Quote as MarketQuote
from brokerpool.testing.conformance import AdapterConformance
from brokerpool.testing.conformance.adapter_under_test import NOW_MS, read
from brokerpool.testing.wire_dialect import Dialect, Heard, Message, Quote
from brokerpool.ticks import DepthTick, Mode

PACKETS = depth20_wire.Depth20Packets()


class Depth20Dialect(Dialect):
    """Dhan's side, with what the simulator writes."""

    modes = (Mode.DEPTH,)
    samples: Mapping[SignalKind, Message] = {
        SignalKind.REFUSED: depth20_wire.disconnect(wire.TOO_MANY_INSTRUMENTS)
    }

    def read(self, message: Message) -> Heard:
        said: Any = json.loads(message)
        named = said["InstrumentList"]
        assert said["InstrumentCount"] == len(named) <= 50
        tokens: list[Token] = [token(NUMBERS[n["ExchangeSegment"]], int(n["SecurityId"])) for n in named]
        if said["RequestCode"] == 23:
            return Heard(add=dict.fromkeys(tokens, Mode.DEPTH))
        assert said["RequestCode"] == 25
        return Heard(drop=tokens)

    def ticks(self, quotes: Sequence[Quote], at_ms: int) -> list[bytes]:
        return [PACKETS.frame([PACKETS.record(_quote(quote), Mode.DEPTH) for quote in quotes])]

    def last_words(self, why: Farewell) -> bytes | None:
        reasons = {Farewell.EVICTED: wire.TOO_MANY_SOCKETS, Farewell.CREDENTIALS: wire.TOKEN_EXPIRED}
        return depth20_wire.disconnect(reasons[why]) if why in reasons else None


def _quote(quote: Quote) -> MarketQuote:
    paise = quote.price * 100
    return MarketQuote(int(quote.token), ltp=paise, levels=(1, paise, 1) * 10)


def feed(symbols: int = 12, **given: Any) -> DhanFeed:
    book = TokenBook((Instrument("NSE", f"S{n}"), token(1, n)) for n in range(1, symbols))
    book.add(Instrument("NFO", "NIFTY24NOV26FUT"), token(2, 49081))
    book.add(Instrument("NSE_INDEX", "NIFTY"), token(0, 13))
    book.add(Instrument("BSE", "S1"), token(4, 500001))
    return DhanFeed("1100000001", "conformance-token", book=book, deep_book=True, **given)


def depth(account: DhanFeed) -> Account:
    assert account.deep_book is not None
    return account.deep_book


class TestDepth20(AdapterConformance):
    def account(self) -> Account:
        return depth(feed())

    def dialect(self) -> Dialect:
        return Depth20Dialect()

    def limits_table(self) -> Mapping[str, Mapping[str, Any]]:
        return self._limits_file()["deep_book"]

    def test_each_mode_brings_its_tick(self) -> None:
        """There is a book and no last price: what the kit says with the price is looked for in the levels."""
        account, dialect = self.account(), self.dialect()
        routes, reader = self.players(account), account.wire()
        for price, (number, instrument) in enumerate(routes.items(), 101):
            messages = dialect.ticks([Quote(number, Mode.DEPTH, price)], NOW_MS)
            (tick,) = [tick for message in messages for tick in read(reader, message, routes)]
            assert isinstance(tick, DepthTick)
            assert (tick.instrument, tick.ltp, tick.timestamp) == (instrument, 0.0, NOW_MS)
            assert (tick.buy[0].price, tick.sell[0].price) == (price, price)

    test_no_message_makes_the_wire_raise = None  # type: ignore[assignment]  # ends with a price; codec's tests


def test_only_shares_and_contracts_of_nse_are_in_the_book() -> None:
    account = feed(4)
    book = depth(account).book
    assert [str(i) for i in book] == ["NSE:S1", "NSE:S2", "NSE:S3", "NFO:NIFTY24NOV26FUT"]
    assert len(book) == 4
    for text, number in (("NSE_INDEX:NIFTY", token(0, 13)), ("BSE:S1", token(4, 500001))):
        assert book.token(text) is None
        assert not book.lists(text)
        assert text not in book
        assert book.instrument(number) is None
    assert book.instrument(token(1, 2)) == Instrument("NSE", "S2")
    assert book.details("NSE:S2").broker_symbol == "S2"
    account.relist(TokenBook([("NSE:NEW", token(1, 99))]))
    assert [str(i) for i in depth(account).book] == ["NSE:NEW"]


def test_the_login_is_followed_and_a_refusal_stays_here() -> None:
    account = feed()
    own = depth(account).login
    own.refuse(own.version)
    assert own.refused
    assert not account.login.refused, "the account was parked for its depth"
    account.login.renew(Credentials("next-token"))
    assert (own.credentials.access_token, own.refused) == ("next-token", False)
    account.login.refuse(account.login.version)
    assert own.refused, "nobody shall dial with a token that is known to be dead"


async def _url(**given: Any) -> str:
    return (await depth(feed(**given)).endpoint()).url


def test_the_address_is_dhans_own_or_beside_that_of_the_feed() -> None:
    query = "token=conformance-token&clientId=1100000001&authType=2"
    assert asyncio.run(_url()) == f"wss://depth-api-feed.dhan.co/twentydepth?{query}"
    assert asyncio.run(_url(ws_url="ws://127.0.0.1:7/")) == f"ws://127.0.0.1:7/twentydepth?{query}"


def test_without_being_asked_for_there_is_none() -> None:
    assert DhanFeed("1100000001", "token").deep_book is None


def test_the_251st_symbol_is_refused_by_name() -> None:
    async def main() -> None:
        account = depth(feed(300))
        async with WebSocketPool(account, name="dhan-depth20", max_connections=9) as pool:
            done = pool.subscribe(list(account.book), Mode.DEPTH, partial=True)
            assert len(done.accepted) == 250
            assert [str(refused.instrument) for refused in done.refused][:1] == ["NSE:S251"]
            assert {refused.code.name for refused in done.refused} == {"MAX_CAPACITY_REACHED"}
            assert "dhan-depth20" in done.refused[0].message

    asyncio.run(main())
