"""What `brokerpool check` tries before a start: ports, certificate, secrets, database, and the broker."""

from __future__ import annotations

import asyncio

from brokerpool.brokers import registry
from brokerpool.brokers.account import DialRefusal, FullAccount
from brokerpool.brokers.login import Credentials
from brokerpool.db.url import shown
from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, BrokerpoolError, ErrorCode, SettingsError
from brokerpool.gateway.certificate import Certificate
from brokerpool.monitor.conditions import Code
from brokerpool.settings import Settings
from brokerpool.store import checkup
from brokerpool.store.store import Store
from brokerpool.transport import DialError, LinkHandler, dial
from brokerpool.transport.listening import listen_on, url_host

_TOKEN = "BROKERPOOL_BROKER_ACCESS_TOKEN"


async def faults(settings: Settings) -> list[str]:
    """Return one sentence for each part that the gateway would not get; an empty list means all is well.

    Each names the setting at fault. A broker's API key that is empty is left to who read the settings.
    """
    listeners = {
        "WEBSOCKET_PORT": (settings.websocket_host, settings.websocket_port),
        "BROKERPOOL_HTTP_PORT": (settings.http_host, settings.http_port),
    }
    found = [await _listener(name, host, port) for name, (host, port) in listeners.items()]
    found += [_certificate(settings)]
    of_database, stored = await _database(settings)
    found += of_database
    token = settings.broker_access_token.get_secret_value()
    broker = registry.broker(settings.broker)
    access = settings.access(Credentials(token or stored), egress=settings.egress)
    account = broker.account(access)
    away = await _instruments(account)
    found.append(away)
    if access.api_key and (token or stored):
        source = _TOKEN if token else "The stored login"
        session = None if away is not None else broker.session(access)
        found.append(await _login(account, session, settings, source))
    return [fault for fault in found if fault]


async def _listener(name: str, host: str, port: int) -> str | None:
    try:
        for sock in await listen_on(host, port):
            sock.close()
    except OSError as error:
        return (
            f"{name}: cannot listen on {url_host(host)}:{port}: {error.strerror}. End the program that has"
            " it, or choose another port."
        )
    return None


def _certificate(settings: Settings) -> str | None:
    try:
        Certificate.of(settings.tls_cert_file, settings.tls_key_file)
    except SettingsError as error:
        return str(error)
    return None


async def _database(settings: Settings) -> tuple[list[str], str]:
    """Return what keeps the secrets from being complete, and the token of the stored login."""
    token, key = settings.broker_access_token.get_secret_value(), settings.api_key.get_secret_value()
    no_key, no_login = _missing(settings)
    if (token and key) or not checkup.made(settings):
        found = await checkup.away(settings)
        return [*([] if key else [no_key]), *([] if token else [no_login]), *found], ""
    missing = [] if key else [no_key]
    found = await checkup.faults(settings)
    if found:  # what it holds is not known
        named = [f"DATABASE_URL: {fault}" for fault in found]
        return [*missing, *([] if token else [no_login]), *named], ""
    async with Store.of(settings) as store:  # up to date, so that nothing is changed
        missing = missing if not store.keys else []
        if token:
            return missing, ""
        try:
            return missing, (await store.login(settings.broker)).access_token
        except BrokerpoolError as error:
            why = no_login if error.code is ErrorCode.NO_CREDENTIALS else str(error)
            return [*missing, why], ""


def _missing(settings: Settings) -> tuple[str, str]:
    """Return what to say where there is no API key, and where there is no login."""
    where = f"the database of DATABASE_URL, {shown(settings.database_url.get_secret_value())}"
    if not checkup.made(settings):
        where += ", which has not been made yet"
    return (
        f"BROKERPOOL_API_KEY is not set, and no valid key is in {where}: make one up and set it (openssl rand"
        " -hex 16), or make one with `brokerpool keys create NAME`.",
        f"{_TOKEN} is not set, and no login is in {where}: run `brokerpool login`.",
    )


async def _instruments(account: FullAccount) -> str | None:
    try:
        await account.instruments()
    except BrokerError as error:
        return f"BROKERPOOL_BROKER_HTTP_URL: {error}"
    except SettingsError as error:
        return str(error)
    return None


async def _login(
    account: FullAccount, session: registry.LoginSession | None, settings: Settings, source: str
) -> str | None:
    """Try the login with one call, unless the broker is away, and then with one connection of the feed."""
    refused = f"{source}: the broker refuses it; it ends every morning. {Code.LOGIN_REFUSED.action}"
    if session is not None:
        try:
            await session.tried(account.login.credentials.access_token)
        except BrokerError as error:
            if error.code is ErrorCode.BROKER_REFUSED_CREDENTIALS:
                return refused
            return f"BROKERPOOL_BROKER_HTTP_URL: the login could not be tried: {error}"
    try:
        status, fault = await _dialled(account, settings.egress)
    except SettingsError as error:
        return str(error)
    meaning = account.refused(status) if fault else DialRefusal.TRY_ON
    if meaning is DialRefusal.PARK:
        # What HTTP takes and the feed does not: an app without the feed.
        app = f"BROKERPOOL_BROKER_API_KEY: the feed refuses this app (HTTP {status})."
        return refused if session is None else app
    if meaning is DialRefusal.BUSY:
        return None  # the account has all its connections open: the broker and the login are fine
    return fault and f"BROKERPOOL_BROKER_WS_URL: {fault}."


async def _dialled(account: FullAccount, egress: Egress) -> tuple[int | None, str | None]:
    """Open one connection of the feed for a moment; return the HTTP status and the fault of a refusal."""
    endpoint = await account.endpoint()
    probe = _Probe()
    try:
        link = await dial(endpoint.url, probe, headers=endpoint.headers, egress=egress)
    except DialError as error:
        return error.status, str(error)
    link.close()
    await probe.gone.wait()  # bounded: the link drops the TCP connection when the peer is slow
    return None, None


class _Probe(LinkHandler):
    """Notices when the connection has ended."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def closed(self, code: int, reason: str) -> None:
        self.gone.set()
