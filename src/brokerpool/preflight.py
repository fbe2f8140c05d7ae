"""What `brokerpool check` tries before a start: ports, certificate, keys, login, and the broker."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from brokerpool.brokers.zerodha import ZerodhaFeed, fetch_instruments
from brokerpool.db import checkup
from brokerpool.db.store import Store
from brokerpool.errors import BrokerError, BrokerpoolError, ErrorCode, SettingsError
from brokerpool.gateway.certificate import Certificate
from brokerpool.settings import Settings
from brokerpool.transport import DialError, LinkHandler, dial
from brokerpool.transport.listening import listen_on, url_host


async def faults(settings: Settings) -> list[str]:
    """Return one sentence for each part that the gateway would not get; an empty list means all is well."""
    listeners = {
        "WEBSOCKET_PORT": (settings.websocket_host, settings.websocket_port),
        "BROKERPOOL_HTTP_PORT": (settings.http_host, settings.http_port),
    }
    found = [await _listener(name, host, port) for name, (host, port) in listeners.items()]
    found += [_certificate(settings), await _http(settings)]
    token = settings.broker_access_token.get_secret_value()
    if not token or not settings.api_key.get_secret_value():
        missing, stored = await _database(settings)
        found += missing
        token = token or stored
    if token:
        found.append(await _feed(settings, token))
    return [fault for fault in found if fault]


async def _listener(name: str, host: str, port: int) -> str | None:
    try:
        for sock in await listen_on(host, port):
            sock.close()
    except OSError as error:
        return f"{name}: cannot listen on {url_host(host)}:{port}: {error.strerror}."
    return None


def _certificate(settings: Settings) -> str | None:
    try:
        Certificate.of(settings.tls_cert_file, settings.tls_key_file)
    except SettingsError as error:
        return str(error)
    return None


async def _database(settings: Settings) -> tuple[list[str], str]:
    """Return what keeps the database from giving what the settings do not, and the token of its login."""
    found = await checkup.faults(settings)
    if found:
        return found, ""
    async with Store.of(settings) as store:  # up to date, so that nothing is changed
        if not settings.api_key.get_secret_value() and not store.keys:
            text = "BROKERPOOL_API_KEY is not set, and no valid key is in the database."
            found.append(str(BrokerpoolError(text, code=ErrorCode.NO_API_KEY)))
        if settings.broker_access_token.get_secret_value():
            return found, ""
        try:
            return found, (await store.login(settings.broker)).access_token
        except BrokerpoolError as error:
            return [*found, str(error)], ""


async def _http(settings: Settings) -> str | None:
    try:
        await fetch_instruments(settings.broker_http_url, egress=settings.egress)
    except (BrokerError, SettingsError) as error:
        return str(error)
    return None


async def _feed(settings: Settings, token: str) -> str | None:
    feed = ZerodhaFeed(
        settings.broker_api_key.get_secret_value(),
        token,
        ws_url=settings.broker_ws_url,
        http_url=settings.broker_http_url,
    )
    endpoint = await feed.endpoint()
    probe = _Probe()
    try:
        link = await dial(endpoint.url, probe, headers=endpoint.headers, egress=settings.egress)
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
