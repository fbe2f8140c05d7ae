"""The gateway as a whole: two listeners, the pool behind them, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol

from brokerpool.brokers.base import BrokerFeed, RateWindow
from brokerpool.brokers.login import Credentials
from brokerpool.brokers.rest import RestCodec
from brokerpool.brokers.zerodha import ZerodhaFeed, fetch_instruments
from brokerpool.errors import BrokerError, BrokerpoolError, ErrorCode
from brokerpool.feed.filler import Filler
from brokerpool.feed.pool import WebSocketPool
from brokerpool.gateway.dashboard import Broadcast, Sources, dashboard
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.feed_status import FeedStatus
from brokerpool.gateway.refusals import RefusalLog
from brokerpool.gateway.reload import SettingsWatch
from brokerpool.gateway.rest import Door, Market, RestServer, application, serve_rest
from brokerpool.gateway.rest.directory import Directory
from brokerpool.gateway.rest.explanations import explanations
from brokerpool.gateway.rest.health import health
from brokerpool.gateway.session import Session, SessionLimits
from brokerpool.gateway.vitals import Vitals
from brokerpool.http.api import BrokerApi
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.settings import Settings
from brokerpool.ticks import Tick
from brokerpool.transport import LinkHandler, LinkServer, Refusal, UpgradeRequest, serve
from brokerpool.transport.frames import GOING_AWAY

logger = logging.getLogger("brokerpool.gateway")

#: Clients of a gateway that stops are asked to come back spread over this many seconds.
_RETURN_SECONDS = 5

#: What calls to the broker have left when the gateway stops; less than the REST requests behind them.
_CALLS_SECONDS = 0.5

#: A tick of the feed that is no older answers for the broker's quote.
_LIVE_SECONDS = 2.0

#: Fillers may use half of the one call a second that Kite allows for quotes; clients have the rest.
_FILLS = (RateWindow(1, 2.0),)


class AccountFeed(BrokerFeed, Protocol):
    """A feed whose account has an HTTP API as well."""

    def rest(self) -> RestCodec:
        """Return the HTTP API under the same login and instrument list."""
        ...


class Gateway:
    """Serves OpenAlgo's clients from one account's pool."""

    def __init__(self, settings: Settings, feed: AccountFeed) -> None:
        self._settings = settings
        self._limits = SessionLimits(
            auth_seconds=settings.auth_grace_seconds,
            buffer_bytes=settings.client_buffer_bytes,
            stuck_seconds=settings.client_stuck_seconds,
            max_symbols=settings.max_symbols_per_client,
        )
        self._api_key = settings.api_key.get_secret_value()
        self._feed = feed
        self._api = BrokerApi(
            feed.rest(),
            live=lambda instrument: self.pool.fresh(instrument, _LIVE_SECONDS),
            pool_connections=settings.pool_connections,
            pool_maxsize=settings.pool_maxsize,
            max_retries=settings.max_retries,
            backoff_factor=settings.backoff_factor,
            timeout=settings.http_timeout,
        )
        self._warm_up: asyncio.Task[int] | None = None
        self.pool = WebSocketPool(
            feed,
            max_symbols=settings.max_symbols_per_websocket,
            max_connections=settings.max_websocket_connections,
            linger=settings.linger_seconds,
            placement=settings.placement,
            redundancy=settings.redundancy,
            grace=settings.failover_seconds,
            hours=settings.market_hours,
            filler=Filler(self._snapshots, calls=_FILLS),
        )
        self._vitals = Vitals(self.pool, lambda: self._api.stats()["breakers"])
        self._fanout = Fanout(feed.name, settings.flush_window_ms / 1000)
        self.pool.listen(self._fanout)
        self.pool.listen(FeedStatus(self.pool, self._fanout))
        self._refusals = RefusalLog()
        sources = Sources(self.pool, self._fanout, self._refusals, self.stats, time.time)
        self._broadcast = Broadcast(sources, self.pool.journal)
        self._links: LinkServer | None = None
        self._rest: RestServer | None = None

    @property
    def ws_url(self) -> str:
        """Where clients connect."""
        assert self._links is not None
        return f"ws://{_host(self._settings.websocket_host)}:{self._links.port}"

    @property
    def http_url(self) -> str:
        """Where the REST endpoints, `/dashboard`, `/stats` and `/health` are."""
        assert self._rest is not None
        return f"http://{_host(self._settings.http_host)}:{self._rest.port}"

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return self._links.links if self._links else 0

    async def start(self) -> None:
        """Open both ports. Raises BrokerpoolError with ADDRESS_IN_USE when one is taken."""
        settings = self._settings
        app = application(self._market(), self.stats, self.pool.journal)
        app.include_router(health(self._vitals.verdict))
        app.include_router(explanations(self.pool))
        app.include_router(dashboard(self.pool, self._broadcast, self._new_door()))
        with _address("BROKERPOOL_HTTP_PORT", settings.http_host, settings.http_port):
            self._rest = await serve_rest(
                settings.http_host,
                settings.http_port,
                app,
                max_connections=settings.max_clients,
            )
        with _address("WEBSOCKET_PORT", settings.websocket_host, settings.websocket_port):
            self._links = await serve(
                self._accept,
                settings.websocket_host,
                settings.websocket_port,
                max_message_bytes=settings.max_message_bytes,
                ping_interval=settings.ping_interval,
                ping_timeout=settings.ping_timeout,
            )
        exchanges = {instrument.exchange for instrument in self._feed.book}
        # One warm connection spares the first question a handshake; what load opens beyond it is kept.
        self._warm_up = asyncio.create_task(self._api.client.warm_up(most=1), name="brokerpool warm-up")
        self._api.client.keep_warm(
            when=lambda: any(settings.market_hours.is_open(e, time.time()) for e in exchanges)
        )

    def stats(self) -> dict[str, Any]:
        """Return all numbers, see `monitor.vocabulary`; the seed's two members of `http` come first."""
        http = self._api.stats()
        seed = {name: http[name] for name in ("pool_size", "active_connections")}
        return {
            **self.pool.get_pool_stats(),
            "http": seed | http,
            "gateway": self._fanout.stats(),
            **self._vitals.stats(),
        }

    async def close(self) -> None:
        """Tell the clients to come back, then end the broker connections; takes less than 10 s."""
        self._vitals.stop()
        if self._links is not None:
            seconds = Random().randrange(_RETURN_SECONDS + 1)
            await self._links.close(GOING_AWAY, f"the gateway stops; reconnect in {seconds} s")
        self._fanout.close()
        self._broadcast.close()
        if self._warm_up is not None:
            self._warm_up.cancel()
        # The calls to the broker end first, so that REST requests under way still get an answer.
        ends = [self.pool.close(), self._api.client.drain(_CALLS_SECONDS)]
        if self._rest is not None:
            ends.append(self._rest.close())
        await asyncio.gather(*ends)

    def _market(self) -> Market:
        def book() -> TokenBook:
            return self._feed.book

        return Market(self._feed.name, self._api, book, Directory(book), self._new_door())

    def _new_door(self) -> Door:
        # The dashboard has its own: what it asks for takes nothing from the programs at its address.
        return Door(self._api_key, *self._settings.api_rate, clock=time.monotonic)

    async def _snapshots(self, instruments: Sequence[Instrument]) -> Sequence[Tick]:
        return [quoted.tick for quoted in (await self._api.quotes(instruments)).values()]

    def _accept(self, request: UpgradeRequest) -> LinkHandler | Refusal:
        if self.clients >= self._settings.max_clients:
            body = f"{self.clients} clients are connected, as many as BROKERPOOL_MAX_CLIENTS allows\n"
            return Refusal(503, body.encode(), {"Retry-After": "5"})
        return Session(self.pool, self._fanout, self._refusals, self._api_key, self._limits)


