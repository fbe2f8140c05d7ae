"""What `brokerpool check` tries before a start: ports, certificate, secrets, database, and the broker."""

from __future__ import annotations

from brokerpool.brokers.login import Credentials
from brokerpool.commands import broker_check
from brokerpool.db.url import shown
from brokerpool.errors import BrokerpoolError, ErrorCode, SettingsError
from brokerpool.gateway.certificate import Certificate
from brokerpool.settings import Settings
from brokerpool.store import checkup
from brokerpool.store.store import Store
from brokerpool.transport.listening import listen_on, url_host

_TOKEN = "BROKERPOOL_BROKER_ACCESS_TOKEN"


async def faults(settings: Settings, *, broker: bool = True) -> list[str]:
    """Return one sentence for each part that the gateway would not get; an empty list means all is well.

    Each names the setting at fault. A broker's API key that is empty is left to who read the settings, and so
    is the `broker` as a whole where it is not known which one is meant: its secrets are for no other.
    """
    listeners = {
        "WEBSOCKET_PORT": (settings.websocket_host, settings.websocket_port),
        "BROKERPOOL_HTTP_PORT": (settings.http_host, settings.http_port),
    }
    found = [await _listener(name, host, port) for name, (host, port) in listeners.items()]
    found += [_certificate(settings)]
    of_database, stored = await _database(settings)
    found += of_database
    if broker:
        token = settings.broker_access_token.get_secret_value()
        source = _TOKEN if token else "The stored login"
        found += await broker_check.faults(settings, Credentials(token) if token else stored, source)
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


async def _database(settings: Settings) -> tuple[list[str], Credentials]:
    """Return what keeps the secrets from being complete, and the stored login; without one, no token."""
    none = Credentials("")
    token, key = settings.broker_access_token.get_secret_value(), settings.api_key.get_secret_value()
    no_key, no_login = _missing(settings)
    if (token and key) or not checkup.made(settings):
        found = await checkup.away(settings)
        return [*([] if key else [no_key]), *([] if token else [no_login]), *found], none
    missing = [] if key else [no_key]
    found = await checkup.faults(settings)
    if found:  # what it holds is not known
        named = [f"DATABASE_URL: {fault}" for fault in found]
        return [*missing, *([] if token else [no_login]), *named], none
    async with Store.of(settings) as store:  # up to date, so that nothing is changed
        missing = missing if not store.keys else []
        if token:
            return missing, none
        try:
            return missing, await store.login(settings.broker)
        except BrokerpoolError as error:
            why = no_login if error.code is ErrorCode.NO_CREDENTIALS else str(error)
            return [*missing, why], none


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
