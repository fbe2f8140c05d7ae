"""The Upstox adapter passes the conformance kit; where to dial is told by a stand-in for its HTTP API."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from brokerpool.brokers.account import Account
from brokerpool.brokers.http_call import Answer
from brokerpool.brokers.rest import RestAnswer, RestRequest
from brokerpool.brokers.upstox import UpstoxFeed
from brokerpool.brokers.wire import SignalKind
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.simulator.upstox import protobuf
from brokerpool.testing.conformance import AdapterConformance
from brokerpool.testing.scenario import Stage
from brokerpool.testing.wire_dialect import Dialect, Heard, Message, Quote
from brokerpool.ticks import Mode

_MODES = {"ltpc": Mode.LTP, "full": Mode.DEPTH}


class UpstoxDialect(Dialect):
    """Upstox's side, with what the simulator writes."""

    modes = (Mode.LTP, Mode.DEPTH)
    samples: Mapping[SignalKind, Message] = {
        SignalKind.TOLD: protobuf.market_info([("NSE_EQ", 2)], 1_790_000_000_000)
    }

    def read(self, message: Message) -> Heard:
        if isinstance(message, str):
            raise ValueError("requests are binary messages")
        said: Any = json.loads(message)
        keys = said["data"]["instrumentKeys"]
        match said["method"]:
            case "unsub":
                return Heard(drop=keys)
            case "sub":
                return Heard(add=dict.fromkeys(keys, _MODES[said["data"]["mode"]]))
            case "change_mode":
                return Heard(remode=dict.fromkeys(keys, _MODES[said["data"]["mode"]]))
        raise ValueError(said)

    def ticks(self, quotes: Sequence[Quote], at_ms: int) -> list[bytes]:
        return [protobuf.feed([protobuf.record(_row(quote)) for quote in quotes], at_ms)]


def _row(quote: Quote) -> bytes:
    ltpc = protobuf.ltpc(float(quote.price), 1_790_000_000_000, 5, 100.0)
    if quote.mode is Mode.LTP:
        return protobuf.price_row(str(quote.token), ltpc)
    market = protobuf.market(
        ltpc, protobuf.book([]), b"", b"", average=1.0, volume=1, oi=0.0, volatility=0.0, buys=1.0, sells=1.0
    )
    return protobuf.full_row(str(quote.token), market=market)


def _addresses(feed: UpstoxFeed, accepts: Callable[[str], bool]) -> Callable[..., Awaitable[RestAnswer]]:
    async def ask(request: RestRequest, *, timeout: float) -> RestAnswer:
        token = feed.login.credentials.access_token
        if not accepts(token):
            raise BrokerError("Upstox answered 401.", code=ErrorCode.BROKER_REFUSED_CREDENTIALS)
        address = f"wss://feeder.example/feeds?{urlencode({'code': token})}"
        return Answer(200, json.dumps({"data": {"authorized_redirect_uri": address}}).encode())

    return ask


class TestUpstox(AdapterConformance):
    def account(self) -> UpstoxFeed:
        book = TokenBook((Instrument("NSE", f"S{n}"), f"NSE_EQ|INE{n:06d}018") for n in range(1, 13))
        book.add(Instrument("NSE_INDEX", "NIFTY"), "NSE_INDEX|Nifty 50")
        feed = UpstoxFeed("conformance-token", book=book)
        feed.ask = _addresses(feed, lambda token: True)
        return feed

    def dialect(self) -> Dialect:
        return UpstoxDialect()

    def rehearse(self, scenario: Callable[[Stage[Account]], Awaitable[None]], **broker: object) -> None:
        async def with_addresses(scene: Stage[Account]) -> None:
            assert isinstance(scene.feed, UpstoxFeed)
            scene.feed.ask = _addresses(scene.feed, lambda token: token in scene.broker.valid)
            await scenario(scene)

        super().rehearse(with_addresses, **broker)
