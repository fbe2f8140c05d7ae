"""A gateway over one simulated Dhan account whose deeper order books it serves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from brokerpool.brokers import registry
from brokerpool.brokers.account import FullAccount
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway.assembly import compose
from brokerpool.gateway.server import Gateway
from brokerpool.instruments import Instrument
from brokerpool.settings import Settings
from brokerpool.simulator.dhan.broker import DhanSimulator
from brokerpool.simulator.dhan.depth20_wire import asks, bids
from tests.gateway_client import KEY, Client, told
from tests.rehearsal import no_task_dies, until


class Stage(NamedTuple):
    """A gateway over one Dhan account, with the account and the simulated broker."""

    broker: DhanSimulator
    settings: Settings
    account: FullAccount
    served_by: Gateway

    @property
    def deep(self) -> Upstream:
        """What brings the deeper books."""
        assert self.served_by._deep_feed is not None
        return self.served_by._deep_feed

    def shares(self, count: int) -> list[Instrument]:
        """Return shares, which have the deeper book."""
        return [i for i in self.account.book if i.exchange == "NSE"][:count]

    def levels(self, instrument: Instrument) -> dict[str, list[dict[str, Any]]]:
        """Return the book of 20 levels as the market has it now, as a frame tells it."""
        token = self.account.book.token(instrument)
        assert isinstance(token, int)
        quote = self.broker.market.quotes[token]
        return {
            side: [
                {"price": price, "quantity": quantity, "orders": orders}
                for price, quantity, orders in zip(rows[::3], rows[1::3], rows[2::3], strict=True)
            ]
            for side, rows in (("buy", bids(quote)), ("sell", asks(quote)))
        }

    async def books(self, count: int) -> None:
        """Return when so many books are asked for at the second endpoint."""
        await until(lambda: sum(socket["entries"] for socket in self.broker.depth20.sockets()) == count)

    async def trade(self, rounds: int = 1) -> None:
        """Let each symbol trade, and return when both feeds have brought it all."""
        await self.broker.step(len(self.broker.listings) * rounds)
        stats = self.broker.stats()
        sent = stats["ticks_sent"] + stats["snapshots_sent"]
        deep = stats["depth20"]["ticks_sent"] + stats["depth20"]["snapshots_sent"]
        await until(
            lambda: (
                received(self.served_by.upstream) >= sent
                and received(self.deep) >= deep
                and told(self.served_by)
            )
        )


def connections(upstream: Upstream) -> list[dict[str, Any]]:
    """Return what is told of each connection of a feed."""
    told: list[dict[str, Any]] = upstream.get_pool_stats()["websocket"]["per_connection"]
    return told


def received(upstream: Upstream) -> int:
    """Return how many ticks a feed has had."""
    return sum(each["ticks"] for each in connections(upstream))


@asynccontextmanager
async def staged(symbols: int = 12, deep_book: str = "true", **environ: str) -> AsyncIterator[Stage]:
    """Give a gateway that has started, with the deeper books unless told otherwise."""
    async with no_task_dies(), DhanSimulator(symbols=symbols, rate=0) as broker:
        settings = Settings.load(
            environ={
                "BROKERPOOL_BROKER": "dhan",
                "BROKERPOOL_API_KEY": KEY,
                "BROKERPOOL_BROKER_API_KEY": broker.api_key,
                "BROKERPOOL_BROKER_ACCESS_TOKEN": broker.access_token,
                "BROKERPOOL_BROKER_WS_URL": broker.ws_url,
                "BROKERPOOL_BROKER_HTTP_URL": broker.http_url,
                "BROKERPOOL_BROKER_DEEP_BOOK": deep_book,
                "BROKERPOOL_MARKET_HOURS": "always",
                "WEBSOCKET_PORT": "0",
                "BROKERPOOL_HTTP_PORT": "0",
                **environ,
            }
        )
        (given,) = settings.accounts()
        account = registry.broker("dhan").account(given.access())
        account.relist(await account.instruments())
        served_by = compose(settings, account)
        try:
            await served_by.start()
            yield Stage(broker, settings, account, served_by)
        finally:
            await served_by.close()


async def subscribe(
    program: Client, *instruments: Instrument, depth: object = None, **more: Any
) -> list[dict[str, Any]]:
    """Subscribe in depth mode and return the items of the answer."""
    wanted = [{"symbol": i.symbol, "exchange": i.exchange} for i in instruments]
    request: dict[str, Any] = {"action": "subscribe", "symbols": wanted, "mode": 3, **more}
    if depth is not None:
        request["depth"] = depth
    answer = await program.ask(**request)
    items: list[dict[str, Any]] = answer["subscriptions"]
    return items


def sizes(frames: list[dict[str, Any]]) -> set[int]:
    """Return how many levels the books of the frames have."""
    return {len(side) for frame in frames for side in frame["data"]["depth"].values()}
