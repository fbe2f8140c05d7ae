"""What a feed node tells its operator over HTTP: statistics, metrics, the journal, and whether it lives."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from brokerpool.cluster.directory import Directory
from brokerpool.cluster.feed_node import FeedNode
from brokerpool.cluster.nats_bus import NatsBus
from brokerpool.cluster.statistics import cluster_statistics
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.event_journal import Journal
from brokerpool.gateway.account_market_data import AccountApi, AccountApis
from brokerpool.gateway.allowed_origins import RequestOrigin
from brokerpool.gateway.connection_slots import ConnectionSlots
from brokerpool.gateway.gatekeeper import Gatekeeper, KeyLimits
from brokerpool.gateway.instrument_lists import InstrumentLists
from brokerpool.gateway.rest import Access, RestServer, serve_rest
from brokerpool.gateway.rest.admission import Admission
from brokerpool.gateway.rest.health_endpoints import ReadyAnswer, ReasonTold
from brokerpool.gateway.rest.http_connection import Connection
from brokerpool.gateway.rest.operator_endpoints import operations
from brokerpool.gateway.rest.request_authorization import AccessMiddleware
from brokerpool.gateway.rest.stream import json_response
from brokerpool.gateway.summed_statistics import summed
from brokerpool.http.broker_api import BrokerApi
from brokerpool.monitor.process import open_fds, rss_bytes
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
        lists: InstrumentLists,
        journal: Journal,
    ) -> None:
        self._settings = settings
        self._node = node
        self._bus = bus
        each = [AccountApi(name, api, lambda instrument: True) for name, api in apis.items()]
        self._apis = AccountApis(each, lambda instrument: "")
        self._lists = lists
        self._journal = journal
        self._directory = Directory(bus)
        self._began = time.monotonic()
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
        app.include_router(_health(lambda: self._bus.connected))
        app.add_middleware(AccessMiddleware, access=access, origin_rules=rules, keyed=())
        slots: ConnectionSlots[Connection] = ConnectionSlots(_PLACES, _PLACES)
        host, port = settings.http_host, settings.status_port
        try:
            self._rest = await serve_rest(host, port, Admission(app, slots), slots=slots)
        except OSError as error:
            text = f"BROKERPOOL_STATUS_PORT: {url_host(host)}:{port} is not to be had: {error.strerror}."
            raise BrokerpoolError(text, code=ErrorCode.ADDRESS_IN_USE) from None

    async def close(self) -> None:
        """Listen no more."""
        self._directory.close()
        if self._rest is not None:
            await self._rest.close()

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the accounts that are held here, and of the cluster."""
        held = [account.upstream.get_pool_stats() for account in self._node.held.values()]
        return {
            **summed(held),
            "http": self._apis.stats(),
            "broker": self._lists.stats(),
            "cluster": cluster_statistics(self._node.node, "feed", self._bus, self._directory),
            "journal": {"events": self._journal.counts()},
            "process": {
                "version": version("brokerpool"),
                "uptime_seconds": round(time.monotonic() - self._began, 1),
                "rss_bytes": rss_bytes(),
                "open_fds": open_fds(),
            },
        }


def _health(connected: Callable[[], bool]) -> APIRouter:
    """Return /health/live, and /health/ready, which says whether the node could hold an account now."""
    router = APIRouter()

    @router.get("/health/live")
    async def _live() -> dict[str, str]:
        return {"status": "live"}

    @router.get("/health/ready")
    async def _ready() -> Response:
        if connected():
            return json_response(ReadyAnswer("ready", []))
        code = ErrorCode.BUS_UNREACHABLE
        reason = ReasonTold(code.name, "no NATS server is connected", code.action, time.time())
        return json_response(ReadyAnswer("not ready", [reason]), HTTPStatus.SERVICE_UNAVAILABLE)

    return router
