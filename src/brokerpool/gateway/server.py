"""The gateway as a whole: two listeners, the upstream behind them, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from brokerpool.errors import AccessError, BrokerpoolError, ErrorCode
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway.account_market_data import AccountApis
from brokerpool.gateway.allowed_origins import RequestOrigin
from brokerpool.gateway.certificate import Certificate
from brokerpool.gateway.client_session import Session, SessionLimits
from brokerpool.gateway.clients import LONGEST_AGENT, Clients
from brokerpool.gateway.connection_slots import ConnectionSlots
from brokerpool.gateway.dashboard import Broadcast, Sources, dashboard
from brokerpool.gateway.deep_books import DeepBooks
from brokerpool.gateway.departed_clients import DeferredCleanup
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.feed_status import FeedStatus
from brokerpool.gateway.gatekeeper import Gatekeeper, KeyLimits
from brokerpool.gateway.gateway_database import Persistence
from brokerpool.gateway.instrument_lists import InstrumentLists
from brokerpool.gateway.order_updates import OrderUpdates
from brokerpool.gateway.orders.forwarding import NOTHING, OrderCarrier
from brokerpool.gateway.process_health import DatabaseState, ProcessHealth
from brokerpool.gateway.refusal_log import RefusalLog
from brokerpool.gateway.rest import Access, Market, RestServer, application, serve_rest
from brokerpool.gateway.rest.admission import Admission
from brokerpool.gateway.rest.clients import ClientTold, clients, clients_told
from brokerpool.gateway.rest.cors_headers import Cors
from brokerpool.gateway.rest.explain_endpoint import explanations
from brokerpool.gateway.rest.health_endpoints import health
from brokerpool.gateway.rest.http_connection import Connection
from brokerpool.gateway.rest.instrument_search import InstrumentSearch
from brokerpool.gateway.rest.order_endpoints import OrderEndpoints
from brokerpool.gateway.rest.subscriptions import subscriptions
from brokerpool.gateway.stranger_log import StrangerLog
from brokerpool.instruments import TokenBook
from brokerpool.settings import Settings, words
from brokerpool.transport import LinkHandler, LinkServer, Refusal, UpgradeRequest, serve
from brokerpool.transport.frames import GOING_AWAY
from brokerpool.transport.listening import url_host
from brokerpool.untrusted_text import remembered

#: Clients of a gateway that stops are asked to come back spread over this many seconds.
_RETURN_SECONDS = 5

#: What calls to the broker have left when the gateway stops; less than the REST requests behind them.
_CALLS_SECONDS = 0.5

#: Between two looks whether a lock-out is over and a summary of wrong keys is due.
_REVIEW_SECONDS = 1.0

#: Places of the HTTP listener beyond those of requests that are being answered: for idle connections, and
#: for whoever asks whether the gateway lives. So there is always one that waits, and gives way.
SPARE = 64
#: Clients that `/stats` and the dashboard name, those that keep up worst; /clients names all.
SLOWEST = 20
_uvicorn = logging.getLogger("uvicorn.error")


class Gateway:
    """Serves OpenAlgo's clients from one upstream."""

    def __init__(
        self,
        settings: Settings,
        upstream: Upstream,
        apis: AccountApis,
        instruments: InstrumentLists,
        persistence: Persistence | None = None,
        certificate: Certificate | None = None,
        orders: OrderCarrier | None = None,
        cluster: Callable[[], dict[str, Any] | None] = lambda: None,
        *,
        deep_feed: Upstream | None = None,
    ) -> None:
        """`apis` answer what the feed does not; `instruments` keeps the upstream's book up to date.

        `orders` carries the calls that the gateway does not answer itself; without it they get 404.
        `cluster` gives what `/stats` says of the cluster that it belongs to, None where there is none.
        `deep_feed` brings order books of more levels than the upstream's ticks have; without it nobody
        gets them.

        `persistence` is the opened database side; without it only the settings' key is valid. The gateway
        ends all of them when it closes.
        """
        self._settings = settings
        #: Where ticks come from and demand goes.
        self.upstream = upstream
        self._apis = apis
        #: Keeps the brokers' lists those of the day.
        self.instruments = instruments
        self._persistence = persistence
        self._certificate = certificate
        self._orders = orders
        self._cluster = cluster
        self._limits = SessionLimits(
            auth_seconds=settings.auth_grace_seconds,
            buffer_bytes=settings.client_buffer_bytes,
            stuck_seconds=settings.client_stuck_seconds,
            max_symbols=settings.max_symbols_per_client,
        )
        self._warm_up: asyncio.Task[None] | None = None
        self._gatekeeper = Gatekeeper(
            settings.api_key.get_secret_value(),
            persistence.check_key if persistence is not None else lambda text: None,
            KeyLimits(settings.max_clients_per_key, settings.max_symbols_per_key, *settings.key_rate),
            upstream.journal,
            time.monotonic,
            own_orders=settings.api_key_orders == "yes",
        )
        self._origin_rules = self._origin_rules_of(settings.websocket_host)
        self._review: asyncio.TimerHandle | None = None
        self._health = ProcessHealth(
            lambda: [upstream],
            lambda: upstream.get_pool_stats()["websocket"],
            self.instruments,
            self._apis.breakers,
            database=lambda: (
                DatabaseState(persistence.fault, persistence.opened) if persistence else DatabaseState()
            ),
            certificate_ends=lambda: certificate.ends if certificate else None,
            cluster=cluster,
        )
        self._fanout = Fanout(upstream.broker, settings.flush_window_ms / 1000)
        upstream.listen(self._fanout)
        self._feed_status = FeedStatus(upstream, self._fanout)
        upstream.listen(self._feed_status)
        self._deep_feed = deep_feed
        self._deep_books = DeepBooks(upstream, deep_feed, self._fanout)
        self._order_updates = OrderUpdates(upstream)
        upstream.listen(self._order_updates)
        self._refusals = RefusalLog()
        self._cleanup = DeferredCleanup()
        self._slots: ConnectionSlots[Session] = ConnectionSlots(settings.max_clients, 0)
        self._strangers = StrangerLog(time.monotonic)
        self._clients = Clients(upstream.journal)
        sources = Sources(
            upstream,
            self._fanout,
            self._refusals,
            self.stats,
            self._health.lag_since,
            time.time,
            slowest=self._slowest,
            key_of=self._clients.key_of,
            verdict=self._health.latest,
            stored_keys=persistence.stored_keys if persistence is not None else list,
            keys_stored=(lambda: persistence.keys) if persistence is not None else (lambda: 0),
            clients_with=self._gatekeeper.clients_with,
            orders_account=next((account.name for account in settings.accounts() if account.orders), ""),
        )
        self._broadcast = Broadcast(sources, upstream.journal)
        self._links: LinkServer | None = None
        self._rest: RestServer | None = None
        #: Of one of several gateways that share the port: where it alone answers.
        self._own_rest: RestServer | None = None

    @property
    def ws_url(self) -> str:
        """Where clients connect."""
        assert self._links is not None
        return f"{'wss' if self._certificate else 'ws'}://{url_host(self._settings.websocket_host)}:{self._links.port}"

    @property
    def http_url(self) -> str:
        """Where the REST endpoints, `/dashboard`, `/stats` and `/health` are."""
        assert self._rest is not None
        return self._http_url(self._rest)

    @property
    def status_url(self) -> str:
        """Where this gateway is asked for its own state, also where it shares the other port with others."""
        rest = self._own_rest or self._rest
        assert rest is not None
        return self._http_url(rest)

    def _http_url(self, rest: RestServer) -> str:
        scheme = "https" if self._certificate else "http"
        return f"{scheme}://{url_host(self._settings.http_host)}:{rest.port}"

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return self._links.links if self._links else 0

    async def start(self) -> None:
        """Open both ports. Raises BrokerpoolError with ADDRESS_IN_USE when one is taken."""
        settings = self._settings
        tls = self._certificate.context if self._certificate is not None else None
        if self._persistence is not None:
            self._persistence.serve(self.upstream, self._gatekeeper.revoked)
        self._review_later()
        _uvicorn.addFilter(self._strangers)
        self.instruments.start()
        origin_rules = self._origin_rules_of(settings.http_host)
        market = self._market()
        app = application(market, self.stats, self.upstream.journal, origin_rules, self._slowest)
        if self._orders is not None:
            app.router.default = OrderEndpoints(self._orders, market.access, app.router.default)
        slots: ConnectionSlots[Connection] = ConnectionSlots(settings.max_clients, SPARE)
        app.include_router(health(self._health.verdict))
        app.include_router(explanations(self.upstream, self._deep_feed, self._clients))
        app.include_router(clients(self._clients, self._fanout))
        app.include_router(subscriptions(self.upstream.demand))
        app.include_router(dashboard(self.upstream, self._broadcast, self._new_access()))
        served = Cors(Admission(app, slots), origin_rules)
        shared = settings.share_ports == "yes"
        with _address("BROKERPOOL_HTTP_PORT", settings.http_host, settings.http_port):
            self._rest = await serve_rest(
                settings.http_host, settings.http_port, served, slots=slots, tls=tls, shared=shared
            )
        if shared:
            with _address("BROKERPOOL_STATUS_PORT", settings.http_host, settings.status_port):
                self._own_rest = await serve_rest(
                    settings.http_host, settings.status_port, served, slots=slots, tls=tls
                )
        with _address("WEBSOCKET_PORT", settings.websocket_host, settings.websocket_port):
            self._links = await serve(
                self._accept,
                settings.websocket_host,
                settings.websocket_port,
                max_message_bytes=settings.max_message_bytes,
                ping_interval=settings.ping_interval,
                ping_timeout=settings.ping_timeout,
                tls=tls,
                shared=shared,
            )
        # One warm connection spares the first question a handshake; what load opens beyond it is kept.
        self._warm_up = asyncio.create_task(self._apis.warm_up(), name="brokerpool warm-up")
        self._apis.keep_warm(
            # From a minute before the open, so that the first question of the day finds them warm.
            when=lambda: any(
                settings.market_hours.is_open(exchange, time.time() + ahead)
                for exchange in self.instruments.exchanges
                for ahead in (0, 60)
            )
        )

    def stats(self) -> dict[str, Any]:
        """Return all numbers (`monitor.metric_vocabulary`); the seed's two members of `http` come first."""
        pool, http, cluster = self.upstream.get_pool_stats(), self._apis.stats(), self._cluster()
        seed = {name: http[name] for name in ("pool_size", "active_connections")}
        return {
            **pool,
            "http": seed | http,
            "gateway": self._fanout.stats(),
            "orders": {
                **(self._orders.stats() if self._orders is not None else NOTHING),
                **self._order_updates.stats(),
            },
            "access": {
                **self._gatekeeper.stats(),
                "certificate_ends_at": self._certificate.ends if self._certificate else None,
            },
            **({"database": self._persistence.stats()} if self._persistence is not None else {}),
            **({"cluster": cluster} if cluster is not None else {}),
            **(
                {"deep_book": self._deep_feed.get_pool_stats()["websocket"]}
                if self._deep_feed is not None
                else {}
            ),
            **self._health.stats(pool["websocket"], http["breakers"], cluster),
            "journal": {"events": self.upstream.journal.counts()},
        }

    def _slowest(self) -> list[ClientTold]:
        return [*clients_told(self._fanout.slow_clients.slowest(SLOWEST), self._clients.get)]

    async def close(self) -> None:
        """Tell the clients to come back, then end the broker connections; takes less than 10 s."""
        if self._persistence is not None:
            self._persistence.settle()
        if self._review is not None:
            self._review.cancel()
        _uvicorn.removeFilter(self._strangers)
        self._health.stop()
        if self._links is not None:
            seconds = Random().randrange(_RETURN_SECONDS + 1)
            await self._links.close(GOING_AWAY, f"the gateway stops; reconnect in {seconds} s")
        self._cleanup.close()
        self._feed_status.close()
        self._order_updates.close()
        self._fanout.close()
        self._broadcast.close()
        if self._warm_up is not None:
            self._warm_up.cancel()
        # The calls to the broker end first, so that REST requests under way still get an answer.
        ends = [self.instruments.stop(), self.upstream.close(), self._apis.drain(_CALLS_SECONDS)]
        if self._deep_feed is not None:
            ends.append(self._deep_feed.close())
        ends += [rest.close() for rest in (self._rest, self._own_rest) if rest is not None]
        await asyncio.gather(*ends)
        if self._persistence is not None:
            await self._persistence.close()  # last, so that it keeps what the end itself has to tell

    def _market(self) -> Market:
        def book() -> TokenBook:
            return self.upstream.book

        return Market(self.upstream.name, self._apis, book, InstrumentSearch(book), self._new_access())

    def _new_access(self) -> Access:
        # The dashboard has its own: what it asks for takes nothing from the programs at its address.
        return Access(self._gatekeeper, *self._settings.api_rate, clock=time.monotonic)

    def _accept(self, request: UpgradeRequest) -> LinkHandler | Refusal:
        if self._slots.taken:
            body = f"{len(self._slots)} clients are connected, as many as BROKERPOOL_MAX_CLIENTS allows\n"
            return Refusal(503, body.encode(), {"Retry-After": "5"})
        headers = request.headers
        try:
            self._origin_rules.check(headers)
        except AccessError as error:
            return Refusal(403, f"{error}\n".encode())
        return Session(
            self.upstream,
            self._fanout,
            self._deep_books,
            self._refusals,
            self._gatekeeper,
            self._limits,
            self._cleanup,
            self._slots,
            self._strangers,
            self._clients,
            self._order_updates,
            user_agent=remembered(headers.get("User-Agent", ""), LONGEST_AGENT),
            came=lambda peer: self._origin_rules.came(peer, headers).address,
            make_room=self._persistence.make_room if self._persistence is not None else lambda: False,
        )

    def _origin_rules_of(self, bound: str) -> RequestOrigin:
        settings = self._settings
        return RequestOrigin(
            bound,
            hosts=words(settings.allowed_hosts),
            origins=words(settings.allowed_origins),
            proxies=words(settings.trusted_proxies),
        )

    def _review_later(self) -> None:
        self._gatekeeper.lockout.review()
        self._strangers.review()
        self._refusals.review()
        self._clients.review()
        self._review = asyncio.get_running_loop().call_later(_REVIEW_SECONDS, self._review_later)


@contextlib.contextmanager
def _address(setting: str, host: str, port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f"{setting}: {url_host(host)}:{port}"
        if error.errno != errno.EADDRINUSE:
            raise OSError(error.errno, f"{where}: {error.strerror}") from None
        raise BrokerpoolError(f"{where} is taken.", code=ErrorCode.ADDRESS_IN_USE) from None