async def run(settings: Settings, files: Sequence[Path], read: Callable[[], Settings]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; prints one line of JSON once clients are accepted.

    When one of the `files` changes, and on SIGHUP, the settings are read again for a new access token.
    Raises BrokerError when the broker's instrument list cannot be had, and BrokerpoolError with
    ADDRESS_IN_USE when a port is taken.
    """
    stop, hangup = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    serving = asyncio.create_task(_serve(settings, SettingsWatch(files, read, settings, hangup)))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not serving.done():
        serving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await serving


async def _serve(settings: Settings, watch: SettingsWatch) -> None:
    feed = ZerodhaFeed(
        settings.broker_api_key.get_secret_value(),
        settings.broker_access_token.get_secret_value(),
        ws_url=settings.broker_ws_url,
        http_url=settings.broker_http_url,
        book=await fetch_instruments(settings.broker_http_url),
    )
    gateway = Gateway(settings, feed)
    try:
        await gateway.start()
        # The instrument list lives as long as the process: no collection need look at it again.
        gc.collect()
        gc.freeze()
        print(json.dumps({"ws_url": gateway.ws_url, "http_url": gateway.http_url}), flush=True)
        async for token in watch.tokens():
            if feed.login.renew(Credentials(token)):
                logger.info("a new access token of the broker is in use")
                await _relist(gateway.pool, feed)
    finally:
        logger.info("stopping: %d clients are told to come back", gateway.clients)
        await gateway.close()


async def _relist(pool: WebSocketPool, feed: ZerodhaFeed) -> None:
    """Read the new day's instrument list: contracts have come and gone, and tokens may mean others now."""
    try:
        feed.relist(await fetch_instruments(feed.http_url))
    except BrokerError as error:
        logger.warning("yesterday's instrument list stays in use: %s", error)
        return
    moved = pool.relist()
    logger.info("%d instruments are listed; %d wanted ones have new tokens", len(feed.book), moved)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # picows keeps a client's late handshake as an exception that nobody collects; the connection was closed
    # as it should be, and a port scanner must not fill the log with tracebacks.
    if isinstance(context.get("exception"), TimeoutError) and "future" in context:
        logger.debug("a client did not finish its handshake in time")
        return
    loop.default_exception_handler(context)


@contextlib.contextmanager
def _address(setting: str, host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        code = ErrorCode.ADDRESS_IN_USE
        raise BrokerpoolError(f"{setting}: {host}:{port} is taken.", code=code) from None


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
