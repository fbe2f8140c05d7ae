"""What `brokerpool check` tries before a start: both ports, the broker's HTTP API and its feed."""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus

from brokerpool.brokers.zerodha import ZerodhaFeed, fetch_instruments
from brokerpool.errors import BrokerError
from brokerpool.settings import Settings
from brokerpool.transport import DialError, LinkHandler, dial


async def faults(settings: Settings) -> list[str]:
    """Return one sentence for each part that the gateway would not get; an empty list means all is well."""
    listeners = {
        "WEBSOCKET_PORT": (settings.websocket_host, settings.websocket_port),
        "BROKERPOOL_HTTP_PORT": (settings.http_host, settings.http_port),
    }
    found = [_listener(name, host, port) for name, (host, port) in listeners.items()]
    return [fault for fault in (*found, await _http(settings), await _feed(settings)) if fault]


def _listener(name: str, host: str, port: int) -> str | None:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return f"{name}: cannot listen on {host}:{port}: {error.strerror}."
    return None


async def _http(settings: Settings) -> str | None:
    try:
        await fetch_instruments(settings.broker_http_url)
    except BrokerError as error:
        return str(error)
    return None


async def _feed(settings: Settings) -> str | None:
    feed = ZerodhaFeed(
        settings.broker_api_key.get_secret_value(),
        settings.broker_access_token.get_secret_value(),
        ws_url=settings.broker_ws_url,
        http_url=settings.broker_http_url,
    )
    endpoint = await feed.endpoint()
    probe = _Probe()
    try:
        link = await dial(endpoint.url, probe, headers=endpoint.headers)
    except DialError as error:
        if error.status == HTTPStatus.TOO_MANY_REQUESTS:
            return None  # the account has all its connections open: the broker and the login are fine
        return f"BROKERPOOL_BROKER_WS_URL: {error}."
    link.close()
    await probe.gone.wait()  # bounded: the link drops the TCP connection when the peer is slow
    return None


class _Probe(LinkHandler):
    """Notices when the connection has ended."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def closed(self, code: int, reason: str) -> None:
        self.gone.set()
