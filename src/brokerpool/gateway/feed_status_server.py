"""What a feed node tells its operator over HTTP: statistics, metrics, the journal, and how its health is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from brokerpool.brokers.login import Login
from brokerpool.cluster.feed_node import FeedNode
from brokerpool.cluster.nats_bus import NatsBus
from brokerpool.cluster.nodes_and_holders import Directory
from brokerpool.cluster.statistics import cluster_statistics
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.event_journal import Journal
from brokerpool.gateway.account_market_data import AccountApi, AccountApis
from brokerpool.gateway.allowed_origins import RequestOrigin
from brokerpool.gateway.connection_slots import ConnectionSlots
from brokerpool.gateway.feed_node_statistics import held_connections
from brokerpool.gateway.gatekeeper import Gatekeeper, KeyLimits
from brokerpool.gateway.gateway_database import Persistence
from brokerpool.gateway.instrument_lists import InstrumentLists
from brokerpool.gateway.process_health import DatabaseState, ProcessHealth
from brokerpool.gateway.rest import Access, RestServer, serve_rest
from brokerpool.gateway.rest.admission import Admission
from brokerpool.gateway.rest.health_endpoints import health
from brokerpool.gateway.rest.http_connection import Connection
from brokerpool.gateway.rest.operator_endpoints import operations
from brokerpool.gateway.rest.request_authorization import AccessMiddleware
from brokerpool.http.broker_api import BrokerApi
from brokerpool.settings import Settings, words
from brokerpool.transport.listening import url_host

#: Requests that are answered at the same time, and places for idle connections.
_PLACES = 16


class FeedStatusServer:
    """One listener at BROKERPOOL_STATUS_PORT, from `start` to `close`.

    What shows the accounts takes BROKERPOOL_API_KEY unless it is asked for on this machine, as at a gateway.
    """

    def __init__(
        self,
        settings: Settings,
        node: FeedNode,
        bus: NatsBus,
        apis: Mapping[str, BrokerApi],
        logins: Mapping[str, Login],
        lists: InstrumentLists,
        journal: Journal,
        persistence: Persistence,
    ) -> None:
        self._settings = settings
        self._node = node
        self._bus = bus
        each = [AccountApi(name, api, lambda instrument: True) for name, api in apis.items()]
        self._apis = AccountApis(each, lambda instrument: "")
        self._journal = journal
        self._directory = Directory(bus)
        self._health = ProcessHealth(
            lambda: [account.upstream for account in node.held.values()],
            self._websocket,
            lists,
            self._apis.breakers,
            database=lambda: DatabaseState(persistence.fault, persistence.opened),
            cluster=self._cluster,
            standby=lambda: {name: login for name, login in logins.items() if name not in node.held},
        )
        self._rest: RestServer | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._rest is not None
        return f"http://{url_host(self._settings.http_host)}:{self._rest.port}"

    async def start(self) -> None:
        """Begin to listen. Raises BrokerpoolError (ADDRESS_IN_USE) where that is not possible."""
        settings = self._settings
        self._directory.start()
        gatekeeper = Gatekeeper(
            settings.api_key.get_secret_value(),
            lambda text: None,
            KeyLimits(settings.max_clients_per_key, settings.max_symbols_per_key, *settings.key_rate),
            self._journal,
            time.monotonic,
        )
        access = Access(gatekeeper, *settings.api_rate, clock=time.monotonic)
        rules = RequestOrigin(
            settings.http_host,
            hosts=words(settings.allowed_hosts),
            origins=words(settings.allowed_origins),
            proxies=words(settings.trusted_proxies),
        )
        app = FastAPI(title="brokerpool feed", openapi_url=None, docs_url=None, redoc_url=None)
        app.include_router(operations(self.stats, self._journal))
        app.include_router(health(self._health.verdict))
        app.add_middleware(AccessMiddleware, access=access, origin_rules=rules, keyed=())
        slots: ConnectionSlots[Connection] = ConnectionSlots(_PLACES, _PLACES)
        host, port = settings.http_host, settings.status_port
        try:
            self._rest = await serve_rest(host, port, Admission(app, slots), slots=slots)
        except OSError as error:
            self.stop()
            text = f"BROKERPOOL_STATUS_PORT: {url_host(host)}:{port} is not to be had: {error.strerror}."
            raise BrokerpoolError(text, code=ErrorCode.ADDRESS_IN_USE) from None

    def stop(self) -> None:
        """Say from now on that the node is stopping, and leave no timer behind."""
        self._health.stop()

    async def close(self) -> None:
        """Listen no more."""
        self._directory.close()
        if self._rest is not None:
            await self._rest.close()

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the accounts that are held here, and of the cluster."""
        websocket, http, cluster = self._websocket(), self._apis.stats(), self._cluster()
        return {
            "websocket": websocket,
            "http": http,
            "cluster": cluster,
            **self._health.stats(websocket, http["breakers"], cluster),
            "journal": {"events": self._journal.counts()},
        }

    def _websocket(self) -> dict[str, Any]:
        held = self._node.held.values()
        return held_connections([account.upstream.get_pool_stats()["websocket"] for account in held])

    def _cluster(self) -> dict[str, Any]:
        return cluster_statistics(self._node.node, "feed", self._bus, self._directory)
